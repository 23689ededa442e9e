// A hosted database's log: the tail in memory, the WAL files, what is dropped when.
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

void LogTail::begin(Lsn after) {
  after_ = after;
  records_.clear();
  bytes_ = 0;
}

void LogTail::push(LogRecord record) {
  bytes_ += record.entry.size() + sizeof record;
  records_.push_back(std::move(record));
  while (bytes_ > tail_bytes_max && records_.size() > 1) {
    bytes_ -= records_.front().entry.size() + sizeof record;
    after_ = records_.front().last;
    records_.pop_front();
  }
}

bool LogTail::read(Lsn after, std::size_t bytes_max, LogSlice& slice, std::vector<std::byte>& entries) const {
  if (after < after_) return false;
  auto record = std::ranges::upper_bound(records_, after, {}, &LogRecord::last);
  while (record != records_.end() && take_record(*record, bytes_max, slice, entries))
    ++record;
  return true;
}

}  // namespace rocks

using rocks::Live;
using rocks::WalFile;

Result<LogSlice> RocksdbDatabase::read_log(Lsn after, std::size_t bytes_max) {
  LogSlice slice{after, after, 0, nullptr, {}};
  std::vector<std::byte> entries;
  std::shared_ptr<Live> live;
  Lsn head, oldest;
  {
    const std::scoped_lock lock(impl_->mutex);
    head = impl_->head;
    oldest = impl_->oldest;
    slice.origin_lsn = impl_->origin_lsn;
    live = impl_->live;
    if (after >= oldest && after <= head && impl_->tail.read(after, bytes_max, slice, entries)) {
      slice.entries = std::make_shared<const std::vector<std::byte>>(std::move(entries));
      return slice;
    }
  }
  bool whole = after >= oldest && after <= head;
  if (whole) {
    auto read = live->log().read(after, head, [&](const rocks::LogRecord& record) {
      return rocks::take_record(record, bytes_max, slice, entries);
    });
    if (!read) return read.error();
    whole = *read;
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
    if (at == impl_->head) return impl_->last_entry == last_entry ? PositionProof::same : PositionProof::parted;
    if (at < impl_->oldest || at > impl_->head) return PositionProof::unproven;
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
  if (!*read || !before) return PositionProof::unproven;
  return *before == last_entry ? PositionProof::same : PositionProof::parted;
}

std::vector<WalFile> RocksdbDatabase::Impl::wal_files(Live& of) const {
  rocksdb::VectorLogPtr listed;
  std::vector<WalFile> files;
  if (!of.db().GetSortedWalFiles(listed).ok()) return files;
  for (const auto& one : listed) {
    if (one->StartSequence() == 0) continue;  // nothing is in it yet
    std::error_code error;
    const auto path = of.folder() / one->PathName().substr(1);
    const auto written = std::filesystem::last_write_time(path, error);
    files.push_back({one->PathName(), Lsn{one->StartSequence()}, one->SizeFileBytes(),
                     one->Type() == rocksdb::kArchivedLogFile,
                     error ? std::chrono::system_clock::now() : std::chrono::file_clock::to_sys(written)});
  }
  return files;
}

std::uint64_t RocksdbDatabase::Impl::limit_for(Lsn after) const {
  const bool pinned = std::ranges::any_of(pins, [after](const auto& pin) { return pin.second <= after; });
  return pinned ? std::max(options.log_budget_bytes, options.log_window_bytes) : options.log_window_bytes;
}

void RocksdbDatabase::Impl::trim() {
  const auto of = live_now();
  const auto files = wal_files(*of);
  std::uint64_t after = 0;  // bytes behind the file that is looked at
  for (const auto& file : files)
    after += file.bytes;
  note_files(files);
  const auto now = std::chrono::system_clock::now();
  // The last one stays: what is written next goes on from it.
  for (std::size_t i = 0; i + 1 < files.size(); ++i) {
    after -= files[i].bytes;
    const Lsn end{files[i + 1].first.value - 1};
    {
      const std::scoped_lock lock(mutex);
      const bool needed = std::ranges::any_of(pins, [end](const auto& pin) { return pin.second < end; });
      const bool passed = after >= options.log_window_bytes || now - files[i].written > options.log_window_time;
      const bool over = after >= std::max(options.log_budget_bytes, options.log_window_bytes);
      if (!files[i].archived || !passed || (needed && !over)) return;
      if (live != of) return;
      oldest = std::max(oldest, end);  // before it is gone: nobody shall begin to read it
    }
    of->log().forget_up_to(end);
    if (!of->db().DeleteFile(files[i].path).ok()) return;  // again next time
  }
}

void RocksdbDatabase::Impl::note_files(std::vector<WalFile> files) {
  const std::scoped_lock lock(mutex);
  wal = std::move(files);
  wal_head = head;
  wal_bytes_since = 0;
}

std::optional<WindowLeft> RocksdbDatabase::window_left(Lsn after) const {
  const std::scoped_lock lock(impl_->mutex);
  if (after < impl_->oldest) return std::nullopt;
  // As the files stood a second ago, and what was written since.
  double needed = 0;
  std::optional<std::chrono::milliseconds> time;
  const auto now = std::chrono::system_clock::now();
  const auto add = [&](Lsn first, Lsn end, std::uint64_t bytes) {
    if (end <= after || end < first) return false;
    const auto behind = static_cast<double>(end.value - std::max(after.value, first.value - 1));
    needed += static_cast<double>(bytes) * behind / static_cast<double>(end.value - first.value + 1);
    return true;
  };
  for (std::size_t i = 0; i < impl_->wal.size(); ++i) {
    const auto& file = impl_->wal[i];
    const auto end = i + 1 < impl_->wal.size() ? Lsn{impl_->wal[i + 1].first.value - 1} : impl_->wal_head;
    if (!add(file.first, end, file.bytes) || time) continue;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(impl_->options.log_window_time - (now - file.written));
    time = std::max(std::chrono::milliseconds(0), left);
  }
  static_cast<void>(add(Lsn{impl_->wal_head.value + 1}, impl_->head, impl_->wal_bytes_since));
  const auto limit = impl_->limit_for(after);
  return WindowLeft{limit - std::min(limit, static_cast<std::uint64_t>(needed)), time};
}

void RocksdbDatabase::pin(const std::string& holder, Lsn from) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->pins[holder] = from;
}

void RocksdbDatabase::unpin(const std::string& holder) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->pins.erase(holder);
}

Result<void> RocksdbDatabase::purge_log() {
  const std::scoped_lock writing(impl_->write_mutex);
  auto& live = *impl_->live;
  rocksdb::FlushOptions both;
  if (const auto status = live.db().Flush(both, {live.data(), live.own()}); !status.ok())
    return rocks::storage_error("dropping the log", status);
  const auto files = impl_->wal_files(live);
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->oldest = impl_->head;
    impl_->tail.begin(impl_->head);
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
