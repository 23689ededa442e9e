// A database on disk, in RocksDB, behind both engine interfaces: hosted, that is, opened and written to through this
// class only.
//
//   auto orders = RocksdbDatabase::open_root({.folder = "data/orders"});  // a root: takes writes
//   auto copy = RocksdbDatabase::open_mirror({.folder = "data/copy"});    // to become, or go on as, a mirror
//
// The LSN of a commit is the last RocksDB sequence number of its one WAL record. Format on disk and what survives what:
// docs/architecture.md, "RocksDB".
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
#include <string_view>

#include "crosslink/engine.hpp"

namespace rocksdb {
class Env;
}

namespace crosslink {

/// When a commit is made durable.
enum class RocksdbSync : std::uint8_t {
  always,        ///< a commit is durable, and mirrors see it, once it is on disk
  every_second,  ///< a power cut may take the last second; what was lost is known as such (unclean_stop)
  never,         ///< the system writes when it likes; as every_second otherwise
};
/// Of tables on disk.
enum class RocksdbCompression : std::uint8_t { none, lz4, zstd };

/// Log that is kept for mirrors, in whole WAL files.
struct RocksdbLogWindow {
  /// As much and as long as this, whichever is reached first: default 1 GiB, 24 hours. Raise both for mirrors that are
  /// away for longer, or for sources that write more meanwhile: a mirror that finds its log gone bootstraps anew. Costs
  /// that much disk. Time goes by the monotonic clock, from when a file was last written to; while the database is
  /// closed, by the machine's.
  std::uint64_t bytes = 1024ull * 1024 * 1024;
  std::chrono::seconds time = std::chrono::hours(24);
  /// Pins, of mirrors that bootstrap for the most part, keep the log beyond its window, up to this. Default 4 GiB; at
  /// least the window. Raise it where a bootstrap takes longer than this much is written; costs that much disk at
  /// worst.
  std::uint64_t budget_bytes = 4ull * 1024 * 1024 * 1024;
};

/// What databases of one process share, so that a thousand of them cost little more than their data. Thread safe; it goes
/// with the last database that has it.
class RocksdbResources {
 public:
  struct Options {
    /// Parts of tables that were read, kept in memory, of all databases. Default 256 MiB. Raise it where reads wait for
    /// the disk.
    std::uint64_t cache_bytes = 256ull * 1024 * 1024;
    /// Data in memory before it becomes tables, of all databases together. Default 256 MiB: four databases that are
    /// written to flat out. Above it the one that is written to makes its tables early. Raise it where many are written
    /// to at once.
    std::uint64_t write_buffers_bytes = 256ull * 1024 * 1024;
    /// Threads that look after the databases, each once a second: what sync every_second promises, dropping log. Default
    /// 2, as one waits for the disk. At least 1.
    std::size_t threads = 2;
  };
  /// Does not fail.
  static std::shared_ptr<RocksdbResources> make(const Options& options);
  ~RocksdbResources();

  struct Impl;
  Impl& impl() { return *impl_; }  ///< for the implementation

