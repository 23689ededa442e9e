// Snapshots of a database as sorted pairs: pages of one revision, written to a file while mirrors read it. When a
// compaction passes the pages, those that follow are newer; the log from the first revision on makes up for it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/files.hpp"
#include "engine/common/kept_snapshots.hpp"
#include "engine/etcd/history.hpp"
#include "engine/etcd/shortage.hpp"

namespace crosslink::etcd {

class SnapshotStore {
 public:
  struct Options {
    std::size_t snapshots_max;
    std::uint64_t budget_bytes;
    std::chrono::seconds kept;
    std::shared_ptr<const base::Space> space;
    std::shared_ptr<Shortage> shortage;  ///< lasts from a snapshot that found no room to the next that was written
  };
  /// Everything in `folder` is removed: what another process wrote is of no use without its log.
  SnapshotStore(base::Files files, base::Path folder, Options options)
      : files_(std::move(files)), folder_(std::move(folder)), options_(std::move(options)) {}
  ~SnapshotStore();

  struct Source {
    LogOrigin origin;
    SnapshotFacts facts;  ///< all but the id and the format
  };
  /// Errors: Busy; UnsupportedOperation; Storage, also when the disk has no room for any.
  Result<std::shared_ptr<SnapshotReader>> open(const Source& source, std::span<const std::string> formats,
                                               const std::optional<SnapshotId>& wanted);
  /// Those of another incarnation, or that no mirror took up again in time.
  void prune(const Incarnation& incarnation);
  /// None is offered any more; those that are read go on.
  void clear();

 private:
  class Writing;
  using Kept = KeptSnapshots<std::shared_ptr<Writing>>;
  Result<std::shared_ptr<SnapshotReader>> read(Kept::Kept& kept);
  const base::Files files_;
  const base::Path folder_;
  const Options options_;
  std::mutex mutex_;
  Kept kept_;
  std::shared_ptr<std::atomic<std::uint64_t>> disk_bytes_ = std::make_shared<std::atomic<std::uint64_t>>(0);
};

}  // namespace crosslink::etcd
