// A RocksDB that a program of yours owns and writes to, offered to mirrors.
//
//   rocksdb::Options options;
//   RocksdbSource::prepare(options);  // before it is opened, every time
//   auto opened = rocksdb::DB::Open(options, "orders", &database);
//   auto source = RocksdbSource::open(*database, {.folder = "orders-mirroring"});
//   DatabaseSource offered(**source, source->get(), engine_threads.get_executor(), {.name = "prod-us/orders"});
//
// You write as you always did, from any number of threads: each record of RocksDB's write-ahead log is one entry, and
// RocksDB makes one record of the writes of several threads that come at once. Mirrored is the default column family.
//
// What cannot be mirrored is refused by its name (UnsupportedOperation):
//
//   by open()               operands of merges in tables: compact them with your merge operator first; other column
//                           families; what its Errors list
//   in the log              merges, single deletes, wide columns, other column families, prepared transactions, and
//                           writes larger than an entry may be: the session of each mirror that comes to it ends, with
//                           the sequence number
//   when a snapshot opens   operands of merges, and column families that were made since open()
//   while pairs are read    a pair with wide columns that was there before. As files such pairs arrive whole
//
// A snapshot goes as files, or as pairs where a mirror might not read the files: with blob files, and with tables that
// are compressed otherwise than by LZ4, ZSTD or Snappy.
//
// Data that comes in or goes past the log makes every mirror bootstrap anew, by itself: an ingested file, a write
// without the log, DB::DeleteFile and DB::DeleteFilesInRange; while this class is open (the last two within a second or
// so), and also while it is not, by this program or by ldb, prepared or not. So does a compaction while it was not
// open, unless prepare() was called for the same opening of the database: what a compaction did there cannot be known.
// Not seen, so yours to follow with restamp(): a compaction filter that filters flushes too, used while this class was
// not open.
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
  /// Required. What is remembered of the database beside it, and its snapshots: hard links, so on the same file system.
  /// Its own, mode 0700, not within the database's; made if absent. One process at a time.
  std::filesystem::path folder = {};
  /// Of the database's write-ahead log, which nothing else drops once prepare() was called: while this class is not
  /// open the log grows without a bound. Defaults and cost: RocksdbLogWindow.
  RocksdbLogWindow log_window = {};
  /// A larger write of the owner's ends the session of each mirror that comes to it. Default 256 MiB; see entry.hpp.
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  /// These three as in RocksdbOptions.
  std::size_t snapshots_max = 2;
  std::chrono::seconds snapshot_kept = std::chrono::hours(24);
  std::uint64_t snapshot_budget_bytes = 4ull * 1024 * 1024 * 1024;
  /// How often it looks for new commits, as RocksDB announces none; look_now() does not wait for that. Default 1 ms,
  /// which a mirror's lag grows by, and which costs a call of GetLatestSequenceNumber() each time. Raise it where an
  /// idle machine should sleep.
  std::chrono::microseconds look_every = std::chrono::milliseconds(1);
  /// These two as in RocksdbOptions.
  std::string boot_id = {};
  std::function<void(const std::string& what)> on_warning = nullptr;
};

/// Thread safe. Errors of this class are caused by us.
class RocksdbSource final : public SourceEngine, public VerifiableEngine {
 public:
  /// Sets what mirroring needs: the log is kept until this class drops it, no log file is recycled, and a listener. One
  /// set of options may open several databases; an error of the disk in one of them then counts for all, whose mirrors
  /// bootstrap anew.
  static void prepare(rocksdb::DBOptions& options);

  /// `database` must stay open for as long as this lives, and be written to with the log. A database that was written
  /// to without this class since it was closed cleanly begins a history that every mirror bootstraps for. One that was
  /// restored from a backup begins an incarnation: mirrors that went further halt (SourceBehind), the others go on. It
  /// is told by what was given to mirrors, noted in the folder, so a folder that comes out of the backup too tells
  /// nothing: call restamp() then. The folder of a version that noted no tables goes on as it did there, unless a
  /// table in the database was ingested.
  /// Errors: Configuration when prepare() was not called or options exclude mirroring (manual WAL flush, two write
  /// queues, unordered writes, two-phase commit), when the folder is in use, and when the database has a source
  /// already; UnsupportedOperation for another comparator, a compaction filter, FIFO compaction, updates in place,
  /// other column families, db_paths and cf_paths, tables that are not block-based, operands of merges in tables, and a
  /// database that is opened read-only or as a secondary; Storage.
  static Result<std::unique_ptr<RocksdbSource>> open(rocksdb::DB& database, RocksdbSourceOptions options);
  /// Precondition: the database is still open, and no call is under way. Blocks for the thread that looks.
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
  void watch_log(std::function<void(const CommittedLog& log)> on_log) override;
  void watch_history(std::function<void()> on_change) override;

  // VerifiableEngine
  Result<std::shared_ptr<const DataView>> view() override;

  struct Impl;

 private:
  explicit RocksdbSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace crosslink
