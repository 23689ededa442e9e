// A caller's own RocksDB as a source. Its log has no notes of ours: what came last is read from the log itself.
#include "crosslink/rocksdb_source.hpp"

#include <fmt/format.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/random_id.hpp"
#include "engine/rocksdb/files.hpp"
#include "engine/rocksdb/live.hpp"
#include "engine/rocksdb/log_window.hpp"
#include "engine/rocksdb/rocksdb_impl.hpp"
#include "engine/rocksdb/shelf.hpp"
#include "engine/rocksdb/snapshot_view.hpp"

namespace crosslink {

using rocks::Live;

namespace {

constexpr std::uint64_t log_kept_by_us = std::numeric_limits<std::uint64_t>::max();  // see Live's options
constexpr const char *history_name = "history", *state_name = "state";
constexpr std::string_view running = "running ", closed = "closed ";
constexpr std::size_t file_bytes_max = 64 * 1024;

/// Hears what comes in past the log, from the moment that the database is opened.
class ChangeListener final : public rocksdb::EventListener {
 public:
  void OnExternalFileIngested(rocksdb::DB*, const rocksdb::ExternalFileIngestionInfo&) override { tell(); }
  // After a failed write RocksDB may bring a record to the log that was not committed.
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status*) override { tell(); }

  /// True if it heard of something while nobody listened.
  bool listen(std::function<void()> on_change) {
    const std::scoped_lock lock(mutex_);
    on_change_ = std::move(on_change);
    return std::exchange(heard_, false);
  }

 private:
  void tell() {
    const std::scoped_lock lock(mutex_);
    if (on_change_) {
      on_change_();
    } else {
      heard_ = true;
    }
  }
  std::mutex mutex_;
  std::function<void()> on_change_;
  bool heard_ = false;
};

MirrorError unsupported(std::string why) { return {ErrorKind::UnsupportedOperation, CausedBy::us, std::move(why)}; }

Result<std::shared_ptr<ChangeListener>> check_options(rocksdb::DB& database) {
  const auto options = database.GetDBOptions();
  std::shared_ptr<ChangeListener> found;
  for (const auto& listener : options.listeners)
    if (auto ours = std::dynamic_pointer_cast<ChangeListener>(listener)) found = std::move(ours);
  if (!found || options.WAL_ttl_seconds != log_kept_by_us || options.recycle_log_file_num != 0)
    return MirrorError::configuration("this RocksDB was opened without RocksdbSource::prepare, or changed after it");
  if (options.manual_wal_flush || options.two_write_queues || options.unordered_write || options.allow_2pc) {
    return MirrorError::configuration(
        "a RocksDB with manual WAL flush, two write queues, unordered writes or two-phase commit cannot be mirrored");
  }
  const auto family = database.GetOptions(database.DefaultColumnFamily());
  if (family.comparator != rocksdb::BytewiseComparator()) return unsupported("only bytewise ordered keys are mirrored");
  if (family.compaction_filter != nullptr || family.compaction_filter_factory)
    return unsupported("a compaction filter changes data past the log");
  if (family.enable_blob_files) return unsupported("blob files are not mirrored");
  if (family.compaction_style == rocksdb::kCompactionStyleFIFO)
    return unsupported("FIFO compaction drops data past the log");
  if (family.inplace_update_support) return unsupported("updates in place leave no snapshot to read from");
  std::vector<std::string> families;
  const auto listed = rocksdb::DB::ListColumnFamilies(options, database.GetName(), &families);
  if (!listed.ok()) return rocks::storage_error("listing column families", listed);
  if (families.size() != 1)
    return unsupported(fmt::format("of {} column families only the default one can be mirrored", families.size()));
  return found;
}

/// The snapshot format of the tables that this database writes; empty where a mirror may not know them.
std::string format_of(rocksdb::DB& database) {
  const auto family = database.GetOptions(database.DefaultColumnFamily());
  if (family.table_factory->Name() != std::string_view(rocksdb::TableFactory::kBlockBasedTableName())) return {};
  switch (family.compression) {
    case rocksdb::kNoCompression: return rocks::checkpoint_format(RocksdbCompression::none);
    case rocksdb::kLZ4Compression: return rocks::checkpoint_format(RocksdbCompression::lz4);
    case rocksdb::kZSTD: return rocks::checkpoint_format(RocksdbCompression::zstd);
    case rocksdb::kSnappyCompression: return rocks::checkpoint_format("snappy");
    default: return {};
  }
}

RocksdbOptions to_open_checkpoints(rocksdb::DB& database) {
  RocksdbOptions options;
  options.env = database.GetEnv();
  return options;
}

}  // namespace

