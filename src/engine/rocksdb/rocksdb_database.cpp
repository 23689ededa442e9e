// A hosted database as its users and its mirrors see it: commits, reads, snapshots, views.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/random_id.hpp"
#include "engine/rocksdb/rocksdb_impl.hpp"
#include "engine/rocksdb/snapshot_view.hpp"

namespace crosslink {

using rocks::Live;

namespace {
/// A batch's header and note, and some room: where it has to grow it is copied.
constexpr std::size_t batch_bytes_beside_entry = 256;
}  // namespace

RocksdbDatabase::RocksdbDatabase(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RocksdbDatabase::~RocksdbDatabase() = default;

Result<std::unique_ptr<RocksdbDatabase>> RocksdbDatabase::open_root(RocksdbOptions options) {
  return Impl::open(std::move(options), Impl::Wanted::root);
}
Result<std::unique_ptr<RocksdbDatabase>> RocksdbDatabase::open_mirror(RocksdbOptions options) {
  return Impl::open(std::move(options), Impl::Wanted::mirror);
}
Result<std::unique_ptr<RocksdbDatabase>> RocksdbDatabase::open(RocksdbOptions options) {
  return Impl::open(std::move(options), Impl::Wanted::whatever);
}

// --- writing, with write_mutex held

void rocks::UntoldLog::clear() {
  constexpr std::size_t room_kept_max = 1024 * 1024;
  last_lsn = origin_lsn = {};
  count = 0;
  if (entries.capacity() > room_kept_max) entries = {};
  entries.clear();
}

Result<void> RocksdbDatabase::Impl::write(rocksdb::WriteBatch& batch, std::span<const Operation> operations,
                                          std::uint64_t commit_time_us, Lsn of_root) {
  static_cast<void>(batch.PutLogData(rocks::encode_note({commit_time_us, written_last_entry, of_root})));
  if (auto recovered = recover(); !recovered) return recovered;
  if (auto pointed = point_at_live(); !pointed) return pointed;
  if (auto written = live->write(batch); !written) {
    note_refusal(written);
    return written;
  }
  batch = rocksdb::WriteBatch();  // as large as the entry, which is encoded next
  dirty = true;
  untold.last_lsn = live->head();
  untold.origin_lsn = of_root > Lsn{} ? of_root : untold.last_lsn;
  if (operations.empty()) return {};
  // As read_batch() makes it of the log: a reader of the log must find the same.
  const auto at = untold.entries.size();
  encode_entry(untold.entries, untold.last_lsn, commit_time_us, operations);
  ++untold.count;
  written_last_entry = {untold.last_lsn, entry_hash(std::span(untold.entries).subspan(at))};
  return {};
}

void RocksdbDatabase::Impl::publish() {
  if (untold.is_empty()) return;
  CommittedLog log{{}, untold.last_lsn, untold.count, untold.entries, untold.origin_lsn};
  {
    const std::scoped_lock lock(mutex);
    log.prev_lsn = head;
    show(written_record, log.last_lsn);
    last_entry = written_last_entry;
    origin_lsn = log.origin_lsn;
    window.wrote(log.entries.size());
  }
  {
    const std::scoped_lock lock(watch_mutex);
    if (on_log) on_log(log);
  }
  untold.clear();
}

Result<void> RocksdbDatabase::Impl::write_record(const rocks::DatabaseRecord& next) {
  rocksdb::WriteBatch batch;
  live->put_record(batch, next);
  if (next.position) live->put_position(batch, *next.position);
  const auto of_root = next.role == DatabaseRole::mirror && next.position ? next.position->origin_lsn : Lsn{};
  if (auto written = write(batch, {}, 0, of_root); !written) return written;
  // No caller may act on a role or a history that may be gone after a power cut.
  if (auto synced = live->sync_log(); !synced) {
    record_in_doubt = true;
    return synced;
  }
  written_record = next;
  publish();
  return {};
}

Result<void> RocksdbDatabase::Impl::begin_incarnation(HistoryCause cause) {
  auto next = written_record;
  const HistoryRecord begun{base::random_id<Incarnation>(), Lsn{live->head().value + 1}, cause};
  // Versions up to 2026-11-30 let the history of a mirror that was copied anew begin where its old numbers ended, which may
  // be above its head. Nothing is known by such a history.
  const bool above = !next.history.empty() && next.history.newest().first_lsn > begun.first_lsn;
  if (above) {
    next.history = History::beginning(begun);
  } else {
    next.history.append(begun);
  }
  if (auto written = write_record(next); !written) return written;
  own_owed = false;
  return {};
}

Result<void> RocksdbDatabase::Impl::begin_own_incarnation() {
  if (!own_owed) return {};
  // It may begin one itself.
  if (auto recovered = recover(); !recovered || !own_owed) return recovered;
  if (auto begun = begin_incarnation(HistoryCause::restamp); !begun) return begun;
  tell_of_history();
  return {};
}

void RocksdbDatabase::Impl::close_ranges(std::span<const Operation> operations, rocks::LoggedOperations& logged) const {
  const auto is_open = [](const Operation& one) { return one.kind == OperationKind::erase_range && !one.end; };
  logged.all = operations;
  if (std::ranges::none_of(operations, is_open)) return;
  const std::unique_ptr<rocksdb::Iterator> keys(live->db().NewIterator({}, live->data()));
  keys->SeekToLast();
  auto last = keys->Valid() ? keys->key().ToString() : std::string();
  logged.own.assign(operations.begin(), operations.end());
  for (auto& operation : logged.own) {
    if (operation.kind == OperationKind::put && operation.key > last) last = operation.key;
    if (!is_open(operation)) continue;
    auto& end = logged.ends.emplace_back(std::max(last, std::string(operation.key)));
    end.push_back('\0');
    operation.end = end;
  }
  logged.all = logged.own;
}

void RocksdbDatabase::Impl::add_operations(rocksdb::WriteBatch& batch, std::span<const Operation> operations) const {
  const auto slice = [](std::string_view text) { return rocksdb::Slice(text.data(), text.size()); };
  for (const auto& operation : operations) {
    switch (operation.kind) {
      case OperationKind::put:
        static_cast<void>(batch.Put(live->data(), slice(operation.key), slice(operation.value)));
        break;
      case OperationKind::erase: static_cast<void>(batch.Delete(live->data(), slice(operation.key))); break;
      case OperationKind::erase_range:
        static_cast<void>(batch.DeleteRange(live->data(), slice(operation.key), slice(*operation.end)));
    }
  }
}

// --- group commit

Result<RocksdbCommit> RocksdbDatabase::Impl::commit_one(const Request& request) {
  if (written_record.role == DatabaseRole::mirror)
    return MirrorError::configuration("a mirror takes no writes until it is promoted");
  if (auto begun = begin_own_incarnation(); !begun) return begun.error();
  rocks::LoggedOperations logged;
  close_ranges(request.operations, logged);
  rocksdb::WriteBatch batch(request.entry_bytes + batch_bytes_beside_entry);
  add_operations(batch, logged.all);
  if (auto written = write(batch, logged.all, request.commit_time_us, {}); !written) return written.error();
  return RocksdbCommit{written_record.history.newest().incarnation, untold.last_lsn};
}

/// One after another, each a record of its own; synced together.
void RocksdbDatabase::Impl::commit_group(std::vector<Request*>& group) {
  const std::scoped_lock writing(write_mutex);
  for (auto* request : group) {
    const auto lost_before = tails_lost;
    request->result = commit_one(*request);
    if (tails_lost == lost_before) continue;
    for (auto* earlier : group) {
      if (earlier == request) break;
      if (earlier->result->ok())
        earlier->result =
            MirrorError(ErrorKind::OutcomeUnknown, CausedBy::us, "the disk lost what came before a failure");
    }
  }
  if (options.sync == RocksdbSync::always && !untold.is_empty()) {
    const auto synced = live->sync_log();
    for (auto* request : group) {
      if (!synced && request->result->ok())
        request->result = MirrorError(ErrorKind::OutcomeUnknown, CausedBy::us, synced.error().message());
    }
    if (!synced) return;  // recover() finds out what became of it
  }
  publish();
}

Result<Lsn> RocksdbDatabase::commit(std::span<const Operation> operations, std::uint64_t commit_time_us) {
  const auto committed = commit_in(operations, commit_time_us);
  return committed ? Result<Lsn>(committed->lsn) : committed.error();
}

Result<RocksdbCommit> RocksdbDatabase::commit_in(std::span<const Operation> operations, std::uint64_t commit_time_us) {
  if (operations.empty()) return MirrorError::configuration("a commit needs an operation");
  for (const auto& operation : operations) {
    if (operation.kind == OperationKind::erase_range && operation.end && operation.key >= *operation.end)
      return MirrorError::configuration("a range must begin before it ends");
    if (operation.lease)
      return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us, "this engine keeps no leases");
  }
  const auto entry_bytes = encoded_entry_bytes(Lsn{1}, operations);
  if (entry_bytes > impl_->options.entry_bytes_max)
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us, "this commit is larger than an entry may be");
  Impl::Request request{operations, commit_time_us, entry_bytes, std::nullopt};
  std::unique_lock lock(impl_->queue_mutex);
  impl_->queue.push_back(&request);
  // Who comes first writes for all who came meanwhile.
  impl_->queue_changed.wait(lock,
                            [&] { return request.result || (!impl_->leading && impl_->queue.front() == &request); });
  if (request.result) return *std::move(request.result);
  impl_->leading = true;
  std::vector<Impl::Request*> group(impl_->queue.begin(), impl_->queue.end());
  impl_->queue.clear();
  lock.unlock();
  impl_->commit_group(group);
  lock.lock();
  impl_->leading = false;
  lock.unlock();
  impl_->queue_changed.notify_all();
  return *std::move(request.result);
}

