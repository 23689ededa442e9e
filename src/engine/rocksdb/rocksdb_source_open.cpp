// A caller's own RocksDB as a source: what is refused, what an earlier process knew and whether it still holds.
#include <fmt/format.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/random_id.hpp"
#include "engine/rocksdb/rocksdb_source_impl.hpp"

namespace crosslink {

using rocks::ChangeListener;
using rocks::Live;
using rocks::unsupported;

namespace {

constexpr std::uint64_t log_kept_by_us = std::numeric_limits<std::uint64_t>::max();  // see Live's options
constexpr const char *history_name = "history", *state_name = "state", *tables_name = "tables", *chain_name = "chain";
constexpr std::string_view running = "running ", closed = "closed ";
constexpr std::size_t file_bytes_max = 64 * 1024;

Result<std::shared_ptr<ChangeListener>> find_listener(const rocksdb::DBOptions& options) {
  std::shared_ptr<ChangeListener> found;
  for (const auto& listener : options.listeners)
    if (auto ours = std::dynamic_pointer_cast<ChangeListener>(listener)) found = std::move(ours);
  if (!found || options.WAL_ttl_seconds != log_kept_by_us || options.recycle_log_file_num != 0)
    return MirrorError::configuration("this RocksDB was opened without RocksdbSource::prepare, or changed after it");
  return found;
}

Result<void> check_database(rocksdb::DB& database) {
  const auto options = database.GetDBOptions();
  if (options.manual_wal_flush || options.two_write_queues || options.unordered_write || options.allow_2pc) {
    return MirrorError::configuration(
        "a RocksDB with manual WAL flush, two write queues, unordered writes or two-phase commit cannot be mirrored");
  }
  // One that is opened so hears of nothing that its owner does past the log, and syncs no log.
  if (const auto synced = database.SyncWAL(); synced.IsNotSupported()) {
    return unsupported("a RocksDB that is opened read-only or as a secondary hears of no change past the log");
  } else if (!synced.ok()) {
    return rocks::storage_error("syncing the log", synced);
  }
  const auto elsewhere = [&](const std::vector<rocksdb::DbPath>& paths) {
    return std::ranges::any_of(paths, [&](const rocksdb::DbPath& one) { return one.path != database.GetName(); });
  };
  const auto family = database.GetOptions(database.DefaultColumnFamily());
  if (elsewhere(options.db_paths)) return unsupported("tables in several folders (db_paths) are not mirrored");
  if (elsewhere(family.cf_paths)) return unsupported("tables in several folders (cf_paths) are not mirrored");
  return {};
}

Result<void> check_family(rocksdb::DB& database) {
  const auto family = database.GetOptions(database.DefaultColumnFamily());
  if (family.comparator != rocksdb::BytewiseComparator()) return unsupported("only bytewise ordered keys are mirrored");
  if (family.compaction_filter != nullptr || family.compaction_filter_factory)
    return unsupported("a compaction filter changes data past the log");
  if (family.table_factory->Name() != std::string_view(rocksdb::TableFactory::kBlockBasedTableName()))
    return unsupported(fmt::format("tables of kind {} are not mirrored, only {}", family.table_factory->Name(),
                                   rocksdb::TableFactory::kBlockBasedTableName()));
  if (family.compaction_style == rocksdb::kCompactionStyleFIFO)
    return unsupported("FIFO compaction drops data past the log");
  if (family.inplace_update_support) return unsupported("updates in place leave no snapshot to read from");
  if (auto checked = rocks::check_families(database); !checked) return checked;
  const auto tables = rocks::list_tables(database);
  return tables ? rocks::check_tables(*tables) : tables.error();
}

RocksdbOptions to_open_checkpoints(rocksdb::DB& database) {
  RocksdbOptions options;
  options.env = database.GetEnv();
  return options;
}

}  // namespace

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
  auto listener = find_listener(database.GetDBOptions());
  if (!listener) return listener.error();
  if (auto checked = check_database(database); !checked) return checked.error();
  if (auto checked = check_family(database); !checked) return checked.error();
  if (options.boot_id.empty()) options.boot_id = rocks::system_boot_id();
  auto impl = std::make_unique<Impl>(database, std::move(options));
  impl->listener = *std::move(listener);
  if (auto started = impl->start(); !started) return started.error();
  return std::unique_ptr<RocksdbSource>(new RocksdbSource(std::move(impl)));
}

RocksdbSource::Impl::Impl(rocksdb::DB& database, RocksdbSourceOptions chosen)
    : options(std::move(chosen)),
      disk(rocks::files_of(database.GetEnv())),
      live(Live::borrow(database)),
      snapshot_store(options.folder / "snapshots",
                     {rocks::LiveKind::callers, options.snapshots_max, options.snapshot_kept,
                      options.snapshot_budget_bytes, to_open_checkpoints(database)}),
      tables(disk, options.folder / tables_name),
      chain(disk, options.folder / chain_name),
      window(options.log_window) {}

