// A database in etcd as a mirror: groups in transactions that move the position with the data.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/random_id.hpp"
#include "engine/etcd/etcd_impl.hpp"

namespace crosslink {

using namespace etcd;

namespace {

/// Of several entries together; one alone may be as large as a transaction can be.
constexpr std::size_t group_operations_max = 1300;
constexpr std::size_t announced_max = 1'000'000;
constexpr std::size_t number_bytes_max = 20;  ///< in decimal digits

MirrorError promoted_error() {
  return {ErrorKind::MirrorPromoted, CausedBy::us, "this database was promoted: it follows no source"};
}

bool fits(Weight weight, const Weight& more = {}) {
  weight += more;
  return weight.operations <= txn_operations_max && weight.bytes <= txn_bytes_max;
}

}  // namespace

EngineTraits EtcdDatabase::traits() const { return {"etcd", false, false, {std::string(kv_format)}}; }

MirrorState EtcdDatabase::mirror_state() const {
  const std::scoped_lock holding(impl_->mutex);
  const auto& record = impl_->record;
  MirrorState state;
  state.role = record.role;
  if (!record.bootstrapping) state.position = record.position;
  if (state.position) state.durable = state.position->applied_lsn;
  state.partial = impl_->shown_partial;
  if (record.role == DatabaseRole::promoted) state.promoted_from = record.promoted_from;
  state.consistent_lsn = record.consistent_lsn;
  state.inconsistent = record.bootstrapping && record.position.has_value();
  state.leases = impl_->lease_count;
  return state;
}

Result<void> EtcdDatabase::Impl::check_follows() const {
  if (root) return MirrorError::configuration("a root follows no source");
  if (record.role != DatabaseRole::mirror) return promoted_error();
  // Of a process that ended, or another one: sync() takes it back, unless the process that began it owns the mirror.
  if (record.promoting) return MirrorError(ErrorKind::Busy, CausedBy::us, "its promotion has begun and is not done");
  return {};
}

Result<void> EtcdDatabase::apply(const ApplyGroup& group) {
  const std::scoped_lock writing(impl_->write_mutex);
  return impl_->apply(group);
}

Result<std::vector<std::string>> EtcdDatabase::Impl::keys_in(const KeySpace::OwnRange& range) {
  std::vector<std::string> all;
  Pages pages(*client, range, 0, true);
  for (;;) {
    auto page = pages.next();
    if (!page) return page.error();
    if (!*page) return all;
    for (const auto& kv : (*page)->kvs())
      all.push_back(kv.key());
  }
}

Result<Fold> EtcdDatabase::Impl::fold_of(const EntryView& entry) {
  Fold fold([this](std::string_view key, std::uint64_t lease) { return lease_weight(key, lease); });
  Result<void> added;
  entry.for_each([&](const Operation& operation) {
    if (added) added = fold.add(operation, keys, [this](const KeySpace::OwnRange& range) { return keys_in(range); });
  });
  if (!added) return added.error();
  return fold;
}

Result<void> EtcdDatabase::Impl::apply(const ApplyGroup& group) {
  if (auto follows = check_follows(); !follows) return follows;
  if (auto owned = ensure_owned(false); !owned) return owned;
  if (!record.position || record.bootstrapping)
    return MirrorError::configuration("there is no data yet to apply entries to");
  if (auto looked = look_for_loop(group.position); !looked) return looked;
  if (auto ends = check_split(group); !ends) return ends;
  const bool direct =
      group.position.origin == group.position.incarnation || group.position.origin_lsn == group.position.applied_lsn;
  Fold fold;
  auto reached = *record.position;
  const auto flush_fold = [&](const Position& position) -> Result<void> {
    if (fold.empty() && position == *record.position) return {};
    return flush(fold.take(), position);
  };
  for (auto entries : group.entries) {
    while (!entries.empty()) {
      const auto entry = read_entry(entries);
      if (!entry) return entry.error();
      if (entry->lsn() <= record.position->applied_lsn) continue;  // done by an attempt that seemed to fail
      auto here = group.position;
      if (entry->lsn() != group.position.last_entry.lsn) {
        here.applied_lsn = entry->lsn();
        here.last_entry = entry->id();
        here.origin_lsn = direct ? entry->lsn() : record.position->origin_lsn;
      }
      bool ranges = false, comes_back = false;
      entry->for_each([&](const Operation& one) {
        ranges |= one.kind == OperationKind::erase_range;
        comes_back |= is_own_loop_marker(one.key);
      });
      if (comes_back) return found_loop();
      // A range is expanded by what the target holds: everything before it must be there.
      if (ranges) {
        if (auto flushed = flush_fold(reached); !flushed) return flushed;
      }
      auto one = fold_of(*entry);
      if (!one) return one.error();
      const bool together = fold.weight().operations + one->weight().operations <= group_operations_max &&
                            fits(fold.weight(), one->weight());
      if (!fold.empty() && !together) {
        if (auto flushed = flush_fold(reached); !flushed) return flushed;
        one = fold_of(*entry);  // what a change means for leases is known by those before it
        if (!one) return one.error();
      }
      if (!fits(one->weight())) {
        if (auto split = write_split(*entry, one->take(), here); !split) return split;
      } else {
        fold.merge(*std::move(one));
      }
      reached = here;
    }
  }
  if (group.position.applied_lsn < record.position->applied_lsn) return {};
  return flush_fold(group.position);
}

// --- the table of leases
// -------------------------------------------------------------------------------------------------

Weight EtcdDatabase::Impl::lease_weight(std::string_view key, std::uint64_t lease) const {
  if (lease == 0 && !leased.contains(key)) return {};
  const auto own = operation_bytes + leased_prefix(options.name).size() + key.size() + number_bytes_max;
  const auto lines = 2 * (operation_bytes + lease_key(lease).size() + number_bytes_max);  // one comes, one goes
  return {3, own + lines};
}

std::string EtcdDatabase::Impl::lease_key(std::uint64_t lease) const {
  return leases_prefix(options.name) + fmt::format("{:016x}", lease);
}

void EtcdDatabase::Impl::add_leased(TxnBuilder& builder, const std::string& key, std::uint64_t lease,
                                    SideTable& side) const {
  const auto found = leased.find(key);
  const auto held = found == leased.end() ? 0 : found->second;
  if (held != 0) --side.uses[held];
  if (lease != 0) ++side.uses[lease];
  if (lease == held) return;
  if (lease != 0) {
    builder.put(leased_prefix(options.name) + key, std::to_string(lease));
  } else {
    builder.erase(leased_prefix(options.name) + key);
  }
  side.leased.emplace_back(key, lease);
}

void EtcdDatabase::Impl::add_granted(TxnBuilder& builder, std::uint64_t lease, SideTable& side) const {
  const auto told = announced.find(lease);
  if (told == announced.end() || granted.contains(lease)) return;
  builder.put(lease_key(lease), std::to_string(told->second));
  side.granted[lease] = told->second;
}

void EtcdDatabase::Impl::add_change(TxnBuilder& builder, const Change& change, SideTable& side) const {
  const auto copy = lease_of_copy(change.key);
  if (change.value) {
    builder.put(change.key, *change.value, copy);
  } else {
    builder.erase(change.key);
  }
  add_leased(builder, change.key, change.value && copy == 0 ? change.lease : 0, side);
}

/// Once all changes are in it: a transaction names each key once.
void EtcdDatabase::Impl::add_leases(TxnBuilder& builder, SideTable& side) const {
  for (const auto& [lease, more] : side.uses) {
    const auto before = uses.find(lease);
    const bool used = (before == uses.end() ? 0 : before->second) + more > 0;
    if (used) {
      add_granted(builder, lease, side);
    } else if (granted.contains(lease)) {
      builder.erase(lease_key(lease));
    }
  }
}

void EtcdDatabase::Impl::take_over(SideTable side) {
  granted.merge(side.granted);
  for (auto& [key, lease] : side.leased) {
    if (lease == 0) {
      leased.erase(key);
    } else {
      leased.insert_or_assign(std::move(key), lease);
    }
  }
  for (const auto& [lease, more] : side.uses) {
    auto& now = uses[lease];
    now += more;
    if (now > 0) continue;
    uses.erase(lease);
    granted.erase(lease);
  }
  const std::scoped_lock holding(mutex);
  lease_count = granted.size();
}

// --- groups
// -------------------------------------------------------------------------------------------------

MirrorError EtcdDatabase::Impl::too_large(const MirrorError& error, std::span<const Change> changes, Lsn lsn) const {
  if (changes.empty()) return error;
  const auto largest = std::ranges::max_element(changes, {}, change_bytes);
  return explain_too_large(error, largest->key, largest->value ? largest->value->size() : 0, lsn);
}

Result<void> EtcdDatabase::Impl::flush(std::vector<Change> changes, const Position& position) {
  if (changes.empty() && !record.split && would_echo(position)) {
    const std::scoped_lock holding(mutex);
    record.position = position;
    return {};
  }
  SideTable side;
  TxnBuilder builder;
  for (const auto& change : changes)
    add_change(builder, change, side);
  add_leases(builder, side);
  auto next = record;
  next.position = position;
  const bool ends_split = record.split && record.split->lsn <= position.applied_lsn;
  if (ends_split) next.split.reset();
  auto done = commit(std::move(builder), next);
  if (!done && is_too_large(done.error())) done = commit_alone(changes, std::move(next), side, done.error());
  if (!done) return too_large(done.error(), changes, position.applied_lsn);
  take_over(std::move(side));
  note_returned(changes);
  return ends_split ? notes.drop_split() : done;
}

// --- entries too large for one transaction
// -------------------------------------------------------------------------------------------------

/// What was written in part must come next.
Result<void> EtcdDatabase::Impl::check_split(const ApplyGroup& group) const {
  if (!record.split) return {};
  const auto diverged = [this] {
    return MirrorError(ErrorKind::HistoriesParted, CausedBy::peer,
                       fmt::format("the source does not have the entry at LSN {}, which this mirror has in part",
                                   record.split->lsn.value));
  };
  for (auto entries : group.entries) {
    while (!entries.empty()) {
      const auto entry = read_entry(entries);
      if (!entry) return entry.error();
      if (entry->lsn() <= record.position->applied_lsn) continue;
      const bool same = entry->lsn() == record.split->lsn && entry->hash() == record.split->hash;
      return same ? Result<void>{} : diverged();
    }
  }
  return group.position.applied_lsn < record.split->lsn ? Result<void>{} : diverged();
}

Result<void> EtcdDatabase::Impl::write_split(const EntryView& entry, std::vector<Change> changes,
                                             const Position& position) {
  {
    // Side keys of leases come on top: it may fit all the same.
    SideTable side;
    TxnBuilder whole;
    for (const auto& change : changes)
      add_change(whole, change, side);
    add_leases(whole, side);
    // A single one cannot be cut: the target takes it as it is, or it does not.
    if (fits({whole.size(), whole.bytes()}) || changes.size() == 1) return flush(std::move(changes), position);
  }
  Record::Split split{entry.lsn(), entry.hash(), base::random_id<SnapshotId>(), 0};
  if (record.split) {
    // Begun before: what a range was expanded to then stands in the file.
    auto kept = notes.read_split(*record.split);
    if (!kept) return kept.error();
    if (*kept) {
      changes = **std::move(kept);
      split = *record.split;
    }
  }
  if (split.done == 0) {
    if (auto written = notes.write_split(split, changes, *space); !written) return written;
  }
  return write_parts(split, changes, position);
}

Result<void> EtcdDatabase::Impl::write_parts(const Record::Split& split, const std::vector<Change>& changes,
                                             const Position& position) {
  auto done = split.done;
  while (done < changes.size()) {
    SideTable side;
    TxnBuilder builder;
    const auto first = done;
    for (; done < changes.size(); ++done) {
      auto weight = lease_weight(changes[done].key, changes[done].value ? changes[done].lease : 0);
      weight += {1, change_bytes(changes[done])};
      if (done > first && !fits(weight, {builder.size(), builder.bytes()})) break;
      add_change(builder, changes[done], side);
    }
    add_leases(builder, side);
    auto next = record;
    next.split = split;
    next.split->done = done;
    if (done == changes.size()) {
      next.split.reset();
      next.position = position;
    }
    auto written = commit(std::move(builder), next);
    const auto part = std::span(changes).subspan(first, done - first);
    if (!written && is_too_large(written.error())) written = commit_alone(part, std::move(next), side, written.error());
    if (!written) {
      return too_large(written.error(), part, split.lsn);
    }
    take_over(std::move(side));
    if (first == 0 && done < changes.size()) {
      const std::scoped_lock holding(mutex);
      ++counted.split_revisions;
    }
  }
  return notes.drop_split();
}

// --- position, leases, what is received
// -------------------------------------------------------------------------------------------------

Result<void> EtcdDatabase::step_back(Lsn from) {
  const std::scoped_lock writing(impl_->write_mutex);
  if (auto follows = impl_->check_follows(); !follows) return follows;
  if (auto owned = impl_->ensure_owned(false); !owned) return owned;
  if (!impl_->record.position) return MirrorError::configuration("there is no position to step back from");
  auto next = impl_->record;
  if (next.position->origin_lsn == next.position->applied_lsn) next.position->origin_lsn = from;  // a direct mirror
  next.position->applied_lsn = from;
  impl_->expect_again();
  return impl_->commit({}, std::move(next));
}

Result<Lsn> EtcdDatabase::sync() {
  const std::scoped_lock writing(impl_->write_mutex);
  if (impl_->root) return impl_->state().head;
  if (impl_->record.role == DatabaseRole::mirror) {
    const auto owned = impl_->ensure_owned(true);
    if (!owned && owned.error().kind() != ErrorKind::MirrorPromoted) return owned.error();
    if (owned) {
      if (auto back = impl_->take_back_promotion(); !back) return back.error();
    }
  }
  if (impl_->record.role == DatabaseRole::promoted) {
    if (auto begun = impl_->begin_promoted(); !begun) return begun.error();
  }
  return impl_->record.position ? impl_->record.position->applied_lsn : Lsn{};
}

Result<void> EtcdDatabase::note_leases(std::span<const LeaseGrant> leases) {
  const std::scoped_lock writing(impl_->write_mutex);
  if (impl_->announced.size() + leases.size() > announced_max) impl_->announced.clear();
  for (const auto& grant : leases)
    impl_->announced.insert_or_assign(grant.lease, grant.ttl_s);
  if (!impl_->partial.partial()) return {};
  return impl_->partial.note_leases(leases);
}

Result<void> EtcdDatabase::note_consistent(Lsn lsn) {
  const std::scoped_lock writing(impl_->write_mutex);
  impl_->received_consistent_lsn = lsn;
  return {};
}

Result<void> EtcdDatabase::begin_snapshot(const SnapshotFacts& facts) {
  const std::scoped_lock writing(impl_->write_mutex);
  if (auto follows = impl_->check_follows(); !follows) return follows;
  if (facts.format != kv_format)
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer, "a mirror in etcd reads kv snapshots only");
  // A snapshot may take hours to come, and would be for nothing.
  const auto found = impl_->look();
  if (!found) return found.error();
  if (auto promoted = impl_->check_promoted(*found); !promoted) return promoted;
  if (auto good = impl_->check_prefixes(facts); !good) return good;
  if (!impl_->options.prefix && facts.key_prefix.empty()) return Impl::no_common_prefix();
  if (auto good = impl_->check_source(facts); !good) return good;
  if (auto good = impl_->check_neighbours(impl_->options.prefix.value_or(facts.key_prefix)); !good) return good;
  auto begun = impl_->partial.begin(facts);
  const std::scoped_lock holding(impl_->mutex);
  impl_->shown_partial = impl_->partial.partial();
  return begun;
}

