#include "engine/memory/memory_snapshot.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace crosslink::memory {
namespace {

class BytesReader final : public SnapshotReader {
 public:
  BytesReader(SnapshotFacts facts, SharedBytes bytes) : facts_(std::move(facts)), bytes_(std::move(bytes)) {}
  const SnapshotFacts& facts() const override { return facts_; }
  Result<Piece> read(std::uint64_t offset, std::size_t bytes_max) override {
    if (offset > bytes_->size()) return MirrorError::configuration("a snapshot was read past its end");
    const auto rest = std::span(*bytes_).subspan(static_cast<std::size_t>(offset));
    const auto piece = rest.first(std::min(rest.size(), bytes_max));
    return Piece{std::make_shared<const std::vector<std::byte>>(piece.begin(), piece.end()),
                 piece.size() == rest.size()};
  }

 private:
  SnapshotFacts facts_;
  SharedBytes bytes_;
};

class PairsView final : public DataView {
 public:
  PairsView(Pairs pairs, Lsn lsn) : pairs_(std::move(pairs)), lsn_(lsn) {}
  Lsn lsn() const override { return lsn_; }
  Result<void> scan(std::string_view begin, std::optional<std::string_view> end,
                    const std::function<bool(const KeyValue&)>& visit) const override {
    const auto last = end ? pairs_.lower_bound(*end) : pairs_.end();
    for (auto at = pairs_.lower_bound(begin); at != last; ++at) {
      if (!visit({at->first, *at->second.value, at->second.lease})) break;
    }
    return {};
  }

 private:
  Pairs pairs_;
  Lsn lsn_;
};

}  // namespace

SharedBytes encode_pairs(const Pairs& pairs) {
  std::vector<std::byte> bytes;
  std::size_t size = 0;
  for (const auto& [key, stored] : pairs)
    size += encoded_pair_bytes({key, *stored.value, stored.lease});
  bytes.reserve(size);
  for (const auto& [key, stored] : pairs)
    encode_pair(bytes, {key, *stored.value, stored.lease});
  return std::make_shared<const std::vector<std::byte>>(std::move(bytes));
}

Result<Pairs> decode_pairs(std::span<const std::byte> bytes) {
  Pairs pairs;
  while (!bytes.empty()) {
    const auto pair = read_pair(bytes, bytes.size());
    if (!pair) return pair.error();
    if (!*pair) return MirrorError::protocol_violation("a kv snapshot ends in the middle of a pair");
    const auto& [key, value, lease] = **pair;
    if (!pairs.empty() && key <= pairs.rbegin()->first)
      return MirrorError::protocol_violation("the keys of a kv snapshot do not rise");
    pairs.emplace_hint(pairs.end(), key, Stored{std::make_shared<const std::string>(value), lease});
  }
  return pairs;
}

Result<std::shared_ptr<SnapshotReader>> SnapshotStore::read(KeptSnapshots<Made>::Kept& kept) {
  return kept_.read(kept, [](const Made& made) { return std::make_shared<BytesReader>(made.facts, made.bytes); });
}

Result<std::shared_ptr<SnapshotReader>> SnapshotStore::open(const Image& image, const std::optional<SnapshotId>& wanted,
                                                            SnapshotId fresh_id) {
  auto* const found = kept_.find([&](const Made& made) {
    const bool asked_for = wanted && made.facts.id == *wanted;
    const bool current = made.facts.snapshot_lsn == image.head && made.facts.origin_lsn == image.origin_lsn &&
                         made.facts.incarnation == image.history.newest().incarnation;
    return asked_for || (current && !wanted);
  });
  if (found != nullptr) return read(*found);
  if (auto free = kept_.check_read(open_max_); !free) return free.error();
  kept_.make_room(open_max_);
  Made fresh;
  fresh.bytes = encode_pairs(image.pairs);
  fresh.facts = {.id = fresh_id,
                 .format = std::string(kv_format),
                 .snapshot_lsn = image.head,
                 .last_entry = image.last_entry_at(image.head),
                 .origin_lsn = image.origin_lsn,
                 .origin = image.origin,
                 .incarnation = image.history.newest().incarnation,
                 .total_bytes = fresh.bytes->size(),
                 .consistent_lsn = image.head};
  return read(kept_.add(std::move(fresh)));
}

std::shared_ptr<const DataView> make_view(const Image& image) {
  return std::make_shared<const PairsView>(image.pairs, image.head);
}

}  // namespace crosslink::memory
