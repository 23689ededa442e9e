// A hosted database as its users and its mirrors see it: commits, reads, snapshots, views.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/random_id.hpp"
#include "engine/rocksdb/rocksdb_impl.hpp"
#include "engine/rocksdb/snapshot_view.hpp"

namespace crosslink {

using rocks::Live;

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

Result<void> RocksdbDatabase::Impl::write(rocksdb::WriteBatch& batch, std::uint64_t commit_time_us, Lsn of_root) {
  static_cast<void>(batch.PutLogData(rocks::encode_note({commit_time_us, written_last_entry, of_root})));
  if (auto recovered = recover(); !recovered) return recovered;
  if (auto pointed = point_at_live(); !pointed) return pointed;
  if (auto written = live->write(batch); !written) {
    note_refusal(written);
    return written;
  }
  dirty = true;
  const auto last = live->head();
  auto logged = rocks::read_batch(batch, Lsn{last.value - batch.Count() + 1}, live->own()->GetID());
  if (!logged) return logged.error();
  written_last_entry = logged->last_entry();
  unpublished.push_back(*std::move(logged));
  return {};
}

void RocksdbDatabase::Impl::publish() {
  if (unpublished.empty()) return;
  Lsn reached;
  {
    const std::scoped_lock lock(mutex);
    reached = unpublished.back().last;
    show(written_record, reached);
    last_entry = written_last_entry;
    origin_lsn = unpublished.back().origin_lsn();
    for (auto& logged : unpublished) {
      window.wrote(logged.entry.size());
      tail.push(std::move(logged));
    }
  }
  unpublished.clear();
  const std::scoped_lock lock(watch_mutex);
  if (on_head) on_head(reached);
}

Result<void> RocksdbDatabase::Impl::write_record(const rocks::DatabaseRecord& next) {
  rocksdb::WriteBatch batch;
  live->put_record(batch, next);
  if (next.position) live->put_position(batch, *next.position);
  const auto of_root = next.role == DatabaseRole::mirror && next.position ? next.position->origin_lsn : Lsn{};
  if (auto written = write(batch, 0, of_root); !written) return written;
  // Nobody acts on a role or a history that may be gone after a power cut.
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
  next.history.append({engine::random_id<Incarnation>(), Lsn{live->head().value + 1}, cause});
  return write_record(next);
}

/// A range without an end ends behind the last key there is, here and in the batch: RocksDB has no other way to say it.
void RocksdbDatabase::Impl::add_operations(rocksdb::WriteBatch& batch, std::span<const Operation> operations) const {
  const auto slice = [](std::string_view text) { return rocksdb::Slice(text.data(), text.size()); };
  std::string last_in_batch;
  for (const auto& operation : operations) {
    switch (operation.kind) {
      case OperationKind::put:
        static_cast<void>(batch.Put(live->data(), slice(operation.key), slice(operation.value)));
        if (operation.key > last_in_batch) last_in_batch = operation.key;
        break;
      case OperationKind::erase: static_cast<void>(batch.Delete(live->data(), slice(operation.key))); break;
      case OperationKind::erase_range: {
        std::string end;
        if (operation.end) {
          end = *operation.end;
        } else {
          const std::unique_ptr<rocksdb::Iterator> keys(live->db().NewIterator({}, live->data()));
          keys->SeekToLast();
          end = keys->Valid() ? keys->key().ToString() : std::string();
          end = std::max({end, last_in_batch, std::string(operation.key)});
          end.push_back('\0');
        }
        static_cast<void>(batch.DeleteRange(live->data(), slice(operation.key), end));
      }
    }
  }
}

// --- group commit

Result<RocksdbCommit> RocksdbDatabase::Impl::commit_one(const Request& request) {
  if (written_record.role == DatabaseRole::mirror)
    return MirrorError::configuration("a mirror takes no writes until it is promoted");
  rocksdb::WriteBatch batch;
  add_operations(batch, request.operations);
  if (auto written = write(batch, request.commit_time_us, {}); !written) return written.error();
  return RocksdbCommit{written_record.history.newest().incarnation, unpublished.back().last};
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
  if (options.sync == RocksdbSync::always && !unpublished.empty()) {
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
  if (encoded_entry_bytes(Lsn{1}, operations) > impl_->options.entry_bytes_max)
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us, "this commit is larger than an entry may be");
  Impl::Request request{operations, commit_time_us, std::nullopt};
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

std::optional<MirrorError> RocksdbDatabase::writes_refused() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->refusal;
  const rocks::Uncounted uncounted;
}

std::string RocksdbDatabase::remark() const {
  const auto refused = writes_refused();
  const bool is_mirror = role() == DatabaseRole::mirror;  // whose reason says it
  return refused && !is_mirror ? fmt::format("it takes no writes: {}", refused->message()) : std::string();
}

void RocksdbDatabase::watch_head(std::function<void(Lsn head)> on_head) {
  const std::scoped_lock lock(impl_->watch_mutex);
  impl_->on_head = std::move(on_head);
}

void RocksdbDatabase::watch_history(std::function<void()> on_change) {
  const std::scoped_lock lock(impl_->watch_mutex);
  impl_->on_history = std::move(on_change);
}

Result<SnapshotFacts> RocksdbDatabase::Impl::describe(Live& of, Live& checkpoint) {
  const auto found = checkpoint.read_record();
DatabaseRole RocksdbDatabase::role() const { return impl_->shown_role; }
Lsn RocksdbDatabase::head() const { return Lsn{impl_->shown_head}; }

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
  return impl_->shelf.open({*live, own_format, head, oldest, history, describe}, formats, wanted);
}

Result<void> RocksdbDatabase::restamp() {
  const std::scoped_lock writing(impl_->write_mutex);
  if (impl_->written_record.role == DatabaseRole::mirror)
    return MirrorError::configuration("a mirror takes its history from its source");
  return impl_->begin_incarnation(HistoryCause::restamp);
}

}  // namespace crosslink
