// A hosted database as a mirror: groups applied with their position, a snapshot received beside the live data.
#include <fmt/format.h>
#include <rocksdb/sst_file_writer.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "base/random_id.hpp"
#include "engine/common/stored_pairs.hpp"
#include "engine/rocksdb/rocksdb_impl.hpp"

namespace crosslink {

using rocks::Live;

namespace {

constexpr std::size_t folded_from = 16;
constexpr std::uint64_t ingested_file_bytes = 256ull * 1024 * 1024;

MirrorError promoted_error() {
  return {ErrorKind::MirrorPromoted, CausedBy::us, "this database was promoted: it follows no source"};
}
MirrorError unreadable(std::string why) { return {ErrorKind::UnsupportedOperation, CausedBy::peer, std::move(why)}; }

/// Each key's last operation, in key order, which RocksDB inserts faster. Only without ranges: they are about order.
void fold(std::vector<Operation>& operations) {
  const auto is_range = [](const Operation& one) { return one.kind == OperationKind::erase_range; };
  if (operations.size() < folded_from || std::ranges::any_of(operations, is_range)) return;
  std::vector<std::size_t> order(operations.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    const auto compared = operations[a].key.compare(operations[b].key);
    return compared < 0 || (compared == 0 && a < b);
  });
  std::vector<Operation> folded;
  folded.reserve(operations.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto& one = operations[order[i]];
    if (i + 1 == order.size() || operations[order[i + 1]].key != one.key) folded.push_back(one);
  }
  operations = std::move(folded);
}

/// Tables out of sorted pairs.
class TableWriter {
 public:
  /// `room` is asked before each table whether it may be written.
  TableWriter(Live& target, rocks::Path folder, std::function<Result<void>(std::uint64_t bytes)> room)
      : target_(&target), folder_(std::move(folder)), room_(std::move(room)) {}
  Result<void> add(const KeyValue& pair) {
    const auto slice = [](std::string_view text) { return rocksdb::Slice(text.data(), text.size()); };
    if (!writer_) {
      if (auto room = room_(ingested_file_bytes); !room) return room;
      tables_.push_back((folder_ / fmt::format("table-{}", tables_.size())).string());
      rocksdb::EnvOptions files;
      files.use_mmap_writes = false;
      writer_ =
          std::make_unique<rocksdb::SstFileWriter>(files, target_->db().GetOptions(target_->data()), target_->data());
      if (auto opened = done(writer_->Open(tables_.back())); !opened) return opened;
    }
    if (auto put = done(writer_->Put(slice(pair.key), slice(pair.value))); !put) return put;
    return writer_->FileSize() >= ingested_file_bytes ? finish() : Result<void>{};
  }
  /// Errors of all: Storage.
  Result<void> take_in() {
    if (auto finished = finish(); !finished) return finished;
    if (tables_.empty()) return {};
    rocksdb::IngestExternalFileOptions how;
    how.move_files = true;
    return done(target_->db().IngestExternalFile(target_->data(), tables_, how));
  }

 private:
  static Result<void> done(const rocksdb::Status& status) {
    if (!status.ok()) return rocks::storage_error("writing a table", status);
    return {};
  }
  Result<void> finish() {
    if (!writer_) return {};
    const auto status = writer_->Finish();
    writer_.reset();
    return done(status);
  }
  Live* target_;
  rocks::Path folder_;
  std::function<Result<void>(std::uint64_t bytes)> room_;
  std::vector<std::string> tables_;
  std::unique_ptr<rocksdb::SstFileWriter> writer_;
};

}  // namespace

EngineTraits RocksdbDatabase::traits() const {
  if (!impl_->options.snapshot_files) return {"rocksdb", true, true, {std::string(kv_format)}};
  // Files as they are first, in the compression that this database would write itself; any other is read as well.
  std::vector<std::string> formats{rocks::checkpoint_format(impl_->options.compression)};
  for (const auto other : {RocksdbCompression::none, RocksdbCompression::lz4, RocksdbCompression::zstd}) {
    if (other != impl_->options.compression) formats.push_back(rocks::checkpoint_format(other));
  }
  formats.push_back(rocks::checkpoint_format("snappy"));  // RocksDB's own default, of databases that callers own
  formats.emplace_back(kv_format);
  return {"rocksdb", true, true, std::move(formats)};
}

MirrorState RocksdbDatabase::mirror_state() const {
  const std::scoped_lock lock(impl_->mutex);
  const auto& record = impl_->record;
  return {record.role, record.position, impl_->durable, impl_->shown_partial, record.promoted_from};
}