RocksdbSource::Impl::~Impl() {
  if (!looking.joinable()) return;
  looking.request_stop();
  look_wake.notify_all();
  looking.join();
  listener->ignore(live->db().GetName());
  // What is written from now on without this class, and what comes in past the log, is noticed when it is opened next.
  // Each that cannot be noted makes that look like a change.
  if (chain.note_end(live->log(), window.oldest(), live->head())) static_cast<void>(chain.save());
  static_cast<void>(look_at_tables());
  static_cast<void>(tables.note(live->db()));
  const auto text = fmt::format("{}{}", closed, live->head().value);
  static_cast<void>(disk.replace(options.folder / state_name, rocks::bytes_of(text)));
}

Result<void> RocksdbSource::Impl::start() {
  if (auto made = disk.make_folder(options.folder); !made) return made;
  auto locked = rocks::lock_folder(options.folder);
  if (!locked) return locked.error();
  folder_lock = *std::move(locked);
  window.begin(rocks::list_wal_files(*live), live->head());
  if (auto taken = take_up_history(); !taken) return taken;
  if (auto adopted = snapshot_store.adopt(record.history, live->head()); !adopted) return adopted;
  // From here on: a failure to save shows when the history is asked for.
  const auto& name = live->db().GetName();
  const auto missed = listener->listen(name, [this] { replace_history_meanwhile(); });
  if (!missed) return missed.error();
  auto begun = begin(*missed);
  if (!begun) listener->ignore(name);
  return begun;
}

/// Once it hears of changes.
Result<void> RocksdbSource::Impl::begin(bool missed) {
  if (missed) {
    if (auto replaced = replace_history(HistoryCause::unlogged_change); !replaced) return replaced;
  }
  if (auto noted = tables.note(live->db()); !noted) return noted;
  if (auto saved = chain.save(); !saved) return saved;
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
  const auto head = live->head();
  const auto compared = chain.take_up(live->log(), rocks::list_wal_files(*live), window.oldest(), head);
  if (!compared) return compared.error();
  if (!*saved) {
    record.origin = base::random_id<Incarnation>();
    record.history = History::beginning({record.origin, Lsn{head.value + 1}, HistoryCause::created});
    return save_history();
  }
  if (auto decoded = rocks::decode_record(rocks::text_of(**saved), record); !decoded) return decoded;
  const auto said = *state ? rocks::text_of(**state) : std::string_view();
  const bool killed = said == fmt::format("{}{}", running, options.boot_id);  // then the log has it all
  const bool untouched = said == fmt::format("{}{}", closed, head.value);
  const bool rebooted = said.starts_with(running) && !killed;
  const bool reaches_back = head.value + 1 >= record.history.newest().first_lsn.value;
  const auto explained = tables.is_explained(live->db(), *listener, {killed || rebooted, chain.last()});
  if (!explained) return explained.error();
  if (compared->diverged_after || compared->is_shorter) {
    // A backup has other tables than were noted. From those that came in past the log since, no mirror can go on.
    const auto known = tables.knows_ingested(live->db());
    if (!known) return known.error();
    if (!*known) return replace_history(HistoryCause::unlogged_change);
  }
  if (compared->diverged_after) {
    // Restored, and written on: those that went further are told apart from its followers.
    if (auto begun = begin_after(*compared->diverged_after, HistoryCause::restamp); !begun) return begun;
  } else if (compared->is_shorter || (*explained && (rebooted || !reaches_back))) {
    // Histories are synced and the data often not.
    if (auto begun = begin_after(head, HistoryCause::unclean_stop); !begun) return begun;
  } else if (!*explained || !(killed || untouched)) {
    return replace_history(HistoryCause::unlogged_change);
  }
  window.raise_oldest(Lsn{record.history.records().front().first_lsn.value - 1});
  return {};
}

/// Another incarnation from the next LSN on, and of an incarnation that begins after it nothing is left: what was given
/// out after it is gone, or is another entry now.
Result<void> RocksdbSource::Impl::begin_after(Lsn last, HistoryCause cause) {
  const Lsn first{last.value + 1};
  std::vector<HistoryRecord> records;
  for (const auto& known : record.history.records())
    if (known.first_lsn <= first) records.push_back(known);
  const HistoryRecord next{base::random_id<Incarnation>(), first, cause};
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

void RocksdbSource::Impl::replace_history_meanwhile() {
  static_cast<void>(replace_history(HistoryCause::unlogged_change));  // a failure shows when a snapshot is asked for
}

Result<void> RocksdbSource::Impl::replace_history(HistoryCause cause) {
  Result<void> saved;
  {
    const std::scoped_lock lock(mutex);
    const auto head = live->head();
    record.history = History::beginning({base::random_id<Incarnation>(), Lsn{head.value + 1}, cause});
    window.raise_oldest(head);
    saved = save_history();
    reason_lost = saved ? std::string() : saved.error().message();
  }
  // Its snapshots go later: RocksDB may call this from a flush that the making of a snapshot waits for.
  const std::scoped_lock lock(watch_mutex);
  if (on_history) on_history();
  return saved;
}

}  // namespace crosslink
