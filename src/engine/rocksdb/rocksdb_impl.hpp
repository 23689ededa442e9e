#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "crosslink/rocksdb_engine.hpp"
#include "engine/rocksdb/env_disk.hpp"
#include "engine/rocksdb/live.hpp"
#include "engine/rocksdb/log_window.hpp"
#include "engine/rocksdb/partial.hpp"
#include "engine/rocksdb/resources.hpp"
#include "engine/rocksdb/snapshot_store.hpp"

namespace crosslink {

namespace rocks {

/// What was written and not told yet: a CommittedLog in the making.
struct UntoldLog {
  Lsn last_lsn, origin_lsn;  ///< last_lsn 0: nothing
  std::uint64_t count = 0;
  std::vector<std::byte> entries;
  bool is_empty() const { return last_lsn == Lsn{}; }
  /// Keeps the room for what comes next, if it is not much.
  void clear();
};

/// Operations as they are logged. `own`, `ends`: what `all` is of and points into, where that is not the caller's.
struct LoggedOperations {
  std::span<const Operation> all;
  std::vector<Operation> own;
  std::deque<std::string> ends;
};

/// Adds the record to the slice; false: it has no room there. The first always has.
bool take_record(const LogRecord& record, std::size_t bytes_max, LogSlice& slice, std::vector<std::byte>& entries);

}  // namespace rocks

// Two locks, taken in this order: `write_mutex` by the thread that writes (there is one committing thread at a time),
// `mutex` for what readers see.
struct RocksdbDatabase::Impl {
  enum class Wanted : std::uint8_t { root, mirror, whatever };

  explicit Impl(RocksdbOptions chosen);
  ~Impl();
  static Result<std::unique_ptr<RocksdbDatabase>> open(RocksdbOptions options, Wanted wanted);

  // --- opening
  Result<void> start(Wanted wanted);
  Result<std::string> make_new(Wanted wanted);
  Result<void> take_over(std::shared_ptr<rocks::Live> opened);
  Result<void> finish_start();
  Result<void> begin_log_anew();
  Result<void> note_running();
  Result<void> remove_strays(const std::string& live_name);
  /// Once a second: syncs, recovers, drops what of log and snapshots is kept no more.
  void look_after();
  /// Is there nothing that a look would find changed, but for what time alone brings?
  bool is_at_rest() const;
  /// A database that is not written to gives its memory to those that are, once these need it.
  void flush_if_idle();
  /// After an error of the disk: opens the data anew if it looks as if that went well. With write_mutex held. Errors:
  /// Storage; Busy, once, when the log had lost its tail: all is well again, but what its caller knew is of before.
  Result<void> recover();
  Result<void> recover_now();
  /// Kept for detail(), until it is known to be over.
  void note_refusal(const Result<void>& outcome);
  Result<void> open_anew(std::shared_ptr<rocks::Live>& opened);
  Result<void> finish_recovery();
  Lsn newest_written() const;
  void tell_of_history();
  /// The head is another one, and what came to the log is to be read there.
  void tell_of_head(Lsn head);

  // --- writing, with write_mutex held
  /// One batch, one record. `operations`: those of them that are users', in the form of the log. `origin_lsn`: 0 for
  /// its own.
  Result<void> write(rocksdb::WriteBatch& batch, std::span<const Operation> operations, std::uint64_t commit_time_us,
                     Lsn origin_lsn);
  /// Role, origin and history as `next` says, synced.
  Result<void> write_record(const rocks::DatabaseRecord& next);
  /// As RocksDB logs them: a range without an end ends behind the last key there is, for it has no other way to say it.
  void close_ranges(std::span<const Operation> operations, rocks::LoggedOperations& logged) const;
  void add_operations(rocksdb::WriteBatch& batch, std::span<const Operation> operations) const;
  /// What was written becomes what mirrors see, and is handed to what serves them. Commits come here with `always`
  /// once they are on disk. What a mirror applied comes at once: its session says what is durable, and only that counts
  /// for anybody; a mirror of it that is ahead after a power cut is told to wait (Busy), and bootstraps anew.
  void publish();
  Result<void> begin_incarnation(HistoryCause cause);
  /// Before the first entry of this opening.
  Result<void> begin_own_incarnation();