Result<void> RocksdbDatabase::apply(const ApplyGroup& group) {
  const std::scoped_lock writing(impl_->write_mutex);
  auto& record = impl_->written_record;
  if (record.role != DatabaseRole::mirror) return promoted_error();
  if (!record.position) return MirrorError::configuration("there is no data yet to apply entries to");
  std::vector<Operation> operations;
  std::uint64_t commit_time_us = 0;
  for (auto entries : group.entries) {
    while (!entries.empty()) {
      const auto entry = read_entry(entries);
      if (!entry) return entry.error();
      commit_time_us = entry->commit_time_us();
      entry->for_each([&](const Operation& operation) { operations.push_back(operation); });
    }
  }
  fold(operations);
  if (!operations.empty()) {
    if (auto begun = impl_->begin_own_incarnation(); !begun) return begun;
  }
  rocks::LoggedOperations logged;
  impl_->close_ranges(operations, logged);
  rocksdb::WriteBatch batch;
  impl_->add_operations(batch, logged.all);
  impl_->live->put_position(batch, group.position);
  auto written = impl_->write(batch, logged.all, commit_time_us, group.position.origin_lsn);
  if (!written) return written;
  record.position = group.position;
  impl_->publish();
  return {};
}

Result<void> RocksdbDatabase::step_back(Lsn from) {
  const std::scoped_lock writing(impl_->write_mutex);
  auto next = impl_->written_record;
  if (next.role != DatabaseRole::mirror) return promoted_error();
  if (!next.position) return MirrorError::configuration("there is no position to step back from");
  if (next.position->origin_lsn == next.position->applied_lsn) next.position->origin_lsn = from;  // a direct mirror
  next.position->applied_lsn = from;
  if (auto written = impl_->write_record(next); !written) return written;
  const std::scoped_lock lock(impl_->mutex);
  impl_->durable = from;
  return {};
}

Result<Lsn> RocksdbDatabase::sync() {
  if (impl_->live_now()->has_failed()) {
    const std::scoped_lock writing(impl_->write_mutex);
    if (auto recovered = impl_->recover(); !recovered) return recovered.error();
    impl_->publish();
  }
  std::shared_ptr<Live> live;
  Lsn reached;
  {
    const std::scoped_lock lock(impl_->mutex);
    live = impl_->live;
    reached = impl_->record.position ? impl_->record.position->applied_lsn : impl_->head;
  }
  if (auto synced = live->sync_log(); !synced) return synced.error();
  const std::scoped_lock lock(impl_->mutex);
  if (impl_->record.position) impl_->durable = reached;
  return reached;
}

// --- snapshots

Result<void> RocksdbDatabase::begin_snapshot(const SnapshotFacts& facts) {
  const std::scoped_lock writing(impl_->write_mutex);
  if (impl_->written_record.role != DatabaseRole::mirror) return promoted_error();
  const auto formats = traits().formats;
  if (std::ranges::find(formats, facts.format) == formats.end())
    return unreadable(fmt::format("this database does not read snapshots as {}", escape(facts.format)));
  // What was received of another goes.
  const auto& before = impl_->partial.partial();
  const auto total = facts.total_bytes.value_or(0);
  const auto more = total - std::min(total, before ? before->bytes() : 0);
  if (auto room = impl_->need_for_received(more); !room) return room;
  const auto begun = impl_->partial.begin(facts);
  const std::scoped_lock lock(impl_->mutex);
  impl_->shown_partial = impl_->partial.partial();
  return begun;
}

Result<void> RocksdbDatabase::store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) {
  // One caller at a time; commits there are none, and applies wait for nothing of this.
  if (auto room = impl_->need_for_received(bytes.size()); !room) return room;
  if (auto stored = impl_->partial.store(chunk, bytes); !stored) return stored;
  const std::scoped_lock lock(impl_->mutex);
  impl_->shown_partial->chunks.push_back(chunk);
  return {};
}

Result<SnapshotCheck> RocksdbDatabase::check_snapshot() {
  auto checked = impl_->partial.check();
  const std::scoped_lock lock(impl_->mutex);
  impl_->shown_partial = impl_->partial.partial();
  return checked;
}

Result<void> RocksdbDatabase::drop_snapshot() {
  auto dropped = impl_->partial.drop();
  const std::scoped_lock lock(impl_->mutex);
  impl_->shown_partial = impl_->partial.partial();
  return dropped;
}

Result<void> RocksdbDatabase::Impl::need_for_received(std::uint64_t bytes) const {
  if (bytes > std::numeric_limits<std::uint64_t>::max() - options.min_free_bytes)
    return unreadable("the snapshot is larger than any disk");
  return base::Space(disk, options.folder, options.min_free_bytes).need(bytes, "receiving a snapshot");
}

/// Sorted pairs become tables at once, without passing through memory and log.
Result<void> RocksdbDatabase::Impl::ingest_stream(Live& target) {
  const auto bytes = partial.partial()->bytes();
  rocks::ReadFile stream;
  if (bytes > 0) {
    auto opened = disk.open_to_read(partial.stream());
    if (!opened) return opened.error();
    stream = *std::move(opened);
  }
  engine::StoredPairs pairs(std::move(stream), bytes);
  TableWriter tables(target, options.folder / "partial",
                     [this, bytes](std::uint64_t table) { return need_for_received(std::min(table, bytes)); });
  for (;;) {
    const auto pair = pairs.next();
    if (!pair) return pair.error();
    if (!*pair) return tables.take_in();
    if (auto added = tables.add(**pair); !added) return added;
  }
}

