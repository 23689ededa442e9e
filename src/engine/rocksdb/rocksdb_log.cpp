// A hosted database's log: read from the WAL files, and dropped there.
#include <algorithm>
#include <utility>

#include "engine/rocksdb/rocksdb_impl.hpp"

namespace crosslink {

namespace rocks {

bool take_record(const LogRecord& record, std::size_t bytes_max, LogSlice& slice, std::vector<std::byte>& entries) {
  if (!record.entry.empty()) {
    if (slice.count > 0 && entries.size() + record.entry.size() > bytes_max) return false;
    entries.insert(entries.end(), record.entry.begin(), record.entry.end());
    ++slice.count;
  }
  slice.last_lsn = record.last;
  slice.origin_lsn = record.origin_lsn();
  return true;
}

}  // namespace rocks

using rocks::Live;

Result<LogSlice> RocksdbDatabase::read_log(Lsn after, std::size_t bytes_max) {
  LogSlice slice{after, after, 0, nullptr, {}};
  std::vector<std::byte> entries;
  std::shared_ptr<Live> live;
  Lsn head, oldest;
  {
    const std::scoped_lock lock(impl_->mutex);
    head = impl_->head;
    oldest = impl_->window.oldest();
    slice.origin_lsn = impl_->origin_lsn;
    live = impl_->live;
  }
  bool whole = after >= oldest && after <= head;
  if (whole) {
    auto read = live->log().read(after, head, [&](const rocks::LogRecord& record) {
      return rocks::take_record(record, bytes_max, slice, entries);
    });
    // What comes before an end or a gap is given first; the next reading meets it.
    const bool some = slice.last_lsn > after;
    if (!read && !some) return read.error();
    whole = some || *read;
  }
  if (!whole) {
    return MirrorError(ErrorKind::LogWindowExceeded, CausedBy::us, "the log after this LSN is no longer held",
                       LogWindow{oldest, head});
  }
  slice.entries = std::make_shared<const std::vector<std::byte>>(std::move(entries));
  return slice;
}

Result<PositionProof> RocksdbDatabase::prove(const EntryId& last_entry, Lsn at) {
  std::shared_ptr<Live> live;
  Lsn head;
  {
    const std::scoped_lock lock(impl_->mutex);
    if (at == impl_->head) return impl_->last_entry == last_entry ? PositionProof::same : PositionProof::diverged;
    if (at < impl_->window.oldest() || at > impl_->head) return PositionProof::unverified;
    live = impl_->live;
    head = impl_->head;
  }
  // Each record says which entry came before it.
  std::optional<EntryId> before;
  auto read = live->log().read(at, head, [&](const rocks::LogRecord& record) {
    if (before) return false;
    if (record.note) before = record.note->previous;
    return record.note.has_value();
  });
  if (!read) return read.error();
  if (!*read || !before) return PositionProof::unverified;
  return *before == last_entry ? PositionProof::same : PositionProof::diverged;
}

void RocksdbDatabase::Impl::trim() {
  const auto of = live_now();
  window.trim(*of, mutex, [&] { return live == of; }, [&] { return head; });
  const auto jump = [this] {
    const std::scoped_lock lock(mutex);
    return window.take_jump();
  }();
  if (jump && options.on_warning) options.on_warning(rocks::to_warning(*jump));
}

std::optional<WindowLeft> RocksdbDatabase::window_left(Lsn after) const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->window.left(after, impl_->head);
}

std::uint64_t RocksdbDatabase::log_bytes() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->window.bytes();
}

void RocksdbDatabase::pin(const std::string& holder, Lsn from) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->window.pin(holder, from);
}

void RocksdbDatabase::unpin(const std::string& holder) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->window.unpin(holder);
  impl_->look_soon = true;
}

Result<void> RocksdbDatabase::purge_log() {
  const std::scoped_lock writing(impl_->write_mutex);
  auto& live = *impl_->live;
  if (auto room = live.check_room_to_flush(); !room) return room;
  rocksdb::FlushOptions both;
  if (const auto status = live.db().Flush(both, {live.data(), live.own()}); !status.ok())
    return rocks::storage_error("dropping the log", status);
  const auto files = rocks::list_wal_files(live);
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->window.raise_oldest(impl_->head);
  }
  for (const auto& file : files) {
    if (!file.archived) continue;
    if (const auto status = live.db().DeleteFile(file.path); !status.ok())
      return rocks::storage_error("dropping the log", status);
  }
  // A record from which a restart can tell what came last.
  return impl_->write_record(impl_->written_record);
}

}  // namespace crosslink
