// One opened RocksDB. In a hosted one the default family has users' data, family "crosslink" the database's own record;
// a caller's own has the default family only.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/perf_level.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "crosslink/engine.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "engine/rocksdb/env_disk.hpp"
#include "engine/rocksdb/log_reader.hpp"

namespace crosslink::rocks {

/// While it is there RocksDB does not count what this thread does: it counts each comparison of two keys in a variable
/// of the thread's, which costs a quarter of a write, and the counts are not read.
class Uncounted {
 public:
  Uncounted() : before_(rocksdb::GetPerfLevel()) { rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable); }
  ~Uncounted() { rocksdb::SetPerfLevel(before_); }
  Uncounted(const Uncounted&) = delete;
  Uncounted& operator=(const Uncounted&) = delete;

 private:
  const rocksdb::PerfLevel before_;
};

/// What a database says of itself. In memory it is the truth's copy; the truth stands in the family "crosslink".
struct DatabaseRecord {
  DatabaseRole role = DatabaseRole::root;
  Incarnation origin;
  History history;  ///< empty: a mirror without data
  std::optional<PromotedFrom> promoted_from;
  std::optional<Position> position;
};

enum class LiveKind : std::uint8_t { hosted, callers };

/// Closed by its last owner, but for a caller's own; then its folder is removed if so said.
class Live {
 public:
  /// What opening makes tables of has to fit: RocksDB is not asked on a disk that is full, where Debian's build may end
  /// the process by an assertion. Errors: Storage, with the bytes that are needed.
  static Result<void> check_room(const Path& folder, const RocksdbOptions& options);
  /// Errors: Storage, also that of check_room; UnsupportedOperation when the files are no RocksDB of this kind.
  static Result<std::shared_ptr<Live>> open(const Path& folder, const RocksdbOptions& options, bool create);
  /// As a checkpoint is read: nothing in the folder changes.
  static Result<std::shared_ptr<Live>> open_read_only(const Path& folder, const RocksdbOptions& options,
                                                      LiveKind kind = LiveKind::hosted);
  /// A caller's own, which must stay open for as long as this is held.
  static std::shared_ptr<Live> borrow(rocksdb::DB& database);
  ~Live();
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  rocksdb::DB& db() const { return *database_; }
  rocksdb::ColumnFamilyHandle* data() const { return families_[0]; }
  /// Precondition: hosted.
  rocksdb::ColumnFamilyHandle* own() const { return families_.at(1); }
  LogReader& log() { return *log_; }
  const Path& folder() const { return folder_; }
  /// Reads every table once and compares its checksums. Errors: UnsupportedOperation (peer) when one is damaged;
  /// Storage.
  Result<void> check_tables() const;
  /// Of tables and of what is in memory.
  std::uint64_t data_bytes() const;
  Lsn head() const { return Lsn{database_->GetLatestSequenceNumber()}; }
  void remove_when_closed() { remove_ = true; }

  /// One batch, one record of the log, not synced. Errors: Storage; then nothing of the batch is there. One caller at a
  /// time.
  Result<void> write(rocksdb::WriteBatch& batch);
  /// Is there room to make tables of what is in memory? Errors: Storage, with the bytes that are needed.
  Result<void> check_room_to_flush() const;
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
                                               bool read_only, LiveKind kind);
  void adopt(rocksdb::DB& database);
  Path folder_;
  Files disk_;
  rocksdb::DB* database_ = nullptr;
  bool is_mine_ = false;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
  std::unique_ptr<LogReader> log_;
  std::shared_ptr<std::atomic<bool>> failed_ = std::make_shared<std::atomic<bool>>(false);
  bool remove_ = false;
};

/// Role, origin, history and promotion as one value on disk.
std::string encode_record(const DatabaseRecord& record);
/// Fills in what the value says. Errors: Storage.
Result<void> decode_record(std::string_view value, DatabaseRecord& record);

/// Own forms on disk are those of the protocol: a SnapshotBegin's map.
std::vector<std::byte> encode_facts(const SnapshotFacts& facts);
Result<SnapshotFacts> decode_facts(std::span<const std::byte> bytes);

}  // namespace crosslink::rocks