Result<std::shared_ptr<Live>> RocksdbDatabase::Impl::build_received(const rocks::Path& target) {
  const bool kv = partial.partial()->facts.format == kv_format;
  if (kv) {
    if (auto removed = disk.remove_tree(target); !removed) return removed.error();
  } else if (auto laid_out = partial.lay_out(target); !laid_out) {
    return laid_out.error();
  }
  auto opened = Live::open(target, options, kv);
  if (!opened) return opened.error();
  // Chunks are whole as the source sent them; what it sent may be from a disk of its own that is going bad.
  auto good = kv ? ingest_stream(**opened) : (*opened)->check_tables();
  if (!good) return good.error();
  return opened;
}

Result<void> RocksdbDatabase::switch_snapshot() {
  auto switched = impl_->switch_received();
  // They are of another history, and not opened any more.
  if (switched) impl_->snapshot_store.clear();
  return switched;
}

Result<void> RocksdbDatabase::Impl::point_at_live() {
  if (!pointer_in_doubt) return {};
  const auto name = live->folder().filename().string();
  if (auto pointed = disk.replace(options.folder / "live", rocks::bytes_of(name)); !pointed) return pointed;
  pointer_in_doubt = false;
  return {};
}

Result<void> RocksdbDatabase::Impl::switch_received() {
  const std::scoped_lock writing(write_mutex);
  if (written_record.role != DatabaseRole::mirror) return promoted_error();
  if (!partial.partial()) return MirrorError::configuration("there is no snapshot to switch in");
  const auto facts = partial.partial()->facts;
  const auto name = partial.target();
  const auto target = options.folder / name;
  const auto fail = [&](MirrorError error) {
    static_cast<void>(disk.remove_tree(target));  // else when the database is opened next
    return error;
  };
  if (live->folder() == target) return partial.drop();
  // Until then the target may be what the next start opens.
  if (auto pointed = point_at_live(); !pointed) return pointed;
  auto received = build_received(target);
  if (!received) return fail(received.error());
  // Everything of the record is our own: nothing of what a source's may have said stays.
  rocks::DatabaseRecord fresh;
  fresh.role = DatabaseRole::mirror;
  fresh.origin = facts.origin;
  fresh.position = Position{facts.origin, facts.incarnation, facts.last_entry, facts.snapshot_lsn, facts.origin_lsn};
  const auto write = [&](auto put) {
    rocksdb::WriteBatch batch;
    put(batch);
    static_cast<void>(batch.PutLogData(rocks::encode_note({0, {}, facts.origin_lsn})));
    return (*received)->write(batch);
  };
  auto written = write([&](rocksdb::WriteBatch& batch) { (*received)->put_position(batch, *fresh.position); });
  if (written) {
    // Its LSNs are those of the received data, and may be lower than they were: the incarnation tells them apart. They begin
    // above 0, since the log alone does not hold the data.
    const auto first = Lsn{(*received)->head().value + 1};
    fresh.history = History::beginning({base::random_id<Incarnation>(), first, HistoryCause::bootstrap});
    written = write([&](rocksdb::WriteBatch& batch) { (*received)->put_record(batch, fresh); });
  }
  if (written) written = (*received)->sync_log();
  if (!written) {
    received->reset();
    return fail(written.error());
  }
  // The one step: before it the old data is the database, after it the new.
  if (auto pointed = disk.replace(options.folder / "live", rocks::bytes_of(name)); !pointed) {
    pointer_in_doubt = true;  // it may have been renamed, and that not be on disk
    static_cast<void>(point_at_live());
    return pointed;
  }
  const auto old = live;
  auto dropped = partial.drop();
  if (auto taken = take_over(*std::move(received)); !taken) return taken;
  own_owed = false;
  old->remove_when_closed();
  tell_of_history();
  tell_of_head(live->head());
  return dropped;
}

Result<PromotedFrom> RocksdbDatabase::promote(const std::string& source_cluster, const std::string& source_database) {
  const std::scoped_lock writing(impl_->write_mutex);
  auto next = impl_->written_record;
  if (next.promoted_from) return *next.promoted_from;
  if (next.role != DatabaseRole::mirror || !next.position)
    return MirrorError::configuration("there is no mirrored data to promote");
  next.role = DatabaseRole::promoted;
  next.promoted_from = PromotedFrom{source_cluster, source_database, *next.position};
  if (auto written = impl_->write_record(next); !written) return written.error();
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->durable = next.position->applied_lsn;
    impl_->shown_partial.reset();
  }
  if (auto dropped = impl_->partial.drop(); !dropped) return dropped.error();
  return *next.promoted_from;
}

}  // namespace crosslink
