#include "engine/rocksdb/live.hpp"

#include <fmt/format.h>
#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include <array>
#include <limits>
#include <utility>

#include "engine/rocksdb/resources.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::rocks {
namespace {

constexpr std::uint64_t room_beside_tables = 8 * 1024 * 1024;  // a log, a manifest, what tables have besides pairs
constexpr std::size_t arena_block_bytes = 64 * 1024;  // a family takes so much memory with its first few writes
constexpr double filter_bits_per_key = 10;            // one false alarm in a hundred
constexpr const char* own_family_name = "crosslink";
constexpr std::string_view database_key = "database", role_key = "role", position_key = "position";

rocksdb::CompressionType compression_of(RocksdbCompression compression) {
  switch (compression) {
    case RocksdbCompression::none: return rocksdb::kNoCompression;
    case RocksdbCompression::lz4: return rocksdb::kLZ4Compression;
    case RocksdbCompression::zstd: return rocksdb::kZSTD;
  }
  return rocksdb::kNoCompression;
}

rocksdb::DBOptions database_options(const RocksdbOptions& options, bool create) {
  rocksdb::DBOptions chosen;
  chosen.create_if_missing = create;
  chosen.create_missing_column_families = true;
  chosen.paranoid_checks = true;
  // One flush for both families: else the small one would hold every WAL back.
  chosen.atomic_flush = true;
  // What is dropped from the log, and when, is decided by us. Some limit there must be, or nothing is kept; with this
  // one RocksDB never looks. With any smaller one it drops all files that are younger than its clock: it subtracts
  // unsigned (7.8, PurgeObsoleteWALFiles), and a clock is set back, or coarser than that of the file system.
  chosen.WAL_ttl_seconds = std::numeric_limits<std::uint64_t>::max();
  chosen.WAL_size_limit_MB = 0;
  chosen.recycle_log_file_num = 0;
  chosen.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  chosen.max_bgerror_resume_count = 0;  // see Live::has_failed
  chosen.max_background_jobs = 2;
  chosen.bytes_per_sync = 1024 * 1024;
  chosen.keep_log_file_num = 2;
  chosen.max_log_file_size = 4 * 1024 * 1024;
  chosen.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  // A log file takes what is written to it: with 1,000 databases, what RocksDB would take ahead, write_buffer_bytes and a
  // tenth for each, is the disk.
  chosen.allow_fallocate = false;
  // Files of one database are few: one shard, where the default has 64 for each.
  chosen.table_cache_numshardbits = 0;
  chosen.stats_dump_period_sec = 0;
  chosen.stats_persist_period_sec = 0;
  if (options.resources) chosen.write_buffer_manager = options.resources->impl().write_buffers;
  if (options.env != nullptr) chosen.env = options.env;
  return chosen;
}

void stop_counting() { rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable); }

/// Notes that RocksDB met an error of the disk, which does not try to go on by itself; keeps its threads from counting.
class ThreadListener final : public rocksdb::EventListener {
 public:
  explicit ThreadListener(std::shared_ptr<std::atomic<bool>> failed) : failed_(std::move(failed)) {}
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status*) override { *failed_ = true; }
  // Called first on RocksDB's own threads, which do nothing else.
  void OnFlushBegin(rocksdb::DB*, const rocksdb::FlushJobInfo&) override { stop_counting(); }
  void OnCompactionBegin(rocksdb::DB*, const rocksdb::CompactionJobInfo&) override { stop_counting(); }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* recover) override {
    *recover = false;
  }

 private:
  std::shared_ptr<std::atomic<bool>> failed_;
};

std::shared_ptr<rocksdb::Cache> cache_of(const RocksdbOptions& options) {
  if (options.resources && !options.cache_bytes) return options.resources->impl().cache;
  return rocksdb::NewLRUCache(static_cast<std::size_t>(options.cache_bytes.value_or(rocksdb_cache_bytes)));
}

rocksdb::ColumnFamilyOptions data_options(const RocksdbOptions& options, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions chosen;
  chosen.write_buffer_size = static_cast<std::size_t>(options.write_buffer_bytes);
  chosen.arena_block_size = arena_block_bytes;
  chosen.compression = compression_of(options.compression);
  // A read looks into one table that has the key, not into each that might.
  rocksdb::BlockBasedTableOptions tables;
  tables.filter_policy.reset(rocksdb::NewBloomFilterPolicy(filter_bits_per_key));
  tables.block_cache = cache;
  chosen.table_factory.reset(rocksdb::NewBlockBasedTableFactory(tables));
  return chosen;
}

