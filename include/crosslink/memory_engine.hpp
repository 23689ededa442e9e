// A database in memory behind both engine interfaces: for tests, for the simulator, for benches of everything but
// disks, and as an example of how an engine is written. Nothing of it survives its process. Faults by order are in
// crosslink/testing/memory_faults.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crosslink/engine.hpp"

namespace crosslink {

struct MemoryOptions {
  /// Log that is kept for mirrors, in bytes of entries. Default 64 MiB. More of it lets a mirror be away longer, at the
  /// cost of that much memory.
  std::uint64_t log_window_bytes = 64ull * 1024 * 1024;
  /// Pins keep the log beyond its window, up to this: then they are passed over. Default 128 MiB; at least the window.
  std::uint64_t log_budget_bytes = 128ull * 1024 * 1024;
  /// The largest commit (entry.hpp). Default 256 MiB.
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  /// Snapshots that mirrors read at once; one that several read counts once. Others are answered Busy. Default 2: each
  /// is a full copy of the data.
  std::size_t snapshots_max = 2;
  /// false (the default): everything is durable at once. true: only sync() makes it so, and MemoryFaults::crash() takes
  /// the rest; costs a second copy of the data.
  bool manual_sync = false;
  /// Ids of incarnations and snapshots come from this; the same seed gives the same ids. Give each database another
  /// one: two of the same seed take each other's history for their own.
  std::uint64_t seed = 1;
};

/// Thread safe. Costs one ordered map, the log window, and a full copy per open snapshot or view.
class MemoryDatabase final : public SourceEngine, public MirrorEngine, public VerifiableEngine {
 public:
  /// A root: takes writes, follows no source.
  static std::unique_ptr<MemoryDatabase> create(MemoryOptions options = {});
  /// To become a mirror: no data, no history until a snapshot is switched in.
  static std::unique_ptr<MemoryDatabase> empty(MemoryOptions options = {});
  ~MemoryDatabase() override;

  /// Commits operations in order as one entry; returns its LSN. `commit_time_us`: Unix time, 0 if unknown. Unchanged on
  /// failure. Errors: Configuration while it is a mirror, for no operations, and for a range with begin >= end;
  /// UnsupportedOperation over entry_bytes_max; Storage by MemoryFaults::fail_next().
  Result<Lsn> commit(std::span<const Operation> operations, std::uint64_t commit_time_us = 0);
  /// Absent: there is no such key.
  std::optional<std::string> get(std::string_view key) const;
  /// How many keys there are.
  std::size_t size() const;

  // SourceEngine
  SourceState source_state() const override;
  DatabaseRole role() const override;
  Lsn head() const override;
  Result<LogSlice> read_log(Lsn after, std::size_t bytes_max) override;
  Result<PositionProof> prove(const EntryId& last_entry, Lsn at) override;
  Result<std::shared_ptr<SnapshotReader>> open_snapshot(std::span<const std::string> formats,
                                                        const std::optional<SnapshotId>& wanted) override;
  void pin(const std::string& holder, Lsn from) override;
  void unpin(const std::string& holder) override;
  std::optional<WindowLeft> window_left(Lsn after) const override;
  void watch_log(std::function<void(const CommittedLog& log)> on_log) override;

  // MirrorEngine
  EngineTraits traits() const override;
  MirrorState mirror_state() const override;
  Result<void> apply(const ApplyGroup& group) override;
  Result<void> step_back(Lsn from) override;
  Result<Lsn> sync() override;
  Result<void> begin_snapshot(const SnapshotFacts& facts) override;
  Result<void> store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) override;
  Result<SnapshotCheck> check_snapshot() override;
  Result<void> switch_snapshot() override;
  Result<void> drop_snapshot() override;
  Result<PromotedFrom> promote(const std::string& source_cluster, const std::string& source_database) override;

  // VerifiableEngine
  Result<std::shared_ptr<const DataView>> view() override;

  // What an operator does to a database. Each begins another incarnation where it says so; call
  // DatabaseSource::end_sessions first.

  /// A new incarnation after an unclean end (cause unclean_stop). Precondition: not a mirror.
  void unclean_stop();
  /// A new incarnation because the data was restored (cause restamp). Precondition: not a mirror.
  void restamp();
  /// A copy of data, log and history, and going back to one, as a backup would. A partial snapshot is no part of it.
  using Backup = std::shared_ptr<const void>;
  Backup backup() const;
  void restore(const Backup& backup);
  /// Everything is gone, and it begins anew under another origin (cause created). Precondition: not a mirror.
  void recreate();
  /// Drops the log up to the head, pinned or not.
  void purge_log();
  /// Bytes of entries that the log holds.
  std::uint64_t log_bytes() const;

  /// For the implementation.
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  explicit MemoryDatabase(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace crosslink