struct RocksdbSource::Impl {
  Impl(rocksdb::DB& database, RocksdbSourceOptions chosen);
  ~Impl();
  Result<void> start();
  Result<void> take_up_history();
  Result<void> save_history() const;
  Result<void> note_lost_tail();
  /// One new incarnation in place of all there were. Any thread. Errors: Storage; the history is new all the same.
  Result<void> replace_history(HistoryCause cause);
  Result<void> describe(Live& checkpoint, SnapshotFacts& facts);
  void look(const std::stop_token& stop);
  void look_once();

  const RocksdbSourceOptions options;
  const rocks::Files disk;
  rocks::FolderLock folder_lock;
  const std::shared_ptr<Live> live;
  std::shared_ptr<ChangeListener> listener;
  rocks::SnapshotShelf shelf;

  mutable std::mutex mutex;
  rocks::DatabaseRecord record;
  rocks::LogWindow window;
  std::string reason_lost;  ///< why the last change of the history could not be saved

  std::mutex watch_mutex;
  Lsn seen;  ///< the head that was told last
  std::function<void(Lsn)> on_head;
  std::function<void()> on_history;

  std::mutex look_mutex;
  std::condition_variable_any look_wake;
  std::jthread looking;
};

// --- opening

void RocksdbSource::prepare(rocksdb::DBOptions& options) {
  options.WAL_ttl_seconds = log_kept_by_us;
  options.WAL_size_limit_MB = 0;
  options.recycle_log_file_num = 0;
  options.listeners.push_back(std::make_shared<ChangeListener>());
}

RocksdbSource::RocksdbSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RocksdbSource::~RocksdbSource() = default;

Result<std::unique_ptr<RocksdbSource>> RocksdbSource::open(rocksdb::DB& database, RocksdbSourceOptions options) {
  auto listener = check_options(database);
  if (!listener) return listener.error();
  if (options.boot_id.empty()) options.boot_id = rocks::system_boot_id();
  auto impl = std::make_unique<Impl>(database, std::move(options));
  impl->listener = *std::move(listener);
  if (auto started = impl->start(); !started) return started.error();
  return std::unique_ptr<RocksdbSource>(new RocksdbSource(std::move(impl)));
}

RocksdbSource::Impl::Impl(rocksdb::DB& database, RocksdbSourceOptions chosen)
    : options(std::move(chosen)),
      disk(database.GetEnv()),
      live(Live::borrow(database)),
      shelf(options.folder / "snapshots",
            {rocks::LiveKind::callers, format_of(database), options.snapshots_max, options.snapshot_kept,
             options.snapshot_budget_bytes, to_open_checkpoints(database)}),
      window(options.log_window) {}

RocksdbSource::Impl::~Impl() {
  if (!looking.joinable()) return;
  looking.request_stop();
  look_wake.notify_all();
  looking.join();
  static_cast<void>(listener->listen({}));
  // What is written from now on without this class is noticed when it is opened next.
  const auto text = fmt::format("{}{}", closed, live->head().value);
  static_cast<void>(disk.replace(options.folder / state_name, rocks::bytes_of(text)));
}

Result<void> RocksdbSource::Impl::start() {
  if (auto made = disk.make_folder(options.folder); !made) return made;
  auto locked = rocks::FolderLock::take(options.folder);
  if (!locked) return locked.error();
  folder_lock = *std::move(locked);
  window.begin(rocks::list_wal_files(*live), live->head());
  if (auto taken = take_up_history(); !taken) return taken;
  if (auto adopted = shelf.adopt(record.history, live->head()); !adopted) return adopted;
  // From here on: a failure to save shows when the history is asked for.
  const bool missed = listener->listen([this] { static_cast<void>(replace_history(HistoryCause::unlogged_change)); });
  if (missed) {
    if (auto replaced = replace_history(HistoryCause::unlogged_change); !replaced) return replaced;
  }
  const auto text = fmt::format("{}{}", running, options.boot_id);
  if (auto noted = disk.replace(options.folder / state_name, rocks::bytes_of(text)); !noted) return noted;
  seen = live->head();
  looking = std::jthread([this](const std::stop_token& stop) { look(stop); });
  return {};
}

/// What an earlier process knew, as far as it still holds.
Result<void> RocksdbSource::Impl::take_up_history() {
  const auto saved = disk.read(options.folder / history_name, file_bytes_max);
  if (!saved) return saved.error();
  const auto state = disk.read(options.folder / state_name, file_bytes_max);
  if (!state) return state.error();
  if (!*saved) {
    record.origin = engine::random_id<Incarnation>();
    record.history = History::beginning({record.origin, Lsn{live->head().value + 1}, HistoryCause::created});
    return save_history();
  }
  if (auto decoded = rocks::decode_record(rocks::text_of(**saved), record); !decoded) return decoded;
  const auto said = *state ? rocks::text_of(**state) : std::string_view();
  const bool killed = said == fmt::format("{}{}", running, options.boot_id);  // then the log has it all
  const bool untouched = said == fmt::format("{}{}", closed, live->head().value);
  const bool reaches_back = live->head().value + 1 >= record.history.newest().first_lsn.value;
  if (!killed && !untouched && !said.starts_with(running)) return replace_history(HistoryCause::unlogged_change);
  if ((!killed && !untouched) || !reaches_back) {
    if (auto noted = note_lost_tail(); !noted) return noted;
  }
  window.raise_oldest(Lsn{record.history.records().front().first_lsn.value - 1});
  return {};
}