/// Of the database's own record: a few keys, written again and again.
rocksdb::ColumnFamilyOptions own_options(const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions chosen;
  chosen.arena_block_size = arena_block_bytes;
  rocksdb::BlockBasedTableOptions tables;
  tables.block_cache = cache;
  chosen.table_factory.reset(rocksdb::NewBlockBasedTableFactory(tables));
  return chosen;
}

MirrorError failed_before(std::string_view what) {
  return {ErrorKind::Storage, CausedBy::us, fmt::format("{}: the disk failed before", what)};
}

/// The payload of a frame of the protocol.
std::string payload_of(const core::SessionMessage& message) {
  const auto frame = core::encode_message(message);
  return std::string(text_of(std::span(frame).subspan(frame_header_bytes)));
}

template <class Message>
Result<Message> message_of(std::string_view payload) {
  const auto decoded = core::decode_message(core::kind_of(Message{}), bytes_of(payload));
  if (!decoded) {
    return MirrorError(ErrorKind::Storage, CausedBy::us, "a record on disk is damaged: " + decoded.error().message());
  }
  return std::get<Message>(decoded->message);
}

}  // namespace

std::vector<std::byte> encode_facts(const SnapshotFacts& facts) {
  const auto payload = payload_of(core::SnapshotBegin{facts, 0});
  const auto bytes = bytes_of(payload);
  return {bytes.begin(), bytes.end()};
}

Result<SnapshotFacts> decode_facts(std::span<const std::byte> bytes) {
  const auto begin = message_of<core::SnapshotBegin>(text_of(bytes));
  if (!begin) return begin.error();
  auto facts = begin->facts;
  facts.consistent_lsn = facts.snapshot_lsn;
  return facts;
}

std::string encode_record(const DatabaseRecord& record) {
  core::SessionBegin begin;
  begin.source = core::SessionBegin::Source{{}, record.origin, record.history, record.promoted_from};
  return payload_of(begin);
}

Result<void> decode_record(std::string_view value, DatabaseRecord& record) {
  auto begin = message_of<core::SessionBegin>(value);
  if (!begin) return begin.error();
  if (!begin->source) return MirrorError(ErrorKind::Storage, CausedBy::us, "a record on disk lacks the history");
  record.origin = begin->source->origin;
  record.history = begin->source->history;
  record.promoted_from = begin->source->promoted_from;
  return {};
}

Result<void> Live::check_room(const Path& folder, const RocksdbOptions& options) {
  const auto disk = files_of(options.env);
  const auto names = disk.list(folder);
  if (!names) return names.error();
  auto needed = room_beside_tables;
  for (const auto& name : *names) {
    if (!name.ends_with(".log")) continue;
    const auto bytes = disk.size(folder / name);
    if (!bytes) return bytes.error();
    needed += *bytes;
  }
  return base::Space(disk, options.folder, 0).need(needed, "opening the database");
}

Result<void> Live::check_room_to_flush() const {
  std::uint64_t memory = 0;
  database_->GetAggregatedIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &memory);
  return base::Space(disk_, folder_, 0).need(memory + room_beside_tables, "writing what is in memory to tables");
}

Result<std::shared_ptr<Live>> Live::open(const Path& folder, const RocksdbOptions& options, bool create) {
  if (auto room = check_room(folder, options); !room) return room.error();
  return open_as(folder, options, create, false, LiveKind::hosted);
}
Result<std::shared_ptr<Live>> Live::open_read_only(const Path& folder, const RocksdbOptions& options, LiveKind kind) {
  return open_as(folder, options, false, true, kind);
}

