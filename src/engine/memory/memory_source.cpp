#include <algorithm>
#include <utility>

#include "engine/memory/memory_impl.hpp"

namespace crosslink {

using memory::Image;
using memory::LogItem;

// --- with the mutex held

bool MemoryDatabase::Impl::fails() {
  if (failures == 0) return false;
  --failures;
  return true;
}

void MemoryDatabase::Impl::trim_log() {
  auto pinned = live.head;
  for (const auto& [holder, from] : pins)
    pinned = std::min(pinned, from);
  // The newest entry stays, however large: who is at the head must be able to go on.
  while (live.log.size() > 1) {
    const bool over_budget = live.log_bytes > std::max(options.log_budget_bytes, options.log_window_bytes);
    const bool passed = live.log_bytes > options.log_window_bytes && live.log.front().id.lsn <= pinned;
    if (!over_budget && !passed) return;
    live.drop_front();
  }
}

void MemoryDatabase::Impl::made_durable() {
  if (options.manual_sync) synced = live;
}

void MemoryDatabase::Impl::begin_incarnation(HistoryCause cause) {
  live.history.append({new_id<Incarnation>(), Lsn{live.head.value + 1}, cause});
}

void MemoryDatabase::Impl::add_entry(const EntryView& entry, std::vector<std::byte> encoding, Lsn own_lsn,
                                     Lsn origin_lsn) {
  live.apply(entry);
  if (own_lsn != entry.lsn()) set_entry_lsn(encoding, own_lsn);
  const EntryId id{own_lsn, entry_hash(encoding)};
  live.append({id, std::make_shared<const std::vector<std::byte>>(std::move(encoding)), origin_lsn});
  live.head = own_lsn;
  live.origin_lsn = origin_lsn;
}

void MemoryDatabase::Impl::tell(std::unique_lock<std::mutex> lock, Lsn before, const SharedBytes& entry) {
  CommittedLog log{live.head, live.head, 0, {}, live.origin_lsn};
  if (entry) {
    log.prev_lsn = before;
    log.count = 1;
    log.entries = *entry;
  }
  const auto told = on_log;
  lock.unlock();
  if (told) told(log);
}

// --- making one, writing

MemoryDatabase::MemoryDatabase(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MemoryDatabase::~MemoryDatabase() = default;

std::unique_ptr<MemoryDatabase> MemoryDatabase::create(MemoryOptions options) {
  auto impl = std::make_unique<Impl>(options);
  impl->live.origin = impl->new_id<Incarnation>();
  impl->live.history = History::beginning({impl->live.origin, Lsn{1}, HistoryCause::created});
  impl->made_durable();
  return std::unique_ptr<MemoryDatabase>(new MemoryDatabase(std::move(impl)));
}

std::unique_ptr<MemoryDatabase> MemoryDatabase::empty(MemoryOptions options) {
  auto impl = std::make_unique<Impl>(options);
  impl->live.role = DatabaseRole::mirror;
  impl->made_durable();
  return std::unique_ptr<MemoryDatabase>(new MemoryDatabase(std::move(impl)));
}

Result<Lsn> MemoryDatabase::commit(std::span<const Operation> operations, std::uint64_t commit_time_us) {
  std::unique_lock lock(impl_->mutex);
  auto& live = impl_->live;
  if (live.role == DatabaseRole::mirror)
    return MirrorError::configuration("a mirror takes no writes until it is promoted");
  if (operations.empty()) return MirrorError::configuration("a commit needs an operation");
  for (const auto& operation : operations) {
    if (operation.kind == OperationKind::erase_range && operation.end && operation.key >= *operation.end)
      return MirrorError::configuration("a range must begin before it ends");
  }
  const Lsn lsn{live.head.value + 1};
  if (encoded_entry_bytes(lsn, operations) > impl_->options.entry_bytes_max)
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us, "this commit is larger than an entry may be");
  if (impl_->fails()) return memory::storage_error();
  std::vector<std::byte> bytes;
  encode_entry(bytes, lsn, commit_time_us, operations);
  std::span<const std::byte> rest = bytes;
  const auto before = live.head;
  const auto entry = read_entry(rest);
  impl_->add_entry(*entry, std::move(bytes), lsn, lsn);
  const auto kept = live.log.back().encoding;
  impl_->trim_log();
  impl_->tell(std::move(lock), before, kept);
  return lsn;
}

std::optional<std::string> MemoryDatabase::get(std::string_view key) const {
  const std::scoped_lock lock(impl_->mutex);
  const auto found = impl_->live.pairs.find(key);
  if (found == impl_->live.pairs.end()) return std::nullopt;
  return *found->second.value;
}

std::size_t MemoryDatabase::size() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->live.pairs.size();
}

// --- source

SourceState MemoryDatabase::source_state() const {
  const std::scoped_lock lock(impl_->mutex);
  const auto& live = impl_->live;
  return {live.role, live.origin, live.history, live.head, live.oldest, live.origin_lsn, live.promoted_from};
}

DatabaseRole MemoryDatabase::role() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->live.role;
}

Lsn MemoryDatabase::head() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->live.head;
}

