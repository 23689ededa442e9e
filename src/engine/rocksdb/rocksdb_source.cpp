// A caller's own RocksDB as a source. Its log has no notes of ours: what came last is read from the log itself.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "engine/rocksdb/rocksdb_impl.hpp"
#include "engine/rocksdb/rocksdb_source_impl.hpp"
#include "engine/rocksdb/snapshot_view.hpp"

namespace crosslink {

using rocks::Live;
using rocks::unsupported;

// --- looking

void RocksdbSource::Impl::look_once() {
  const std::scoped_lock lock(watch_mutex);
  const auto head = live->head();
  if (head == seen) return;
  seen = head;
  if (on_log) on_log({head, head, 0, {}, head});
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
    // Again in a second when the disk refuses it.
    static_cast<void>(look_at_tables());
    static_cast<void>(chain.save());
    window.trim(*live, mutex, [] { return true; }, [this] { return live->head(); });
    const auto [history, oldest, jump] = [this] {
      const std::scoped_lock lock(mutex);
      return std::tuple(record.history, window.oldest(), window.take_jump());
    }();
    if (jump && options.on_warning) options.on_warning(rocks::to_warning(*jump));
    snapshot_store.prune(history, oldest);
  }
}

Result<void> RocksdbSource::Impl::look_at_tables() {
  const auto explained = tables.look(live->db(), *listener);
  if (!explained) return explained.error();
  return *explained ? Result<void>{} : replace_history(HistoryCause::unlogged_change);
}

void RocksdbSource::look_now() { impl_->look_once(); }

void RocksdbSource::watch_history(std::function<void()> on_change) {
  const std::scoped_lock lock(impl_->watch_mutex);
  impl_->on_history = std::move(on_change);
}

void RocksdbSource::watch_log(std::function<void(const CommittedLog& log)> on_log) {
  const std::scoped_lock lock(impl_->watch_mutex);
  impl_->on_log = std::move(on_log);
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
  impl_->chain.note(after, slice.last_lsn, entries);
  slice.entries = std::make_shared<const std::vector<std::byte>>(std::move(entries));
  return slice;
}

Result<PositionProof> RocksdbSource::prove(const EntryId& last_entry, Lsn at) {
  Lsn from;  // nothing may lie between it and the entry that is meant
  {
    const std::scoped_lock lock(impl_->mutex);
    const Lsn base{impl_->record.history.records().front().first_lsn.value - 1};
    from = last_entry == EntryId{} ? base : Lsn{std::max<std::uint64_t>(last_entry.lsn.value, 1) - 1};
    if (from < impl_->window.oldest() || at > impl_->live->head()) return PositionProof::unverified;
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
  if (!*read) return PositionProof::unverified;
  return first.value_or(EntryId{}) == last_entry && !more ? PositionProof::same : PositionProof::diverged;
}

/// With the snapshot store locked.
Result<void> RocksdbSource::Impl::describe(Live& checkpoint, SnapshotFacts& facts) {
  facts.snapshot_lsn = facts.origin_lsn = checkpoint.head();
  Lsn base;
  {
    const std::scoped_lock lock(mutex);
    if (!record.history.contains(facts.incarnation))
      return MirrorError(ErrorKind::Busy, CausedBy::us, "data came in past the log; retry");
    base = window.oldest();
  }
  const auto held = rocks::list_tables(checkpoint.db());
  if (!held) return held.error();
  if (auto checked = rocks::check_tables(*held); !checked) return checked;
  if (facts.snapshot_lsn <= base) return {};  // nothing is known of what came before
  // Its own log too has to hold only what can be mirrored: the writes that no table has yet.
  const auto at = facts.snapshot_lsn;
  const auto files = rocks::list_wal_files(checkpoint);
  const Lsn in_tables{(files.empty() ? at.value : std::min(files.front().first.value - 1, at.value))};
  std::optional<EntryId> last;
  const auto read_after = [&](Lsn after) {
    return live->log().read(std::max(base, after), at, [&](const rocks::LogRecord& logged) {
      last = logged.last_entry();
      return true;
    });
  };
  auto read = read_after(in_tables);
  // What is in tables is resolved there; only what came last is asked for.
  if (read && !last) read = read_after(Lsn{at.value - 1});
  const bool resolved = !read && in_tables == at && read.error().kind() == ErrorKind::UnsupportedOperation;
  if (resolved) return {};
  if (!read) return read.error();
  if (last && *read) facts.last_entry = *last;
  return chain.note_end(live->log(), base, at);
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
  // What the owner did since it was offered.
  auto& database = impl_->live->db();
  if (auto checked = rocks::check_families(database); !checked) return checked.error();
  const auto tables = rocks::list_tables(database);
  if (!tables) return tables.error();
  bool unlogged = false;
  auto describe = [&](Live& checkpoint) -> Result<SnapshotFacts> {
    SnapshotFacts facts;
    facts.origin = record.origin;
    facts.incarnation = record.history.newest().incarnation;
    if (auto described = impl_->describe(checkpoint, facts); !described) return described.error();
    unlogged = facts.last_entry == EntryId{} && facts.snapshot_lsn >= record.history.newest().first_lsn;
    return facts;
  };
  const rocks::SnapshotStore::Source from{
      *impl_->live, rocks::files_format(database, *tables), impl_->live->head(), oldest, record.history, describe};
  auto opened = impl_->snapshot_store.open(from, formats, wanted);
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
