// A RocksDB that a program of yours owns and writes to, offered to mirrors.
//
//   rocksdb::Options options;
//   RocksdbSource::prepare(options);                        // before it is opened, every time
//   rocksdb::DB::Open(options, "orders", &database);
//   auto source = RocksdbSource::open(*database, {.folder = "orders-mirroring"});
//   DatabaseSource offered(**source, source->get(), engine_threads, {.name = "prod-us/orders"});
//
// You write as you always did, from any number of threads: each record of RocksDB's write-ahead log is one entry, and
// RocksDB makes one record of the writes of several threads that come at once. Mirrored is the default column family.
//
// What cannot be mirrored is refused: other column families, merges, single deletes, prepared transactions and writes
// larger than an entry may be end the session of each mirror that comes to them (UnsupportedOperation, with the
// sequence number). Data that comes in past the log (an ingested file, a write without the log) makes every mirror
// bootstrap anew, by itself. Not seen, so yours to follow with restamp(): DB::DeleteFilesInRange, and a crash inside
// DB::IngestExternalFile.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "crosslink/engine.hpp"
#include "crosslink/rocksdb_engine.hpp"

namespace rocksdb {
class DB;
struct DBOptions;
}  // namespace rocksdb

namespace crosslink {

struct RocksdbSourceOptions {
  /// What is remembered of the database beside it, and its snapshots: hard links, so on the same file system. Its own,
  /// mode 0700, not within the database's; made if absent.
  std::filesystem::path folder;
  /// Of the database's write-ahead log, which nothing else drops once prepare() was called.
  RocksdbLogWindow log_window;
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  /// As in RocksdbOptions.
  std::size_t snapshots_max = 2;
  std::chrono::seconds snapshot_kept = std::chrono::hours(24);
  std::uint64_t snapshot_budget_bytes = 4ull * 1024 * 1024 * 1024;
  /// How often it looks for new commits, which RocksDB tells nobody of; look_now() does not wait for that.
  std::chrono::microseconds look_every = std::chrono::milliseconds(1);
  /// As in RocksdbOptions.
  std::string boot_id;
};

/// Thread safe.
class RocksdbSource final : public SourceEngine, public VerifiableEngine {
 public:
  /// Sets what mirroring needs: the log is kept until this class drops it, no log file is recycled, and a listener.
  static void prepare(rocksdb::DBOptions& options);

  /// `database` must stay open for as long as this lives, and be written to with the log. A database that was written
  /// to without this class since it was last closed, or restored, begins a history that every mirror bootstraps for.
  /// One case cannot be told, and is yours to follow with restamp(): this process was killed, and before this class saw
  /// the database again it was opened without prepare() and got a file ingested that overlaps nothing, and no write.
  /// Errors: Configuration when prepare() was not called or options exclude mirroring (manual WAL flush, two write
  /// queues, unordered writes, two-phase commit), when the folder is in use; UnsupportedOperation for another
  /// comparator, a compaction filter, FIFO compaction, updates in place, blob files, other column families; Storage.
  static Result<std::unique_ptr<RocksdbSource>> open(rocksdb::DB& database, RocksdbSourceOptions options);
  /// The database is still open.
  ~RocksdbSource() override;

  /// Tells the sessions of what was committed, on this thread, instead of a little later. Cheap.
  void look_now();
  /// The data was restored from a backup, or changed past the log: every mirror bootstraps anew. Errors: Storage.
  Result<void> restamp();

  // SourceEngine
  SourceState source_state() const override;
  Result<LogSlice> read_log(Lsn after, std::size_t bytes_max) override;
  Result<PositionProof> prove(const EntryId& last_entry, Lsn at) override;
  Result<std::shared_ptr<SnapshotReader>> open_snapshot(std::span<const std::string> formats,
                                                        const std::optional<SnapshotId>& wanted) override;
  void pin(const std::string& holder, Lsn from) override;
  void unpin(const std::string& holder) override;
  std::optional<WindowLeft> window_left(Lsn after) const override;
  void watch_head(std::function<void(Lsn head)> on_head) override;
  void watch_history(std::function<void()> on_change) override;

  // VerifiableEngine
  Result<std::shared_ptr<const DataView>> view() override;

  struct Impl;

 private:
  explicit RocksdbSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace crosslink
