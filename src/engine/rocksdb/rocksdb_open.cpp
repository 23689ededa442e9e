// Opening and closing a hosted database, and looking after it while it is open.
#include <fmt/format.h>
#include <rocksdb/convenience.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/random_id.hpp"
#include "engine/rocksdb/rocksdb_impl.hpp"

namespace crosslink {

using rocks::DatabaseRecord;
using rocks::Live;

namespace {

// In the database's folder. `live` names the folder that is the data; `running` is there while the database is open.
constexpr const char *live_name = "live", *running_name = "running", *data_prefix = "data-";
constexpr std::string_view all_synced = " synced";  // in `running`, after the boot's name: every commit is
constexpr std::size_t small_file_bytes_max = 4096;
constexpr auto readers_waited_for = std::chrono::seconds(2);
// Of a database that is not written to: log and snapshots grow old, compactions end. A short time is kept to a tenth.
constexpr std::chrono::steady_clock::duration rest_max = std::chrono::seconds(10);

}  // namespace

RocksdbDatabase::Impl::Impl(RocksdbOptions chosen)
    : options(std::move(chosen)),
      disk(rocks::files_of(options.env)),
      snapshot_store(options.folder / "snapshots", {rocks::LiveKind::hosted, options.snapshots_max,
                                                    options.snapshot_kept, options.snapshot_budget_bytes, options}),
      partial(disk, options.folder / "partial"),
      window(options.log_window) {}

RocksdbDatabase::Impl::~Impl() {
  upkeep.reset();
  if (!live) return;
  // A clean end: what was written is on disk, and the mark that says otherwise goes.
  const bool synced = live->sync_log().ok();
  live.reset();
  if (!synced) return;
  if (disk.remove(options.folder / running_name)) static_cast<void>(disk.sync_folder(options.folder));
}

Result<std::unique_ptr<RocksdbDatabase>> RocksdbDatabase::Impl::open(RocksdbOptions options, Wanted wanted) {
  if (auto made = rocks::files_of(options.env).make_folder(options.folder); !made) return made.error();
  if (options.boot_id.empty()) options.boot_id = rocks::system_boot_id();
  if (!options.resources) {
    // No limit beside write_buffer_bytes.
    options.resources = RocksdbResources::make(
        {options.cache_bytes.value_or(rocksdb_cache_bytes), std::numeric_limits<std::uint32_t>::max(), 1});
    options.cache_bytes.reset();
  }
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto started = impl->start(wanted); !started) return started.error();
  return std::unique_ptr<RocksdbDatabase>(new RocksdbDatabase(std::move(impl)));
}

Result<void> RocksdbDatabase::Impl::start(Wanted wanted) {
  auto locked = rocks::lock_folder(options.folder);
  if (!locked) return locked.error();
  folder_lock = *std::move(locked);
  const auto pointer = disk.read(options.folder / live_name, small_file_bytes_max);
  if (!pointer) return pointer.error();
  std::string name;
  if (*pointer) {
    name = std::string(rocks::text_of(**pointer));
    // Ours, but a file all the same: it names one folder here and nothing else.
    if (!name.starts_with(data_prefix) || name.find('/') != std::string::npos)
      return MirrorError(ErrorKind::Storage, CausedBy::us, "the file `live` does not name a folder of data");
  } else {
    auto made = make_new(wanted);
    if (!made) return made.error();
    name = *std::move(made);
  }
  if (auto removed = remove_strays(name); !removed) return removed;
  // Without room it is read, and written to once there is some: see recover().
  const auto room = Live::check_room(options.folder / name, options);
  auto opened =
      room ? Live::open(options.folder / name, options, false) : Live::open_read_only(options.folder / name, options);
  if (!opened && opened.error().kind() == ErrorKind::UnsupportedOperation) {
    // Whatever it is, it was written here.
    return MirrorError(ErrorKind::Storage, CausedBy::us, opened.error().message() + "; restore it, or mirror it anew");
  }
  if (!opened) return opened.error();
  const auto found = (*opened)->read_record();
  if (!found) return found.error();
  if (!*found) return MirrorError(ErrorKind::Storage, CausedBy::us, "the database lacks its own record");
  const bool root = (*found)->role == DatabaseRole::root;
  if ((wanted == Wanted::root && !root) || (wanted == Wanted::mirror && root)) {
    return MirrorError::configuration(fmt::format("{} holds a {} database, not a {}", options.folder.string(),
                                                  to_string((*found)->role), root ? "mirror" : "root"));
  }
  if (auto taken = take_over(*std::move(opened)); !taken) return taken;
  {
    const std::scoped_lock writing(write_mutex);
    start_owed = true;
    own_owed = pointer->has_value();  // what was just made has no other life
    if (!room) {
      live->fail();
    } else if (auto finished = finish_start(); !finished) {
      return finished;
    }
  }
  if (auto adopted = snapshot_store.adopt(record.history, head); !adopted) return adopted;
  data_bytes = live->data_bytes();
  upkeep = options.resources->impl().upkeep.look_after([this] { look_after(); });
  return {};
}