  // --- group commit
  struct Request {
    std::span<const Operation> operations;
    std::uint64_t commit_time_us = 0;
    std::size_t entry_bytes = 0;
    std::optional<Result<RocksdbCommit>> result;
  };
  void commit_group(std::vector<Request*>& group);
  Result<RocksdbCommit> commit_one(const Request& request);

  // --- the log
  /// Drops what is beyond window and budget.
  void trim();
  static Result<SnapshotFacts> describe(rocks::Live& of, rocks::Live& checkpoint);

  // --- mirrors
  /// So many bytes more of a snapshot that is received. Errors: Storage when they would take what is left to others;
  /// UnsupportedOperation (peer) when no disk has them.
  Result<void> need_for_received(std::uint64_t bytes) const;
  Result<std::shared_ptr<rocks::Live>> build_received(const rocks::Path& target);
  Result<void> ingest_stream(rocks::Live& target);
  Result<void> switch_received();
  /// The file `live` names the live data, whatever a switch that failed left in it. With write_mutex held. Errors:
  /// Storage.
  Result<void> point_at_live();

  /// What readers see from now on. With `mutex` held.
  void show(const rocks::DatabaseRecord& now, Lsn at) {
    record = now;
    head = at;
    shown_role = now.role;
    shown_head = at.value;
  }

  std::shared_ptr<rocks::Live> live_now() const {
    const std::scoped_lock lock(mutex);
    return live;
  }

  const RocksdbOptions options;
  const rocks::Files disk;
  base::FileLock folder_lock;
  rocks::SnapshotStore snapshot_store;
  rocks::PartialStore partial;

  std::atomic<std::uint64_t> data_bytes = 0;  ///< as of the last look

  std::mutex write_mutex;
  rocks::DatabaseRecord written_record;  ///< as it stands in RocksDB
  EntryId written_last_entry;
  rocks::UntoldLog untold;
  bool record_in_doubt = false;   ///< one was written, and the disk did not confirm it
  std::uint64_t tails_lost = 0;   ///< how often recover() found that the log had lost its tail
  bool incarnation_owed = false;  ///< the log lost its tail, and the history does not say so yet
  bool start_owed = false;        ///< it is open for reading only, and what a start writes is not written
  /// No incarnation was begun since it was opened. Each has the entries of one opening alone: a folder that was copied
  /// and put back is opened anew, and what it is given then is never taken for what it was given before.
  bool own_owed = false;
  bool log_lost = false;          ///< found when the data was taken over: the newest record is not in the log
  bool dirty = false;             ///< written since the last sync
  bool pointer_in_doubt = false;  ///< a switch failed at its one step

  mutable std::mutex mutex;
  std::shared_ptr<rocks::Live> live;
  rocks::DatabaseRecord record;
  Lsn head, origin_lsn, durable;
  // Of record and head, for callers that ask with each command.
  std::atomic<DatabaseRole> shown_role = DatabaseRole::root;
  std::atomic<std::uint64_t> shown_head = 0;
  EntryId last_entry;
  rocks::LogWindow window;
  std::optional<PartialSnapshot> shown_partial;
  std::optional<MirrorError> refusal;  ///< why nothing is written now

  std::mutex watch_mutex;
  std::function<void(const CommittedLog&)> on_log;
  std::function<void()> on_history;

  std::mutex queue_mutex;
  std::condition_variable queue_changed;
  std::deque<Request*> queue;
  bool leading = false;

  // Of look_after() alone.
  Lsn synced_head, looked_at_head;  ///< at the last call, and at the last whole look
  std::chrono::steady_clock::time_point looked_at;
  std::atomic<bool> look_soon = false;  ///< a pin went

  /// The last: nothing looks at the others when it is gone.
  std::unique_ptr<rocks::Upkeep::Place> upkeep;
};

}  // namespace crosslink
