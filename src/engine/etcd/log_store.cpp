#include "engine/etcd/log_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

namespace crosslink::etcd {
namespace {

constexpr std::uint64_t file_bytes_max = 32ull * 1024 * 1024;
constexpr std::string_view more_log = "keeping more of it";
/// What a block costs in memory beside its bytes.
constexpr std::uint64_t block_bytes = 160;

}  // namespace

LogSlice cut_slice(const LogSlice& slice, Lsn after, std::size_t bytes_max) {
  if (after == slice.prev_lsn && slice.entries->size() <= bytes_max) return slice;
  std::span<const std::byte> rest = *slice.entries;
  while (!rest.empty()) {
    auto next = rest;
    const auto entry = read_entry(next);  // ours: cannot fail
    if (!entry || entry->lsn() > after) break;
    rest = next;
  }
  LogSlice cut{after, slice.last_lsn, 0, nullptr, slice.origin_lsn, slice.leases};
  auto left = rest;
  auto last = after;
  while (!left.empty()) {
    auto next = left;
    const auto entry = read_entry(next);
    if (!entry) break;
    const auto taken = rest.size() - next.size();
    if (cut.count > 0 && taken > bytes_max) break;
    left = next;
    last = entry->lsn();
    ++cut.count;
    if (taken > bytes_max) break;
  }
  const auto taken = rest.first(rest.size() - left.size());
  // An entry that is longer than asked for travels in fragments, which end at its own LSN.
  if (!left.empty() || taken.size() > bytes_max) cut.last_lsn = last;
  if (cut.last_lsn != slice.last_lsn && slice.origin_lsn == slice.last_lsn) cut.origin_lsn = cut.last_lsn;
  cut.entries = std::make_shared<const std::vector<std::byte>>(taken.begin(), taken.end());
  return cut;
}

LogStore::~LogStore() {
  const std::scoped_lock lock(mutex_);
  while (!kept_.empty())
    drop_front();
}

std::uint64_t LogStore::cost(const Kept& kept) { return kept.bytes + block_bytes; }

void LogStore::begin_at(Lsn at, std::optional<EntryId> last) {
  const std::scoped_lock lock(mutex_);
  while (!kept_.empty())
    drop_front();
  head_ = oldest_ = at;
  before_ = last_ = last;
}

void LogStore::drop_kept() {
  const std::scoped_lock lock(mutex_);
  while (!kept_.empty())
    drop_front();
}

void LogStore::append(Block block) {
  const std::scoped_lock lock(mutex_);
  head_ = block.slice.last_lsn;
  if (block.last_entry) last_ = block.last_entry;
  if (block.slice.count == 0 && !kept_.empty() && kept_.back().block.slice.count == 0) {
    kept_.back().block.slice.last_lsn = head_;  // however many come, what only moves the LSN is one
    kept_.back().block.slice.origin_lsn = block.slice.origin_lsn;
    return;
  }
  Kept kept;
  kept.bytes = block.slice.entries->size();
  kept.block = std::move(block);
  kept_bytes_ += cost(kept);
  memory_bytes_ += kept.bytes;
  logged_bytes_ += cost(kept);
  kept_.push_back(std::move(kept));
  trim();
  while (memory_bytes_ > limits_.memory_bytes && spilled_ + 1 < kept_.size())
    spill();
}

/// The newest block stays, however large: who is at the head must be able to go on.
void LogStore::trim() {
  auto pinned = head_;
  for (const auto& [holder, from] : pins_)
    pinned = std::min(pinned, from);
  while (kept_.size() > 1) {
    const bool over_budget = kept_bytes_ > std::max(limits_.budget_bytes, limits_.window_bytes);
    const bool passed = kept_bytes_ > limits_.window_bytes && kept_.front().block.slice.last_lsn <= pinned;
    if (!over_budget && !passed) return;
    drop_front();
  }
}

void LogStore::drop_front() {
  const auto& front = kept_.front();
  oldest_ = front.block.slice.last_lsn;
  if (front.block.last_entry) before_ = front.block.last_entry;
  kept_bytes_ -= cost(front);
  const auto file = front.file;
  if (spilled_ > 0) {
    --spilled_;
  } else {
    memory_bytes_ -= front.bytes;
  }
  kept_.pop_front();
  const bool last_of_file = file > 0 && (spilled_ == 0 || kept_.front().file != file);
  if (!last_of_file) return;
  if (file == file_number_) file_.reset();
  // A file too many does no harm: the folder is emptied at the start.
  static_cast<void>(files_.remove(file_name(file)));
}

void LogStore::spill() {
  auto written = write_down(kept_[spilled_]);
  if (written) {
    // Not for the room of one dropped file: it would come and go with each.
    if (!shortage_->text().empty() && space_->need(2 * file_bytes_max, more_log)) shortage_->end();
    return;
  }
  shortage_->begin(
      fmt::format("the log that is kept for mirrors is shorter than its window: {}; a mirror that is away "
                  "for longer bootstraps anew if etcd has compacted its own history by then",
                  written.error().message()));
  // Its oldest part goes first, which may make room.
  while (!written && spilled_ > 0) {
    drop_front();
    written = write_down(kept_[spilled_]);
  }
  if (!written) drop_front();
}

Result<void> LogStore::write_down(Kept& next) {
  if (auto room = space_->need(next.bytes, more_log); !room) return room;
  if (!file_ || file_->end() >= file_bytes_max) {
    auto opened = files_.open_at(file_name(file_number_ + 1), 0);
    if (!opened) return opened.error();
    file_.emplace(*std::move(opened));
    ++file_number_;
  }
  const auto at = file_->end();
  if (auto written = file_->append(*next.block.slice.entries); !written) {
    abandon_file(at);
    return written;
  }
  next.file = file_number_;
  next.at = at;
  memory_bytes_ -= next.bytes;
  next.block.slice.entries.reset();
  ++spilled_;
  return {};
}

/// What a write that failed left behind its first `bytes` takes room that there is none of.
void LogStore::abandon_file(std::uint64_t bytes) {
  file_.reset();
  static_cast<void>(bytes > 0 ? files_.cut(file_name(file_number_), bytes) : files_.remove(file_name(file_number_)));
}

Result<SharedBytes> LogStore::bytes_of(const Kept& kept) const {
  if (kept.block.slice.entries) return kept.block.slice.entries;
  const auto file = files_.open_to_read(file_name(kept.file));
  if (!file) return file.error();
  auto bytes = file->read_exactly(kept.at, static_cast<std::size_t>(kept.bytes));
  if (!bytes) return bytes.error();
  return std::make_shared<const std::vector<std::byte>>(*std::move(bytes));
}

Result<std::optional<LogSlice>> LogStore::read(Lsn after, std::size_t bytes_max) {
  const std::scoped_lock lock(mutex_);
  if (after < oldest_) return std::optional<LogSlice>();
  auto kept = std::ranges::upper_bound(kept_, after, {}, [](const Kept& one) { return one.block.slice.last_lsn; });
  if (kept == kept_.end()) {
    static const auto nothing = std::make_shared<const std::vector<std::byte>>();
    return std::optional(LogSlice{after, after, 0, nothing, after});
  }
  const auto whole_of = [&](const Kept& one) -> Result<LogSlice> {
    auto slice = one.block.slice;
    auto bytes = bytes_of(one);
    if (!bytes) return bytes.error();
    slice.entries = *std::move(bytes);
    return slice;
  };
  auto first = whole_of(*kept);
  if (!first) return first.error();
  auto slice = cut_slice(*first, after, bytes_max);
  if (slice.last_lsn != kept->block.slice.last_lsn) return std::optional(std::move(slice));
  // Small ones go together.
  std::optional<std::vector<std::byte>> joined;
  for (++kept; kept != kept_.end(); ++kept) {
    const auto have = joined ? joined->size() : slice.entries->size();
    if (slice.count > 0 && (have + kept->bytes > bytes_max || have > bytes_max)) break;
    const auto next = whole_of(*kept);
    if (!next) return next.error();
    if (slice.count == 0) {  // at least one entry, where there is one
      slice = cut_slice(*next, next->prev_lsn, bytes_max);
      slice.prev_lsn = after;
      if (slice.last_lsn != next->last_lsn) break;
      continue;
    }
    if (!joined) joined.emplace(slice.entries->begin(), slice.entries->end());
    joined->insert(joined->end(), next->entries->begin(), next->entries->end());
    slice.last_lsn = next->last_lsn;
    slice.origin_lsn = next->origin_lsn;
    slice.count += next->count;
    slice.leases.insert(slice.leases.end(), next->leases.begin(), next->leases.end());
  }
  if (joined) slice.entries = std::make_shared<const std::vector<std::byte>>(*std::move(joined));
  return std::optional(std::move(slice));
}

Lsn LogStore::head() const {
  const std::scoped_lock lock(mutex_);
  return head_;
}
Lsn LogStore::oldest() const {
  const std::scoped_lock lock(mutex_);
  return oldest_;
}
std::optional<EntryId> LogStore::last_entry() const {
  const std::scoped_lock lock(mutex_);
  return last_;
}
std::optional<EntryId> LogStore::entry_before() const {
  const std::scoped_lock lock(mutex_);
  return before_;
}

void LogStore::pin(const std::string& holder, Lsn from) {
  const std::scoped_lock lock(mutex_);
  pins_[holder] = from;
  trim();
}

void LogStore::unpin(const std::string& holder) {
  const std::scoped_lock lock(mutex_);
  pins_.erase(holder);
  trim();
}

std::optional<WindowLeft> LogStore::window_left(Lsn after) const {
  const std::scoped_lock lock(mutex_);
  if (after < oldest_) return std::nullopt;
  const bool pinned = std::ranges::any_of(pins_, [after](const auto& pin) { return pin.second <= after; });
  const auto limit = pinned ? std::max(limits_.budget_bytes, limits_.window_bytes) : limits_.window_bytes;
  std::uint64_t needed = 0;
  for (auto kept = kept_.rbegin(); kept != kept_.rend() && kept->block.slice.last_lsn > after; ++kept)
    needed += cost(*kept);
  return WindowLeft{limit - std::min(limit, needed), {}};
}

}  // namespace crosslink::etcd