Result<std::string> RocksdbDatabase::Impl::make_new(Wanted wanted) {
  if (wanted == Wanted::whatever)
    return MirrorError::configuration(fmt::format("there is no database in {}", options.folder.string()));
  auto name = data_prefix + to_string(base::random_id<SnapshotId>());
  auto made = Live::open(options.folder / name, options, true);
  if (!made) return made.error();
  DatabaseRecord first;
  first.role = DatabaseRole::mirror;
  if (wanted == Wanted::root) {
    first.role = DatabaseRole::root;
    first.origin = base::random_id<Incarnation>();
    first.history = History::beginning({first.origin, Lsn{1}, HistoryCause::created});
  }
  rocksdb::WriteBatch batch;
  (*made)->put_record(batch, first);
  static_cast<void>(batch.PutLogData(rocks::encode_note({})));
  if (auto written = (*made)->write(batch); !written) return written.error();
  if (auto synced = (*made)->sync_log(); !synced) return synced.error();
  made->reset();
  if (auto pointed = disk.replace(options.folder / live_name, rocks::bytes_of(name)); !pointed) return pointed.error();
  return name;
}

/// What a kill left between two steps of a switch.
Result<void> RocksdbDatabase::Impl::remove_strays(const std::string& live_folder) {
  const auto names = disk.list(options.folder);
  if (!names) return names.error();
  for (const auto& name : *names) {
    if (!name.starts_with(data_prefix) || name == live_folder) continue;
    if (auto removed = disk.remove_tree(options.folder / name); !removed) return removed;
  }
  if (auto loaded = partial.load(); !loaded) return loaded;
  if (!partial.partial()) return {};
  const bool not_read = !options.snapshot_files && partial.partial()->facts.format != kv_format;
  return not_read || live_folder == partial.target() ? partial.drop() : Result<void>{};
}

/// Makes an opened folder the data. With write_mutex held, or before anybody else knows of this.
Result<void> RocksdbDatabase::Impl::take_over(std::shared_ptr<Live> opened) {
  const auto found = opened->read_record();
  if (!found) return found.error();
  written_record = **found;
  const auto at = opened->head();
  written_last_entry = {};
  Lsn origin;
  auto read = opened->log().read(Lsn{at.value - 1}, at, [&](rocks::LogRecord& last) {
    written_last_entry = last.last_entry();
    origin = last.origin_lsn();
    return true;
  });
  if (!read) return read.error();
  // The file was removed from outside. The data is whole: only mirrors need the log.
  log_lost = !*read;
  auto files = rocks::list_wal_files(*opened);
  const std::scoped_lock lock(mutex);
  live = std::move(opened);
  show(written_record, at);
  last_entry = written_last_entry;
  origin_lsn = record.role == DatabaseRole::mirror && record.position ? record.position->origin_lsn : at;
  durable = record.position ? record.position->applied_lsn : Lsn{};
  window.begin(std::move(files), at);
  if (!record.history.empty()) window.raise_oldest(Lsn{record.history.records().front().first_lsn.value - 1});
  if (log_lost) window.raise_oldest(at);
  shown_partial = partial.partial();
  return {};
}