Result<void> EtcdDatabase::store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) {
  const std::scoped_lock writing(impl_->write_mutex);
  if (auto stored = impl_->partial.store(chunk, bytes); !stored) return stored;
  const std::scoped_lock holding(impl_->mutex);
  impl_->shown_partial->chunks.push_back(chunk);
  return {};
}

Result<SnapshotCheck> EtcdDatabase::check_snapshot() {
  const std::scoped_lock writing(impl_->write_mutex);
  auto checked = impl_->partial.check();
  const std::scoped_lock holding(impl_->mutex);
  impl_->shown_partial = impl_->partial.partial();
  return checked;
}

Result<void> EtcdDatabase::drop_snapshot() {
  const std::scoped_lock writing(impl_->write_mutex);
  auto dropped = impl_->partial.drop();
  const std::scoped_lock holding(impl_->mutex);
  impl_->shown_partial = impl_->partial.partial();
  return dropped;
}

Result<void> EtcdDatabase::switch_snapshot() {
  const std::scoped_lock writing(impl_->write_mutex);
  return impl_->switch_received();
}

Result<PromotedFrom> EtcdDatabase::promote(const std::string& source_cluster, const std::string& source_database) {
  const std::scoped_lock writing(impl_->write_mutex);
  return impl_->promote(source_cluster, source_database);
}

}  // namespace crosslink
