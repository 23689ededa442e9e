// Entries out of RocksDB's WAL: one record, one entry. Every gap is noticed: RocksDB itself may answer OK and begin
// later than asked for after a purge.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/transaction_log.h>
#include <rocksdb/write_batch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/entry.hpp"

namespace crosslink::rocks {

/// What a hosted database writes into the log data of each of its batches.
struct BatchNote {
  std::uint64_t commit_time_us = 0;
  EntryId previous;  ///< the last entry before this batch
  Lsn origin_lsn;    ///< the LSN at the root that the batch stands for; 0: its own
};
std::string encode_note(const BatchNote& note);
std::optional<BatchNote> decode_note(std::string_view bytes);

/// One WAL record.
struct LogRecord {
  Lsn first, last;
  std::vector<std::byte> entry;  ///< empty: it touches nothing of the database's users
  std::optional<BatchNote> note;
  Lsn origin_lsn() const { return note && note->origin_lsn.value > 0 ? note->origin_lsn : last; }
  /// The last entry at or before `last`. Precondition: a hosted database's record.
  EntryId last_entry() const;
};

/// `own_family`: where a hosted database keeps its record; absent: a caller's own database, which has no notes of ours.
/// Errors: UnsupportedOperation for a merge, a single delete, wide columns and another column family than the default
/// and `own_family`.
Result<LogRecord> read_batch(const rocksdb::WriteBatch& batch, Lsn first, std::optional<std::uint32_t> own_family);

/// Thread safe. Must go before its database.
class LogReader {
 public:
  LogReader(rocksdb::DB& database, std::optional<std::uint32_t> own_family)
      : database_(&database), own_family_(own_family) {}
  /// Calls `visit` with the record that holds after + 1 and every one behind it up to the head, until it returns false
  /// (which leaves that one for the next reading).
  /// True: done; false: the log after `after` is gone. Errors: Storage, and those of read_batch.
  Result<bool> read(Lsn after, Lsn head, const std::function<bool(LogRecord&)>& visit);
  /// Cursors in log that is dropped would hold its files.
  void forget_up_to(Lsn oldest);

 private:
  struct Cursor {
    std::unique_ptr<rocksdb::TransactionLogIterator> iterator;
    std::uint64_t next = 0;      ///< the sequence number it comes to next
    rocksdb::BatchResult batch;  ///< the iterator gives each away once: what was looked at and not taken
    std::uint64_t count() const { return static_cast<std::uint64_t>(batch.writeBatchPtr->Count()); }
    bool begun = false;
    /// False: the iterator has nothing more now.
    bool look();
    void go_on() { batch.writeBatchPtr.reset(); }
  };
  std::optional<Cursor> take(std::uint64_t next);
  void give_back(Cursor cursor);
  rocksdb::DB* database_;
  std::optional<std::uint32_t> own_family_;
  std::mutex mutex_;
  std::vector<Cursor> idle_;  ///< the last used at the end
};

}  // namespace crosslink::rocks