/// Once it can be written to.
Result<void> RocksdbDatabase::Impl::finish_start() {
  if (!std::exchange(start_owed, false)) return {};
  auto finished = log_lost ? begin_log_anew() : Result<void>{};
  if (finished) finished = note_running();
  // Where the newest one has no entries yet there is time until the first: a node that starts again and again and serves
  // no client does not use up the history, which is of so many incarnations.
  const bool is_used = !record.history.empty() && written_last_entry.lsn >= record.history.newest().first_lsn;
  if (finished && own_owed && is_used) finished = begin_incarnation(HistoryCause::restamp);
  start_owed = !finished.ok();
  return finished;
}

/// Every mirror bootstraps anew, or has to be told what came last.
Result<void> RocksdbDatabase::Impl::begin_log_anew() {
  return record.history.empty() ? write_record(written_record) : begin_incarnation(HistoryCause::unclean_stop);
}

/// An end that was not clean, and another boot since: what was not synced may be gone. How it was synced then counts.
Result<void> RocksdbDatabase::Impl::note_running() {
  const auto mark = disk.read(options.folder / running_name, small_file_bytes_max);
  if (!mark) return mark.error();
  auto said = *mark ? rocks::text_of(**mark) : std::string_view();
  const bool synced = said.ends_with(all_synced);
  if (synced) said.remove_suffix(all_synced.size());
  const bool rebooted = *mark && said != options.boot_id;
  const bool may_have_lost = !synced || record.role == DatabaseRole::mirror;
  if (rebooted && may_have_lost && !record.history.empty()) {
    if (auto begun = begin_incarnation(HistoryCause::unclean_stop); !begun) return begun;
  }
  auto text = options.boot_id;
  if (options.sync == RocksdbSync::always) text += all_synced;
  return disk.replace(options.folder / running_name, rocks::bytes_of(text));
}

Result<void> RocksdbDatabase::Impl::recover() {
  auto recovered = recover_now();
  note_refusal(recovered);
  return recovered;
}

void RocksdbDatabase::Impl::note_refusal(const Result<void>& outcome) {
  const bool refused = !outcome && outcome.error().kind() == ErrorKind::Storage;
  const std::scoped_lock lock(mutex);
  refusal = refused ? std::optional(outcome.error()) : std::nullopt;
}

Result<void> RocksdbDatabase::Impl::recover_now() {
  if (!live->has_failed()) return finish_recovery();
  std::shared_ptr<Live> opened;  // null: what is known of the data still holds
  if (auto anew = open_anew(opened); !anew) return anew;
  if (!opened) return finish_recovery();
  // What was not on disk is not there, and what is there is what the files say.
  const bool lost = opened->head() != newest_written();
  untold.clear();
  if (auto taken = take_over(std::move(opened)); !taken) return taken;
  record_in_doubt = false;
  if (!lost) {
    tell_of_head(head);
    return finish_recovery();
  }
  ++tails_lost;
  incarnation_owed = !record.history.empty();
  auto begun = finish_recovery();
  tell_of_history();  // also when that failed, and is tried again: LSNs come again from now on
  if (!begun) return begun;
  // The caller made its write of data that is no longer there.
  return MirrorError(
      ErrorKind::Busy, CausedBy::us,
      fmt::format("the disk lost what it had not confirmed: the database is back at LSN {}", head.value));
}

