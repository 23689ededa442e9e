#include "session/log_order.hpp"

#include <fmt/format.h>

#include <utility>

#include "session/mistakes.hpp"

namespace crosslink::core {

Result<void> MemoryFragmentStore::begin(std::uint64_t) {
  bytes_ = std::make_shared<std::vector<std::byte>>();
  return {};
}
Result<void> MemoryFragmentStore::append(std::span<const std::byte> bytes) {
  bytes_->insert(bytes_->end(), bytes.begin(), bytes.end());
  return {};
}
Result<FragmentStore::Whole> MemoryFragmentStore::take() {
  const auto bytes = std::exchange(bytes_, nullptr);
  return Whole{bytes, *bytes};
}
void MemoryFragmentStore::drop() { bytes_.reset(); }

Result<void> LogOrder::check_continues(Lsn prev, Lsn last) const {
  if (last < prev) {
    return MirrorError::protocol_violation(fmt::format("a batch goes from LSN {} back to {}", prev.value, last.value));
  }
  if (prev == last_lsn_) return {};
  if (prev > last_lsn_) {
    if (makes(Mistake::gap_accepted)) return {};
    return MirrorError::protocol_violation(
        fmt::format("the log jumps: after LSN {} comes a batch that follows {}", last_lsn_.value, prev.value));
  }
  if (makes(Mistake::duplicate_accepted)) return {};
  return MirrorError::protocol_violation(
      fmt::format("the log repeats itself: after LSN {} comes a batch that follows {}", last_lsn_.value, prev.value));
}

Result<AcceptedBatch> LogOrder::on_batch(const LogBatch& head, std::shared_ptr<const void> keep,
                                         std::span<const std::byte> raw) {
  if (open_) return MirrorError::protocol_violation("a batch comes between the fragments of an entry");
  if (auto continues = check_continues(head.prev_lsn, head.last_lsn); !continues) return continues.error();
  if (head.count == 0 && (head.last_lsn == head.prev_lsn || !raw.empty())) {
    return MirrorError::protocol_violation("a batch without entries moves nothing, or carries data");
  }
  AcceptedBatch batch{head.prev_lsn, head.last_lsn, head.count, std::move(keep), raw, {}, head.origin_lsn, 0};
  auto rest = raw;
  auto lsn = head.prev_lsn;
  for (std::uint64_t i = 0; i < head.count; ++i) {
    const auto entry = read_entry(rest);
    if (!entry) return entry.error();
    if (entry->lsn() <= lsn || entry->lsn() > head.last_lsn) {
      return MirrorError::protocol_violation(fmt::format("an entry of LSN {} stands between LSN {} and {}",
                                                         entry->lsn().value, lsn.value, head.last_lsn.value));
    }
    lsn = entry->lsn();
    if (i + 1 == head.count) batch.last_entry = entry->id();
  }
  if (!rest.empty()) return MirrorError::protocol_violation("a batch holds more than its entries");
  last_lsn_ = head.last_lsn;
  return batch;
}

Result<void> LogOrder::open_or_continue(const EntryFragment& head, std::size_t bytes) {
  if (!open_) {
    if (auto continues = check_continues(head.prev_lsn, head.lsn); !continues) return continues;
    if (head.offset != 0 || head.lsn == head.prev_lsn) {
      return MirrorError::protocol_violation("an entry's fragments do not begin at their beginning");
    }
    if (head.total_bytes > entry_bytes_max_) {
      return MirrorError::protocol_violation(fmt::format(
          "an entry of {} bytes comes in fragments, more than the {} agreed", head.total_bytes, entry_bytes_max_));
    }
    if (auto begun = fragments_->begin(head.total_bytes); !begun) return begun;
    open_ = Open{head.prev_lsn, head.lsn, 0, head.total_bytes};
  }
  const bool same =
      head.prev_lsn == open_->prev_lsn && head.lsn == open_->lsn && head.total_bytes == open_->total_bytes;
  const bool fits = bytes > 0 && bytes <= open_->total_bytes - open_->offset;
  const bool ends = open_->offset + bytes == open_->total_bytes;
  if (!same || head.offset != open_->offset || !fits || head.last != ends) {
    return MirrorError::protocol_violation(
        fmt::format("a fragment of the entry at LSN {} does not fit at byte {}", open_->lsn.value, open_->offset));
  }
  return {};
}

Result<LogOrder::Fragment> LogOrder::on_fragment(const EntryFragment& head, std::span<const std::byte> data) {
  if (auto fits = open_or_continue(head, data.size()); !fits) return fits.error();
  if (auto kept = fragments_->append(data); !kept) return kept.error();
  open_->offset += data.size();
  if (!head.last) return Fragment{};
  auto whole = fragments_->take();
  if (!whole) return whole.error();
  auto rest = whole->bytes;
  const auto entry = read_entry(rest);
  if (!entry) return entry.error();
  if (!rest.empty() || entry->lsn() != head.lsn) {
    return MirrorError::protocol_violation("the fragments of an entry make another one than they said");
  }
  AcceptedBatch batch{open_->prev_lsn, head.lsn,        1, whole->keep,        whole->bytes,
                      entry->id(),     head.origin_lsn, 0, whole->bytes.size()};
  open_.reset();
  last_lsn_ = head.lsn;
  return Fragment{std::move(batch)};
}

std::pair<AcceptedBatch, AcceptedBatch> cut_batch(AcceptedBatch batch, Lsn limit) {
  AcceptedBatch before = batch;
  before.last_lsn = limit;
  before.count = 0;
  before.last_entry.reset();
  before.units = before.fragment_bytes = 0;
  batch.leases.clear();
  auto rest = batch.entries;
  while (!rest.empty()) {
    auto next = rest;
    const auto entry = read_entry(next);  // was read before: cannot fail
    if (!entry || entry->lsn() > limit) break;
    before.last_entry = entry->id();
    ++before.count;
    rest = next;
  }
  before.entries = batch.entries.first(batch.entries.size() - rest.size());
  // What the cut stands for at the root is not known: no more than before the batch, which its owner fills in.
  batch.prev_lsn = limit;
  batch.count -= before.count;
  batch.entries = rest;
  if (batch.count == 0) batch.last_entry.reset();
  return {std::move(before), std::move(batch)};
}

}  // namespace crosslink::core