/// Another boot after an unclean end: what was not synced is gone, and its LSNs come again. Histories are synced and
/// the data often not: of an incarnation that begins after all that is left, nothing is left.
Result<void> RocksdbSource::Impl::note_lost_tail() {
  const Lsn first{live->head().value + 1};
  std::vector<HistoryRecord> records;
  for (const auto& known : record.history.records())
    if (known.first_lsn <= first) records.push_back(known);
  const HistoryRecord next{engine::random_id<Incarnation>(), first, HistoryCause::unclean_stop};
  if (records.empty()) {
    record.history = History::beginning(next);
    return save_history();
  }
  const auto trimmed = record.history.trimmed();
  auto left = History::from_records(std::move(records), {trimmed.begin(), trimmed.end()});
  if (!left) return left.error();
  record.history = *std::move(left);
  record.history.append(next);
  return save_history();
}

Result<void> RocksdbSource::Impl::save_history() const {
  return disk.replace(options.folder / history_name, rocks::bytes_of(rocks::encode_record(record)));
}

Result<void> RocksdbSource::Impl::replace_history(HistoryCause cause) {
  Result<void> saved;
  {
    const std::scoped_lock lock(mutex);
    const auto head = live->head();
    record.history = History::beginning({engine::random_id<Incarnation>(), Lsn{head.value + 1}, cause});
    window.raise_oldest(head);
    saved = save_history();
    reason_lost = saved ? std::string() : saved.error().message();
  }
  // Its snapshots go later: RocksDB may call this from a flush that the making of a snapshot waits for.
  const std::scoped_lock lock(watch_mutex);
  if (on_history) on_history();
  return saved;
}

// --- looking

void RocksdbSource::Impl::look_once() {
  const std::scoped_lock lock(watch_mutex);
  const auto head = live->head();
  if (head == seen) return;
  seen = head;
  if (on_head) on_head(head);
}

void RocksdbSource::Impl::look(const std::stop_token& stop) {
  auto tidied = std::chrono::steady_clock::now();
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(look_mutex);
      look_wake.wait_for(lock, stop, options.look_every, [] { return false; });
    }
    look_once();
    if (std::chrono::steady_clock::now() - tidied < std::chrono::seconds(1)) continue;
    tidied = std::chrono::steady_clock::now();
    window.trim(*live, mutex, [] { return true; }, [this] { return live->head(); });
    const auto [history, oldest] = [this] {
      const std::scoped_lock lock(mutex);
      return std::pair(record.history, window.oldest());
    }();
    shelf.prune(history, oldest);
  }
}

void RocksdbSource::look_now() { impl_->look_once(); }

void RocksdbSource::watch_history(std::function<void()> on_change) {
  const std::scoped_lock lock(impl_->watch_mutex);
  impl_->on_history = std::move(on_change);
}

void RocksdbSource::watch_head(std::function<void(Lsn head)> on_head) {
  const std::scoped_lock lock(impl_->watch_mutex);
  impl_->on_head = std::move(on_head);
}

Result<void> RocksdbSource::restamp() { return impl_->replace_history(HistoryCause::unlogged_change); }

// --- source

SourceState RocksdbSource::source_state() const {
  const std::scoped_lock lock(impl_->mutex);
  const auto head = impl_->live->head();
  const auto& record = impl_->record;
  return {DatabaseRole::root, record.origin, record.history, head, impl_->window.oldest(), head, std::nullopt};
}

Result<LogSlice> RocksdbSource::read_log(Lsn after, std::size_t bytes_max) {
  const auto head = impl_->live->head();
  LogSlice slice{after, after, 0, nullptr, after};
  std::vector<std::byte> entries;
  const auto oldest = [this] {
    const std::scoped_lock lock(impl_->mutex);
    return impl_->window.oldest();
  };
  bool whole = after >= oldest() && after <= head;
  std::optional<MirrorError> too_large;
  if (whole) {
    auto read = impl_->live->log().read(after, head, [&](const rocks::LogRecord& record) {
      if (record.entry.size() > impl_->options.entry_bytes_max) {
        if (slice.last_lsn == after) {
          too_large = unsupported(
              fmt::format("the write at sequence number {} is larger than an entry may be", record.first.value));
        }
        return false;
      }
      return rocks::take_record(record, bytes_max, slice, entries);
    });
    // What comes before an end or a gap is given first; the next reading meets it.
    const bool some = slice.last_lsn > after;
    if (!read && !some) return read.error();
    whole = some || *read;
  }
  if (too_large) return *too_large;
  if (!whole) {
    return MirrorError(ErrorKind::LogWindowExceeded, CausedBy::us, "the log after this LSN is no longer held",
                       LogWindow{oldest(), head});
  }
  slice.entries = std::make_shared<const std::vector<std::byte>>(std::move(entries));
  return slice;
}

