// One opened RocksDB folder: default family for users' data, family "crosslink" for the database's own record.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "crosslink/engine.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "engine/rocksdb/files.hpp"
#include "engine/rocksdb/log_reader.hpp"

namespace crosslink::rocks {

/// What a database says of itself. In memory it is the truth's copy; the truth stands in the family "crosslink".
struct DatabaseRecord {
  DatabaseRole role = DatabaseRole::root;
  Incarnation origin;
  History history;  ///< empty: a mirror without data
  std::optional<PromotedFrom> promoted_from;
  std::optional<Position> position;
};

/// Closed by its last owner; then its folder is removed if so said.
class Live {
 public:
  /// Errors: Storage; UnsupportedOperation when the files are no RocksDB of this kind.
  static Result<std::shared_ptr<Live>> open(const Path& folder, const RocksdbOptions& options, bool create);
  /// As a checkpoint is read: nothing in the folder changes.
  static Result<std::shared_ptr<Live>> open_read_only(const Path& folder, const RocksdbOptions& options);
  ~Live();
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  rocksdb::DB& db() const { return *database_; }
  rocksdb::ColumnFamilyHandle* data() const { return families_[0]; }
  rocksdb::ColumnFamilyHandle* own() const { return families_[1]; }
  LogReader& log() { return *log_; }
  const Path& folder() const { return folder_; }
  Lsn head() const { return Lsn{database_->GetLatestSequenceNumber()}; }
  void remove_when_closed() { remove_ = true; }

  /// One batch, one record of the log, not synced. Errors: Storage; then nothing of the batch is there. One caller at a
  /// time.
  Result<void> write(rocksdb::WriteBatch& batch);
  /// What was written before is on disk. Errors: Storage.
  Result<void> sync_log();
  /// RocksDB met an error of the disk, in a call or beside them. Nothing can be written until it is opened anew: what
  /// RocksDB itself offers (Resume) may bring a record to the log that was not committed, fails for good on a disk that
  /// is still full, and ends the process where RocksDB is built with assertions, as Debian's is.
  bool has_failed() const { return *failed_; }
  void fail() { *failed_ = true; }

  /// Absent: nothing was ever recorded. Errors: Storage.
  Result<std::optional<DatabaseRecord>> read_record() const;
  /// Role, origin, history and promotion.
  void put_record(rocksdb::WriteBatch& batch, const DatabaseRecord& record) const;
  void put_position(rocksdb::WriteBatch& batch, const Position& position) const;

 private:
  Live(Path folder, Files files) : folder_(std::move(folder)), disk_(files) {}
  static Result<std::shared_ptr<Live>> open_as(const Path& folder, const RocksdbOptions& options, bool create,
                                               bool read_only);
  Path folder_;
  Files disk_;
  std::unique_ptr<rocksdb::DB> database_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
  std::unique_ptr<LogReader> log_;
  std::shared_ptr<std::atomic<bool>> failed_ = std::make_shared<std::atomic<bool>>(false);
  bool remove_ = false;
};

/// Own forms on disk are those of the protocol: a SnapshotBegin's map.
std::vector<std::byte> encode_facts(const SnapshotFacts& facts);
Result<SnapshotFacts> decode_facts(std::span<const std::byte> bytes);

}  // namespace crosslink::rocks