/// Opens the data for writing again, into `opened` when it may be other data than is known.
Result<void> RocksdbDatabase::Impl::open_anew(std::shared_ptr<Live>& opened) {
  const auto refuse = [this](std::string_view why) {
    return MirrorError(
        ErrorKind::Storage, CausedBy::us,
        fmt::format("{}; {}", start_owed ? "it is open for reading only" : "the disk failed before", why));
  };
  // What is in memory becomes tables when it is opened, one for each family.
  if (auto room = Live::check_room(live->folder(), options); !room) return refuse(room.error().message());
  // No reads meanwhile. Should it not open, reading goes on from what is there.
  std::unique_lock lock(mutex);
  for (const auto until = std::chrono::steady_clock::now() + readers_waited_for; live.use_count() > 1;) {
    if (std::chrono::steady_clock::now() > until) return refuse("a reader still holds what was open then");
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // a reading of the log, or a view
    lock.lock();
  }
  rocksdb::CancelAllBackgroundWork(&live->db(), true);  // no file goes while another looks at them
  auto reading = Live::open_read_only(live->folder(), options);
  if (!reading) return refuse(reading.error().message());
  live = *std::move(reading);
  auto writing = Live::open(live->folder(), options, false);
  live->fail();
  if (!writing) return refuse(writing.error().message());
  const bool other = (*writing)->head() != newest_written() || record_in_doubt;
  (other ? opened : live) = *std::move(writing);
  return {};
}

/// Precondition: write_mutex is held, so no thread writes them meanwhile.
Lsn RocksdbDatabase::Impl::newest_written() const { return untold.is_empty() ? head : untold.last_lsn; }

void RocksdbDatabase::Impl::tell_of_history() {
  const std::scoped_lock watching(watch_mutex);
  if (on_history) on_history();
}

void RocksdbDatabase::Impl::tell_of_head(Lsn at) {
  const std::scoped_lock watching(watch_mutex);
  if (on_log) on_log({at, at, 0, {}, at});
}

/// Nothing is written after a tail was lost, or after a start without room, until the history says so.
Result<void> RocksdbDatabase::Impl::finish_recovery() {
  if (start_owed) {
    const auto before = written_record.history;
    if (auto finished = finish_start(); !finished) return finished;
    if (written_record.history != before) tell_of_history();
  }
  if (!std::exchange(incarnation_owed, false)) return {};
  auto begun = begin_incarnation(HistoryCause::unclean_stop);
  incarnation_owed = !begun.ok();
  return begun;
}

bool RocksdbDatabase::Impl::is_at_rest() const {
  if (look_soon) return false;
  const auto shortest = std::min(options.log_window.time, options.snapshot_kept);
  if (std::chrono::steady_clock::now() - looked_at >
      std::min(rest_max, std::chrono::steady_clock::duration(shortest) / 10))
    return false;
  const std::scoped_lock lock(mutex);
  return head == looked_at_head && !live->has_failed();
}

void RocksdbDatabase::Impl::flush_if_idle() {
  const auto& all = *options.resources->impl().write_buffers;
  const auto at = Lsn{shown_head};
  const bool idle = at == std::exchange(synced_head, at);
  if (!idle || all.memory_usage() < all.buffer_size() / 2) return;
  const auto now = live_now();
  std::uint64_t entries = 0;
  now->db().GetAggregatedIntProperty(rocksdb::DB::Properties::kNumEntriesActiveMemTable, &entries);
  if (entries == 0 || now->has_failed() || !now->check_room_to_flush()) return;
  rocksdb::FlushOptions beside;
  beside.wait = false;
  // An error is found by the next write, as of any flush.
  static_cast<void>(now->db().Flush(beside, {now->data(), now->own()}));
}

void RocksdbDatabase::Impl::look_after() {
  if (options.sync == RocksdbSync::every_second) {
    bool wanted = false;
    {
      const std::scoped_lock writing(write_mutex);
      wanted = std::exchange(dirty, false);
    }
    // Beside the writers: RocksDB syncs what was written before.
    if (wanted && !live_now()->sync_log()) {
      const std::scoped_lock writing(write_mutex);
      dirty = true;  // again in a second; the next commit meets the error itself
    }
  }
  flush_if_idle();
  if (is_at_rest()) return;
  look_soon = false;
  looked_at = std::chrono::steady_clock::now();
  if (live_now()->has_failed()) {
    const std::scoped_lock writing(write_mutex);
    if (recover()) publish();  // else again in a second
  }
  data_bytes = live_now()->data_bytes();
  trim();
  const auto [history, oldest] = [this] {
    const std::scoped_lock lock(mutex);
    looked_at_head = head;
    return std::pair(record.history, window.oldest());
  }();
  snapshot_store.prune(history, oldest);
}

}  // namespace crosslink