Result<LogSlice> MemoryDatabase::read_log(Lsn after, std::size_t bytes_max) {
  const std::scoped_lock lock(impl_->mutex);
  const auto& live = impl_->live;
  if (after < live.oldest || after > live.head) {
    return MirrorError(ErrorKind::LogWindowExceeded, CausedBy::us, "the log after this LSN is no longer held",
                       LogWindow{live.oldest, live.head});
  }
  LogSlice slice{after, after, 0, nullptr, live.origin_lsn};
  auto item = std::ranges::upper_bound(live.log, after, {}, [](const LogItem& one) { return one.id.lsn; });
  if (item != live.log.end() && item->encoding->size() >= bytes_max) {
    // Shared as it is.
    return LogSlice{after, item->id.lsn, 1, item->encoding, item->origin_lsn};
  }
  std::vector<std::byte> entries;
  for (; item != live.log.end() && entries.size() + item->encoding->size() <= bytes_max; ++item) {
    entries.insert(entries.end(), item->encoding->begin(), item->encoding->end());
    slice.last_lsn = item->id.lsn;
    slice.origin_lsn = item->origin_lsn;
    ++slice.count;
  }
  if (item == live.log.end()) {
    // What moves LSNs without an entry: the LSN after a bootstrap.
    slice.last_lsn = live.head;
    slice.origin_lsn = live.origin_lsn;
  }
  slice.entries = std::make_shared<const std::vector<std::byte>>(std::move(entries));
  return slice;
}

Result<PositionProof> MemoryDatabase::prove(const EntryId& last_entry, Lsn at) {
  const std::scoped_lock lock(impl_->mutex);
  if (at < impl_->live.oldest) return PositionProof::unverified;
  return impl_->live.last_entry_at(at) == last_entry ? PositionProof::same : PositionProof::diverged;
}

Result<std::shared_ptr<SnapshotReader>> MemoryDatabase::open_snapshot(std::span<const std::string> formats,
                                                                      const std::optional<SnapshotId>& wanted) {
  const std::scoped_lock lock(impl_->mutex);
  if (std::ranges::find(formats, kv_format) == formats.end())
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer, "this database writes kv snapshots only");
  if (impl_->live.history.empty())
    return MirrorError(ErrorKind::Busy, CausedBy::us, "this database has no data yet; retry later");
  return impl_->snapshot_store.open(impl_->live, wanted, impl_->new_id<SnapshotId>());
}

void MemoryDatabase::pin(const std::string& holder, Lsn from) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->pins[holder] = from;
  impl_->trim_log();
}

void MemoryDatabase::unpin(const std::string& holder) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->pins.erase(holder);
  impl_->trim_log();
}

std::optional<WindowLeft> MemoryDatabase::window_left(Lsn after) const {
  const std::scoped_lock lock(impl_->mutex);
  const auto& live = impl_->live;
  if (after < live.oldest) return std::nullopt;
  const bool pinned = std::ranges::any_of(impl_->pins, [after](const auto& pin) { return pin.second <= after; });
  const auto& options = impl_->options;
  const auto limit = pinned ? std::max(options.log_budget_bytes, options.log_window_bytes) : options.log_window_bytes;
  const auto item = std::ranges::upper_bound(live.log, after, {}, [](const LogItem& one) { return one.id.lsn; });
  if (item == live.log.end()) return WindowLeft{limit, {}};
  const auto needed = live.logged_bytes - item->end_bytes + item->encoding->size();
  return WindowLeft{limit - std::min(limit, needed), {}};
}

void MemoryDatabase::watch_log(std::function<void(const CommittedLog& log)> on_log) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->on_log = std::move(on_log);
}

Result<std::shared_ptr<const DataView>> MemoryDatabase::view() {
  const std::scoped_lock lock(impl_->mutex);
  return memory::make_view(impl_->live);
}

// --- what happens to databases

void MemoryDatabase::unclean_stop() {
  const std::scoped_lock lock(impl_->mutex);
  impl_->begin_incarnation(HistoryCause::unclean_stop);
  impl_->made_durable();
}

void MemoryDatabase::restamp() {
  const std::scoped_lock lock(impl_->mutex);
  impl_->begin_incarnation(HistoryCause::restamp);
  impl_->made_durable();
}

MemoryDatabase::Backup MemoryDatabase::backup() const {
  const std::scoped_lock lock(impl_->mutex);
  return std::make_shared<const Image>(impl_->live);
}

void MemoryDatabase::restore(const Backup& backup) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->live = *static_cast<const Image*>(backup.get());
  impl_->pins.clear();
  impl_->snapshot_store.clear();
  impl_->made_durable();
}

void MemoryDatabase::recreate() {
  const std::scoped_lock lock(impl_->mutex);
  impl_->live = {};
  impl_->live.origin = impl_->new_id<Incarnation>();
  impl_->live.history = History::beginning({impl_->live.origin, Lsn{1}, HistoryCause::created});
  impl_->pins.clear();
  impl_->snapshot_store.clear();
  impl_->made_durable();
}

void MemoryDatabase::purge_log() {
  const std::scoped_lock lock(impl_->mutex);
  while (!impl_->live.log.empty())
    impl_->live.drop_front();
}

std::uint64_t MemoryDatabase::log_bytes() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->live.log_bytes;
}

}  // namespace crosslink