Result<PositionProof> RocksdbSource::prove(const EntryId& last_entry, Lsn at) {
  Lsn from;  // nothing may lie between it and the entry that is meant
  {
    const std::scoped_lock lock(impl_->mutex);
    const Lsn base{impl_->record.history.records().front().first_lsn.value - 1};
    from = last_entry == EntryId{} ? base : Lsn{std::max<std::uint64_t>(last_entry.lsn.value, 1) - 1};
    if (from < impl_->window.oldest() || at > impl_->live->head()) return PositionProof::unproven;
  }
  // Each record is an entry: the one that is meant, and none behind it.
  std::optional<EntryId> first;
  bool more = false;
  auto read = impl_->live->log().read(from, at, [&](const rocks::LogRecord& record) {
    if (record.entry.empty()) return true;
    more = first.has_value();
    if (!first) first = record.last_entry();
    return !more;
  });
  if (!read) return read.error();
  if (!*read) return PositionProof::unproven;
  return first.value_or(EntryId{}) == last_entry && !more ? PositionProof::same : PositionProof::parted;
}

/// With the shelf locked.
Result<void> RocksdbSource::Impl::describe(Live& checkpoint, SnapshotFacts& facts) {
  facts.snapshot_lsn = facts.origin_lsn = checkpoint.head();
  Lsn base;
  {
    const std::scoped_lock lock(mutex);
    if (!record.history.contains(facts.incarnation))
      return MirrorError(ErrorKind::Busy, CausedBy::us, "data came in past the log; retry");
    base = window.oldest();
  }
  if (facts.snapshot_lsn <= base) return {};  // nothing is known of what came before
  std::optional<EntryId> last;
  const auto at = facts.snapshot_lsn;
  auto read = live->log().read(Lsn{at.value - 1}, at, [&](const rocks::LogRecord& logged) {
    last = logged.last_entry();
    return true;
  });
  if (!read) return read.error();
  if (last && *read) facts.last_entry = *last;
  return {};
}

Result<std::shared_ptr<SnapshotReader>> RocksdbSource::open_snapshot(std::span<const std::string> formats,
                                                                     const std::optional<SnapshotId>& wanted) {
  rocks::DatabaseRecord record;
  Lsn oldest;
  {
    const std::scoped_lock lock(impl_->mutex);
    record = impl_->record;
    oldest = impl_->window.oldest();
    if (!impl_->reason_lost.empty()) return MirrorError(ErrorKind::Storage, CausedBy::us, impl_->reason_lost);
  }
  bool unlogged = false;
  auto describe = [&](Live& checkpoint) -> Result<SnapshotFacts> {
    SnapshotFacts facts;
    facts.origin = record.origin;
    facts.incarnation = record.history.newest().incarnation;
    if (auto described = impl_->describe(checkpoint, facts); !described) return described.error();
    unlogged = facts.last_entry == EntryId{} && facts.snapshot_lsn >= record.history.newest().first_lsn;
    return facts;
  };
  auto opened =
      impl_->shelf.open({*impl_->live, impl_->live->head(), oldest, record.history, describe}, formats, wanted);
  if (!opened || !unlogged) return opened;
  // The newest write is not in the log: mirrors that follow cannot have it.
  if (auto replaced = impl_->replace_history(HistoryCause::unlogged_change); !replaced) return replaced.error();
  return MirrorError(ErrorKind::Busy, CausedBy::us, "a write went past the log; retry");
}

void RocksdbSource::pin(const std::string& holder, Lsn from) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->window.pin(holder, from);
}
void RocksdbSource::unpin(const std::string& holder) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->window.unpin(holder);
}
std::optional<WindowLeft> RocksdbSource::window_left(Lsn after) const {
  auto files = rocks::list_wal_files(*impl_->live);
  const std::scoped_lock lock(impl_->mutex);
  impl_->window.note(std::move(files), impl_->live->head());
  return impl_->window.left(after, impl_->live->head());
}

Result<std::shared_ptr<const DataView>> RocksdbSource::view() {
  return std::shared_ptr<const DataView>(std::make_shared<const rocks::SnapshotView>(impl_->live));
}

}  // namespace crosslink