// --- reading

Result<std::optional<std::string>> RocksdbDatabase::get(std::string_view key) const {
  const auto live = impl_->live_now();
  const rocks::Uncounted uncounted;
  std::string value;
  const auto status = live->db().Get({}, live->data(), rocksdb::Slice(key.data(), key.size()), &value);
  if (status.IsNotFound()) return std::optional<std::string>{};
  if (!status.ok()) return rocks::storage_error("reading", status);
  return std::optional(std::move(value));
}

Result<std::shared_ptr<const DataView>> RocksdbDatabase::view() {
  return std::shared_ptr<const DataView>(std::make_shared<const rocks::SnapshotView>(impl_->live_now()));
}

// --- source

SourceState RocksdbDatabase::source_state() const {
  const std::scoped_lock lock(impl_->mutex);
  const auto& record = impl_->record;
  return {record.role,       record.origin,        record.history,          impl_->head, impl_->window.oldest(),
          impl_->origin_lsn, record.promoted_from, impl_->data_bytes.load()};
}

DatabaseRole RocksdbDatabase::role() const { return impl_->shown_role; }
Lsn RocksdbDatabase::head() const { return Lsn{impl_->shown_head}; }

std::optional<MirrorError> RocksdbDatabase::writes_refused() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->refusal;
}

