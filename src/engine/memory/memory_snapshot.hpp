// Snapshots of a database in memory: made whole when they are opened, then only read.
#pragma once

#include <memory>
#include <optional>

#include "engine/common/kept_snapshots.hpp"
#include "engine/memory/memory_image.hpp"

namespace crosslink::memory {

/// All pairs in `kv` form.
SharedBytes encode_pairs(const Pairs& pairs);
/// Errors (peer): ProtocolViolation when the bytes are no pairs in rising order.
Result<Pairs> decode_pairs(std::span<const std::byte> bytes);

/// The snapshots that exist: those that are read, and the newest that are not, for mirrors that come back.
class SnapshotStore {
 public:
  explicit SnapshotStore(std::size_t open_max) : open_max_(open_max) {}
  /// Errors: Busy.
  Result<std::shared_ptr<SnapshotReader>> open(const Image& image, const std::optional<SnapshotId>& wanted,
                                               SnapshotId fresh_id);
  void clear() { kept_.clear(); }

 private:
  struct Made {
    SnapshotFacts facts;
    SharedBytes bytes;
  };
  Result<std::shared_ptr<SnapshotReader>> read(KeptSnapshots<Made>::Kept& kept);
  std::size_t open_max_;
  KeptSnapshots<Made> kept_;
};

/// A copy of the pairs, for verify.
std::shared_ptr<const DataView> make_view(const Image& image);

}  // namespace crosslink::memory
