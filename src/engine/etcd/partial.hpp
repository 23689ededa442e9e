// A snapshot that is being received, beside the data: its bytes in a file, its facts, the CRC of each chunk, and the
// leases it uses.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "crosslink/engine.hpp"
#include "engine/etcd/files.hpp"

namespace crosslink::etcd {

class PartialStore {
 public:
  PartialStore(Path folder, std::shared_ptr<const Space> space)
      : folder_(std::move(folder)), space_(std::move(space)) {}
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
  class Pairs {
   public:
    /// Absent at the end; what it gives holds until the next call. Errors: Storage; UnsupportedOperation (peer).
    Result<std::optional<KeyValue>> next();

   private:
    friend class PartialStore;
    Pairs(File file, std::uint64_t bytes) : file_(std::move(file)), left_(bytes) {}
    File file_;
    std::uint64_t at_ = 0, left_;
    std::vector<std::byte> buffer_;
    std::size_t used_ = 0;
    std::optional<std::string> before_;
  };
  Result<Pairs> pairs() const;

 private:
  Result<void> need(std::uint64_t bytes) const;
  Path folder_;
  std::shared_ptr<const Space> space_;
  std::optional<PartialSnapshot> partial_;
  std::map<std::uint64_t, std::uint64_t> leases_;  ///< granted TTL in seconds
  File stream_, chunks_;
};

}  // namespace crosslink::etcd
