// A database in etcd as a source: etcd's revisions are its LSNs.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/etcd/etcd_impl.hpp"
#include "engine/etcd/view.hpp"

namespace crosslink {

using namespace etcd;

namespace {

constexpr std::size_t scan_bytes = std::size_t{1024} * 1024;
constexpr std::uint64_t revisions_looked_back = 1000;

}  // namespace

bool EtcdDatabase::Impl::is_mirror() const { return !root && record.role == DatabaseRole::mirror; }

/// With `mutex` held. Precondition: there is a history.
Lsn EtcdDatabase::Impl::mirror_oldest() const {
  return std::min(std::max(record.history.newest().first_lsn, found_compacted), lsn_of(record_revision));
}

SourceState EtcdDatabase::Impl::state() const {
  std::unique_lock holding(mutex);
  SourceState state;
  state.times_gone_back = target_gone_back;
  if (is_mirror()) {
    state.role = DatabaseRole::mirror;
    if (!record.position || record.bootstrapping || record.history.empty()) return state;
    state.origin = record.position->origin;
    state.history = record.history;
    state.head = lsn_of(record_revision);
    state.oldest = mirror_oldest();
    state.origin_lsn = record.position->origin_lsn;
    state.key_prefix = keys.offered_prefix;
    return state;
  }
  const auto following = tail;
  state.key_prefix = keys.offered_prefix;
  Lsn first;
  if (root) {
    state.origin = root_incarnation;
    state.history = crosslink::History::beginning({root_incarnation, Lsn{1}, HistoryCause::created});
  } else {
    state.role = DatabaseRole::promoted;
    state.origin = record.position->origin;
    state.history = record.history;
    state.promoted_from = record.promoted_from;
    first = record.history.newest().first_lsn;
  }
  holding.unlock();
  state.head = state.origin_lsn = store.head();
  state.oldest = following ? std::min(std::max(following->oldest(), first), state.head) : state.head;
  state.behind = following ? following->behind() : std::nullopt;
  state.times_gone_back += following ? following->times_gone_back() : 0;
  return state;
}

SourceState EtcdDatabase::source_state() const { return impl_->state(); }

Result<LogSlice> EtcdDatabase::Impl::read(Lsn after, std::size_t bytes_max) {
  const auto now = state();
  const auto passed = [&](const SourceState& at) {
    return MirrorError(ErrorKind::LogWindowExceeded, CausedBy::us, "the log after this LSN is no longer held",
                       LogWindow{at.oldest, at.head});
  };
  if (after < now.oldest || after > now.head || now.history.empty()) return passed(now);
  static const auto nothing = std::make_shared<const std::vector<std::byte>>();
  if (after == now.head) return LogSlice{after, after, 0, nothing, now.origin_lsn};
  std::shared_ptr<Tail> following;
  std::shared_ptr<etcd::PastLog> past;
  {
    const std::scoped_lock holding(mutex);
    following = tail;
    past = history;
  }
  Result<LogSlice> slice = storage_error("it is being opened");
  if (following) {
    auto kept = store.read(after, bytes_max);
    if (!kept) return kept.error();
    if (*kept) return **std::move(kept);
    slice = following->history().read(after, store.oldest(), bytes_max, after);
  } else {
    slice = past->read(after, now.head, bytes_max, now.origin_lsn);
  }
  if (slice || slice.error().kind() != ErrorKind::LogWindowExceeded) return slice;
  // Compacted since it was last looked at.
  if (following) {
    if (auto looked = following->look_at_window(false); !looked) return looked.error();
  } else {
    const auto found = past->oldest(Lsn{0}, now.head);
    if (!found) return found.error();
    const std::scoped_lock holding(mutex);
    found_compacted = std::max(found_compacted, *found);
  }
  return passed(state());
}

Result<LogSlice> EtcdDatabase::read_log(Lsn after, std::size_t bytes_max) { return impl_->read(after, bytes_max); }

Result<std::optional<EntryId>> EtcdDatabase::Impl::last_entry_in(Lsn after, Lsn up_to, std::size_t* count,
                                                                 EntryId* first) {
  std::optional<EntryId> last;
  while (after < up_to) {
    const auto slice = read(after, scan_bytes);
    if (!slice) return slice.error();
    if (slice->last_lsn <= after) break;
    after = slice->last_lsn;
    std::span<const std::byte> rest = *slice->entries;
    while (!rest.empty()) {
      const auto entry = read_entry(rest);
      if (!entry) return entry.error();
      if (entry->lsn() > up_to) return last;
      if (count != nullptr && ++*count == 1) *first = entry->id();
      last = entry->id();
    }
  }
  return last;
}

Result<PositionProof> EtcdDatabase::prove(const EntryId& last_entry, Lsn at) {
  const auto now = impl_->state();
  if (now.history.empty() || at < now.oldest) return PositionProof::unverified;
  // What is known of the last entry before the window.
  std::optional<EntryId> before;
  {
    const std::scoped_lock holding(impl_->mutex);
    if (impl_->tail && impl_->store.oldest() == now.oldest) before = impl_->store.entry_before();
    if (impl_->root && now.oldest == Lsn{0}) before.emplace();
    if (!impl_->root && now.oldest == now.history.newest().first_lsn) before.emplace();
  }
  const bool inside = last_entry.lsn > now.oldest;
  if (!inside && !before && last_entry.lsn == Lsn{0}) return PositionProof::unverified;
  std::size_t count = 0;
  EntryId first;
  const auto from = inside ? Lsn{last_entry.lsn.value - 1} : now.oldest;
  const auto scanned = impl_->last_entry_in(from, at, &count, &first);
  if (!scanned) return scanned.error();
  if (inside) return count == 1 && first == last_entry ? PositionProof::same : PositionProof::diverged;
  if (count > 0) return PositionProof::diverged;
  if (!before) return PositionProof::unverified;
  return *before == last_entry ? PositionProof::same : PositionProof::diverged;
}

/// The last one at or before `head`, looked for from there; LSN 0 when the log, as far as it is there, has none.
Result<EntryId> EtcdDatabase::Impl::last_entry(Lsn head) {
  const auto oldest = state().oldest;
  auto window = revisions_looked_back;
  for (auto from = head;;) {
    from = Lsn{std::max(oldest.value, head.value - std::min(head.value, window))};
    const auto last = last_entry_in(from, head, nullptr, nullptr);
    if (!last) return last.error();
    if (*last) return **last;
    if (from == oldest) return EntryId{};
    window *= 16;
  }
}

Result<std::shared_ptr<SnapshotReader>> EtcdDatabase::open_snapshot(std::span<const std::string> formats,
                                                                    const std::optional<SnapshotId>& wanted) {
  const auto now = impl_->state();
  if (now.history.empty())
    return MirrorError(ErrorKind::Busy, CausedBy::us, "this database has no data yet; retry later");
  SnapshotStore::Source source;
  const bool mirror = now.role == DatabaseRole::mirror;
  // Of a mirror, of one that has come in the meantime, or of a time before this process it is looked for.
  auto last = mirror ? std::nullopt : impl_->store.last_entry();
  if (!last || last->lsn > now.head) {
    const auto found = impl_->last_entry(now.head);
    if (!found) return found.error();
    last = *found;
  }
  {
    const std::scoped_lock holding(impl_->mutex);
    source.origin = impl_->log_origin(mirror);
    source.facts.key_prefix = impl_->keys.offered_prefix;
  }
  source.facts.snapshot_lsn = source.facts.consistent_lsn = now.head;
  source.facts.last_entry = *last;
  source.facts.origin_lsn = now.origin_lsn;
  source.facts.origin = now.origin;
  source.facts.incarnation = now.history.incarnation_at(now.head);
  impl_->snapshot_store.prune(source.facts.incarnation);
  return impl_->snapshot_store.open(source, formats, wanted);
}

void EtcdDatabase::pin(const std::string& holder, Lsn from) { impl_->store.pin(holder, from); }
void EtcdDatabase::unpin(const std::string& holder) { impl_->store.unpin(holder); }

std::optional<WindowLeft> EtcdDatabase::window_left(Lsn after) const {
  const auto now = impl_->state();
  if (after < now.oldest) return std::nullopt;
  if (now.role != DatabaseRole::mirror) {
    if (const auto left = impl_->store.window_left(after)) return left;
  }
  return WindowLeft{0, {}};  // etcd's own history: any client may compact it at any moment
}

void EtcdDatabase::watch_log(std::function<void(const CommittedLog& log)> on_log) {
  std::function<void(Lsn)> on_head;
  if (on_log) on_head = [on_log = std::move(on_log)](Lsn head) { on_log({head, head, 0, {}, head}); };
  std::shared_ptr<Tail> tail;
  {
    const std::scoped_lock holding(impl_->mutex);
    impl_->on_head = on_head;
    tail = impl_->tail;
  }
  if (tail) tail->watch_head(std::move(on_head));
}

void EtcdDatabase::watch_history(std::function<void()> on_change) {
  const std::scoped_lock telling(impl_->history_mutex);
  impl_->on_history = std::move(on_change);
}

Result<std::shared_ptr<const DataView>> EtcdDatabase::view() {
  const auto now = impl_->state();
  auto shown = now.head;
  auto head = now.head;
  if (now.role == DatabaseRole::mirror && head > Lsn{0}) {
    // With what others wrote over it since: that is what a comparison is to find.
    const auto found = impl_->look();
    if (!found) return found.error();
    shown = lsn_of(found->revision);
    head = lsn_of(found->record_revision);
  }
  const std::scoped_lock holding(impl_->mutex);
  return make_view(impl_->client, impl_->keys, head, shown,
                   now.role == DatabaseRole::mirror ? impl_->loop_marker : std::string());
}

}  // namespace crosslink