Result<std::shared_ptr<Live>> Live::open_as(const Path& folder, const RocksdbOptions& options, bool create,
                                            bool read_only, LiveKind kind) {
  std::shared_ptr<Live> live(new Live(folder, files_of(options.env)));
  auto chosen = database_options(options, create);
  chosen.listeners.push_back(std::make_shared<ThreadListener>(live->failed_));
  const auto cache = cache_of(options);
  std::vector<rocksdb::ColumnFamilyDescriptor> families{
      {rocksdb::kDefaultColumnFamilyName, data_options(options, cache)}};
  if (kind == LiveKind::hosted) families.emplace_back(own_family_name, own_options(cache));
  rocksdb::DB* database = nullptr;
  const auto status = read_only
                          ? rocksdb::DB::OpenForReadOnly(chosen, folder.string(), families, &live->families_, &database)
                          : rocksdb::DB::Open(chosen, folder.string(), families, &live->families_, &database);
  if (status.IsCorruption() || status.IsInvalidArgument() || status.IsPathNotFound() || status.IsNotFound()) {
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us,
                       fmt::format("{} is no database of this kind: {}", folder.string(), status.ToString()));
  }
  if (!status.ok()) return storage_error("opening " + folder.string(), status);
  live->is_mine_ = true;
  live->adopt(*database);
  return live;
}

std::shared_ptr<Live> Live::borrow(rocksdb::DB& database) {
  std::shared_ptr<Live> live(new Live(database.GetName(), files_of(database.GetEnv())));
  live->families_ = {database.DefaultColumnFamily()};
  live->adopt(database);
  return live;
}

void Live::adopt(rocksdb::DB& database) {
  database_ = &database;
  log_ = std::make_unique<LogReader>(database, families_.size() > 1 ? std::optional(own()->GetID()) : std::nullopt);
}

Result<void> Live::check_tables() const {
  const auto status = database_->VerifyChecksum();
  if (status.ok()) return {};
  if (!status.IsCorruption()) return storage_error("checking received tables", status);
  return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer,
                     fmt::format("a table that the source sent is damaged: {}", status.ToString()));
}

std::uint64_t Live::data_bytes() const {
  std::uint64_t tables = 0, memory = 0;
  database_->GetAggregatedIntProperty(rocksdb::DB::Properties::kLiveSstFilesSize, &tables);
  database_->GetAggregatedIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &memory);
  return tables + memory;
}

Live::~Live() {
  log_.reset();
  if (is_mine_) {
    for (auto* family : families_)
      static_cast<void>(database_->DestroyColumnFamilyHandle(family));
    static_cast<void>(database_->Close());
    delete database_;
  }
  // What cannot be removed now is when the database is opened next.
  if (remove_) static_cast<void>(disk_.remove_tree(folder_));
}

Result<void> Live::write(rocksdb::WriteBatch& batch) {
  if (has_failed()) return failed_before("writing");
  const Uncounted uncounted;
  const auto status = database_->Write({}, &batch);
  if (status.ok()) return {};
  *failed_ = true;
  return storage_error("writing", status);
}

Result<void> Live::sync_log() {
  if (has_failed()) return failed_before("syncing");
  const auto status = database_->SyncWAL();
  if (status.ok()) return {};
  *failed_ = true;
  return storage_error("syncing", status);
}

Result<std::optional<DatabaseRecord>> Live::read_record() const {
  std::array<std::string, 3> values;
  const std::array keys{database_key, role_key, position_key};
  std::array<bool, 3> found{};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto status = database_->Get({}, own(), rocksdb::Slice(keys[i].data(), keys[i].size()), &values[i]);
    if (!status.ok() && !status.IsNotFound()) return storage_error("reading the database's record", status);
    found[i] = status.ok();
  }
  if (!found[1]) return std::optional<DatabaseRecord>{};
  DatabaseRecord record;
  record.role = values[1] == "root"     ? DatabaseRole::root
                : values[1] == "mirror" ? DatabaseRole::mirror
                                        : DatabaseRole::promoted;
  if (found[0]) {
    if (auto decoded = decode_record(values[0], record); !decoded) return decoded.error();
  }
  if (found[2]) {
    auto request = message_of<core::LogRequest>(values[2]);
    if (!request) return request.error();
    record.position = request->position;
  }
  return std::optional(std::move(record));
}

void Live::put_record(rocksdb::WriteBatch& batch, const DatabaseRecord& record) const {
  const auto put = [&](std::string_view key, const std::string& value) {
    static_cast<void>(batch.Put(own(), rocksdb::Slice(key.data(), key.size()), value));
  };
  put(role_key, std::string(to_string(record.role)));
  if (record.history.empty()) return;
  put(database_key, encode_record(record));
}

void Live::put_position(rocksdb::WriteBatch& batch, const Position& position) const {
  static_cast<void>(batch.Put(own(), rocksdb::Slice(position_key.data(), position_key.size()),
                              payload_of(core::LogRequest{position, {}})));
}

}  // namespace crosslink::rocks