 private:
  explicit RocksdbResources(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Each says its default, when to change it and what that costs.
struct RocksdbOptions {
  /// Required. Everything of the database, and nothing else, stands in it; made with mode 0700. One process at a time.
  std::filesystem::path folder = {};
  /// Of commits; a mirror's applies are made durable by its session. Default: every second. `always` costs each group
  /// of commits a sync of the disk, and loses no confirmed one; `never` leaves the disk alone.
  RocksdbSync sync = RocksdbSync::every_second;
  /// Default LZ4. zstd: a smaller disk for more processor time; none: for values that do not compress.
  RocksdbCompression compression = RocksdbCompression::lz4;
  RocksdbLogWindow log_window = {};
  /// A WAL file, and the data in memory before it becomes a table, at most about this. Default 64 MiB. Raise it for a
  /// database that is written to without pause; costs twice that in memory, and the log is dropped in larger pieces.
  std::uint64_t write_buffer_bytes = 64ull * 1024 * 1024;
  /// What it shares with other databases. Null (the default): it shares nothing, and has one thread of its own.
  std::shared_ptr<RocksdbResources> resources = nullptr;
  /// Parts of tables that were read, kept in memory for this database alone. Absent (the default): those of `resources`;
  /// without these, 64 MiB. Give it one where others' reads must not push out its tables.
  std::optional<std::uint64_t> cache_bytes = std::nullopt;
  /// The largest commit; a larger one is refused (UnsupportedOperation). Default 256 MiB; see entry.hpp before raising
  /// it.
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  /// As a mirror: take a snapshot as the files of the source's RocksDB where that can be, which is several times
  /// faster. RocksDB then opens files of the source's making in this process. Default: yes. No, where the source is not
  /// trusted with that: pairs only, the format `kv`.
  bool snapshot_files = true;
  /// Snapshots that mirrors read at once; one that several read counts once. Others are answered Busy, and ask again.
  /// Default 2. Raise it where many mirrors bootstrap at different times; each may hold, at worst, as much disk as the
  /// data.
  std::size_t snapshots_max = 2;
  /// How long a snapshot that no mirror reads can be taken up again, at most: no longer than the log after it is held,
  /// and while what it alone holds on disk, with the others, is within snapshot_budget_bytes: files that the database
  /// has dropped since. One that is read stays: so the disk holds at most snapshots_max times the data, and the budget.
  /// Of unread ones as many as may be read are kept. Defaults 24 hours and 4 GiB. Raise them where a mirror's bootstrap
  /// is cut for longer and begins anew each time; lower them where the disk is short.
  std::chrono::seconds snapshot_kept = std::chrono::hours(24);
  std::uint64_t snapshot_budget_bytes = 4ull * 1024 * 1024 * 1024;
  /// What a snapshot that is received leaves free on the disk, for the databases that take writes there: what does not
  /// fit is refused (Storage) and tried again, and what was received stays. Writes and applied entries are not held to
  /// it. Default 1 GiB. Raise it where other databases write much while a mirror bootstraps.
  std::uint64_t min_free_bytes = min_free_bytes_default;
  /// Where RocksDB reads and writes, for an encrypting one for instance; null (the default): the system's files. Must
  /// outlive the database. The folder's lock is made past it.
  rocksdb::Env* env = nullptr;
  /// Names this boot of the machine; another name after an unclean end means that unsynced writes may be gone. Empty
  /// (the default): the kernel's. Set it where the disk outlives the machine without the kernel's knowledge, as when a
  /// virtual machine is set back to an earlier state.
  std::string boot_id = {};
  /// Called with what an operator should read in a log, in words, from any thread. It must not block or call back. Null
  /// (the default): it is not said.
  std::function<void(const std::string& what)> on_warning = nullptr;
};

/// Where a commit stands: an LSN alone may come again, for another commit, after a change of history.
struct RocksdbCommit {
  Incarnation incarnation;
  Lsn lsn;
};

/// Thread safe. Commits of any number of threads are written one after another and synced together.
class RocksdbDatabase final : public SourceEngine, public MirrorEngine, public VerifiableEngine {
 public:
  /// Opens the database in the folder, or makes an empty root. Blocks while RocksDB reads its log. On a disk without
  /// room for that it is open for reading only, commit() says how many bytes are needed, and it takes writes within a
  /// second once they are free. Errors (all of this class: us): Storage; Configuration when the folder is in use by
  /// another process, or holds a mirror.
  static Result<std::unique_ptr<RocksdbDatabase>> open_root(RocksdbOptions options);
  /// Opens the mirror (or promoted database) in the folder, or makes an empty one. Errors: as open_root; Configuration
  /// when it holds a root.
  static Result<std::unique_ptr<RocksdbDatabase>> open_mirror(RocksdbOptions options);
  /// Opens what stands in the folder, root or mirror. Errors: as open_root; Configuration when there is nothing.
  static Result<std::unique_ptr<RocksdbDatabase>> open(RocksdbOptions options);
  /// Syncs and closes; blocks for that. Precondition: no call is under way. Readers and views that are still held keep
  /// their data open until they go.
  ~RocksdbDatabase() override;

  /// Commits operations in order as one entry; returns its LSN. A range without an end ends after the last key there
  /// is. `commit_time_us`: Unix time, 0 if unknown. Unchanged on failure. Errors: Configuration while it is a mirror,
  /// for no operations, and for a range with begin >= end; UnsupportedOperation over entry_bytes_max and for a lease;
  /// Storage: nothing of it is there; OutcomeUnknown: it was written, get() shows it, and the disk did not confirm it.
  /// Until the disk is opened anew, within a second or at the next write, no mirror sees it; then either it is there
  /// for good, or it is gone and another incarnation begins.
  Result<Lsn> commit(std::span<const Operation> operations, std::uint64_t commit_time_us = 0);
  /// As commit(); which incarnation the LSN is of as well: a change of history may take the commit back before the
  /// caller can ask.
  Result<RocksdbCommit> commit_in(std::span<const Operation> operations, std::uint64_t commit_time_us = 0);
  /// Absent: there is no such key. Sees commits that are not durable yet. Errors: Storage.
  Result<std::optional<std::string>> get(std::string_view key) const;
  /// Why nothing can be written now, a full disk for instance; absent: nothing is known to be in the way. At most a
  /// second old. Any thread.
  std::optional<MirrorError> writes_refused() const;

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
  /// That a database takes no writes, and why; empty for a mirror, and while it takes them.
  std::string detail() const override;
  /// Also after the disk failed and what it had not confirmed is gone.
  void watch_history(std::function<void()> on_change) override;

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

  /// A new incarnation because the data was restored from a backup: mirrors that went further than it are not taken for
  /// followers of it. Call DatabaseSource::end_sessions first. Errors: Configuration while it is a mirror; Storage.
  Result<void> restamp();
  /// How much log is on disk; what was dropped since the last look, a second ago, still counts. Quick.
  std::uint64_t log_bytes() const;
  /// Drops the log up to the head, pinned or not: mirrors that are behind bootstrap anew. Errors: Storage.
  Result<void> purge_log();

  struct Impl;

 private:
  explicit RocksdbDatabase(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace crosslink