std::string RocksdbDatabase::detail() const {
  const auto refused = writes_refused();
  const bool is_mirror = role() == DatabaseRole::mirror;  // whose reason says it
  return refused && !is_mirror ? fmt::format("it takes no writes: {}", refused->message()) : std::string();
}

void RocksdbDatabase::watch_log(std::function<void(const CommittedLog& log)> on_log) {
  const std::scoped_lock lock(impl_->watch_mutex);
  impl_->on_log = std::move(on_log);
}

void RocksdbDatabase::watch_history(std::function<void()> on_change) {
  const std::scoped_lock lock(impl_->watch_mutex);
  impl_->on_history = std::move(on_change);
}

Result<SnapshotFacts> RocksdbDatabase::Impl::describe(Live& of, Live& checkpoint) {
  const auto found = checkpoint.read_record();
  if (!found) return found.error();
  if (!*found || (*found)->history.empty())
    return MirrorError(ErrorKind::Storage, CausedBy::us, "a checkpoint lacks the database's own record");
  SnapshotFacts facts;
  facts.snapshot_lsn = checkpoint.head();
  facts.origin = (*found)->origin;
  facts.incarnation = (*found)->history.newest().incarnation;
  // The record that the checkpoint ends with, also one that is written and not published yet.
  std::optional<EntryId> last;
  auto read = of.log().read(Lsn{facts.snapshot_lsn.value - 1}, facts.snapshot_lsn, [&](const rocks::LogRecord& logged) {
    last = logged.last_entry();
    facts.origin_lsn = logged.origin_lsn();
    return true;
  });
  if (!read) return read.error();
  if (!*read || !last)
    return MirrorError(ErrorKind::Storage, CausedBy::us, "the log passed a checkpoint while it was made");
  facts.last_entry = *last;
  return facts;
}

Result<std::shared_ptr<SnapshotReader>> RocksdbDatabase::open_snapshot(std::span<const std::string> formats,
                                                                       const std::optional<SnapshotId>& wanted) {
  std::shared_ptr<Live> live;
  Lsn head, oldest;
  History history;
  {
    const std::scoped_lock lock(impl_->mutex);
    if (impl_->record.history.empty())
      return MirrorError(ErrorKind::Busy, CausedBy::us, "this database has no data yet; retry later");
    live = impl_->live;
    head = impl_->head;
    oldest = impl_->window.oldest();
    history = impl_->record.history;
  }
  auto describe = [&live](Live& checkpoint) { return Impl::describe(*live, checkpoint); };
  const auto own_format = rocks::checkpoint_format(impl_->options.compression);
  return impl_->snapshot_store.open({*live, own_format, head, oldest, history, describe}, formats, wanted);
}

Result<void> RocksdbDatabase::restamp() {
  const std::scoped_lock writing(impl_->write_mutex);
  if (impl_->written_record.role == DatabaseRole::mirror)
    return MirrorError::configuration("a mirror takes its history from its source");
  if (auto recovered = impl_->recover(); !recovered) return recovered;  // which may begin one itself
  return impl_->begin_incarnation(HistoryCause::restamp);
}

}  // namespace crosslink
