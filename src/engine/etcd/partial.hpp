// A snapshot that is being received, beside the data: its bytes in a file, its facts, the CRC of each chunk, and the
// leases it uses.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/files.hpp"
#include "crosslink/engine.hpp"
#include "engine/common/stored_pairs.hpp"

namespace crosslink::etcd {

class PartialStore {
 public:
  PartialStore(base::Files files, base::Path folder, std::shared_ptr<const base::Space> space)
      : files_(std::move(files)), folder_(std::move(folder)), space_(std::move(space)) {}
  /// What a process before this one received.
  Result<void> load();
  const std::optional<PartialSnapshot>& partial() const { return partial_; }
  Result<void> begin(const SnapshotFacts& facts);
  Result<void> store(const StoredChunk& chunk, std::span<const std::byte> bytes);
  Result<SnapshotCheck> check();
  Result<void> drop();
  Result<void> note_leases(std::span<const LeaseGrant> leases);
  const std::map<std::uint64_t, std::uint64_t>& leases() const { return leases_; }

  /// The pairs of what was received, one after another.
  Result<engine::StoredPairs> pairs() const;

 private:
  Result<void> need(std::uint64_t bytes) const;
  void close();
  base::Files files_;
  base::Path folder_;
  std::shared_ptr<const base::Space> space_;
  std::optional<PartialSnapshot> partial_;
  std::map<std::uint64_t, std::uint64_t> leases_;  ///< granted TTL in seconds
  std::optional<base::AppendFile> stream_, chunks_;
};

}  // namespace crosslink::etcd
