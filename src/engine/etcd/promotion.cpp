// A mirror becomes a database of its own: a split entry is finished, leases are granted, and the record says so last.
// Every step can be done again.
#include <fmt/format.h>

#include <utility>

#include "engine/etcd/etcd_impl.hpp"

namespace crosslink {

using namespace etcd;

namespace {

/// Each takes an operation on the first level and one below it.
constexpr std::size_t keys_at_once = 40;

/// Binds the key to the lease as it is, if it is there.
wire::RequestOperation bind(const std::string& key, std::int64_t lease) {
  wire::RequestOperation operation;
  auto& txn = *operation.mutable_txn();
  auto& compare = *txn.add_compare();
  compare.set_relation(wire::Compare::GREATER);
  compare.set_target(wire::Compare::VERSION);
  compare.set_key(key);
  compare.set_version(0);
  auto& put = *txn.add_success()->mutable_put();
  put.set_key(key);
  put.set_ignore_value(true);
  put.set_lease(lease);
  return operation;
}

}  // namespace

Result<void> EtcdDatabase::Impl::finish_split() {
  if (!record.split) return {};
  const auto split = *record.split;
  const auto changes = load_split(split);
  if (!changes) return changes.error();
  if (!*changes) {
    return MirrorError::configuration(fmt::format(
        "the entry at LSN {} is written in part, and the whole of it is with the node that began it", split.lsn.value));
  }
  auto position = *record.position;
  if (position.origin_lsn == position.applied_lsn) position.origin_lsn = split.lsn;  // a direct mirror
  position.applied_lsn = split.lsn;
  position.last_entry = {split.lsn, split.hash};
  return write_parts(split, **changes, position);
}

Result<void> EtcdDatabase::Impl::grant_leases() {
  std::map<std::uint64_t, std::vector<std::string>> keys_of;
  for (const auto& [key, lease] : leased) {
    if (granted.contains(lease)) keys_of[lease].push_back(key);
  }
  for (const auto& [lease, bound] : keys_of) {
    // Under its old number if it is free, so that whoever kept it alive can go on doing so; one that is there already
    // is of an attempt before this one.
    wire::LeaseGrantRequest wanted;
    wanted.set_id(static_cast<std::int64_t>(lease));
    wanted.set_ttl_s(static_cast<std::int64_t>(granted[lease]));
    const auto made = client->grant(wanted);
    const auto there = made ? Result<wire::LeaseTimeToLiveResponse>(wire::LeaseTimeToLiveResponse())
                            : client->time_to_live(static_cast<std::int64_t>(lease));
    if (!made && (!there || there->ttl_s() <= 0)) return made.error();
    for (std::size_t at = 0; at < bound.size(); at += keys_at_once) {
      std::vector<wire::RequestOperation> beside;
      SideTable side;
      for (auto i = at; i < std::min(bound.size(), at + keys_at_once); ++i) {
        beside.push_back(bind(bound[i], static_cast<std::int64_t>(lease)));
        beside.push_back(erase_operation(leased_prefix(options.name) + bound[i]));
        side.leased.emplace_back(bound[i], 0);
      }
      may_take_back = false;
      if (auto done = commit({}, record, std::move(beside)); !done) return done;
      take_over(std::move(side));
    }
  }
  return {};
}

/// Of a promotion that was given up. Keys that are bound to leases would go with these while it follows on.
Result<void> EtcdDatabase::Impl::take_back_promotion() {
  if (!record.promoting) return {};
  if (!may_take_back) {
    return MirrorError(
        ErrorKind::UnsupportedOperation, CausedBy::us,
        "its promotion has begun to bind keys to leases, or another process began it: it can only be finished, "
        "by promote");
  }
  auto back = record;
  back.promoting = false;
  back.promoted_from.reset();
  return commit({}, std::move(back));
}

Result<PromotedFrom> EtcdDatabase::Impl::promote(const std::string& source_cluster,
                                                 const std::string& source_database) {
  if (root) return MirrorError::configuration("a root is no mirror");
  if (record.role == DatabaseRole::promoted) return *record.promoted_from;
  if (!record.position) return MirrorError::configuration("there is no mirrored data to promote");
  if (auto owned = ensure_owned(false); !owned) return owned.error();
  if (auto finished = finish_split(); !finished) return finished.error();
  if (!record.promoting) {
    auto begun = record;
    begun.promoting = true;
    begun.bootstrapping = false;  // its caller knows what the data is then
    begun.promoted_from = PromotedFrom{source_cluster, source_database, *record.position};
    // Also when the outcome is not known: no key is bound before it is.
    may_take_back = true;
    if (auto marked = commit({}, std::move(begun)); !marked) return marked.error();
  }
  if (auto bound = grant_leases(); !bound) return bound.error();
  auto next = record;
  next.promoting = false;
  next.role = DatabaseRole::promoted;
  if (auto done = commit({}, std::move(next),
                         {erase_below(leases_prefix(options.name)), erase_below(leased_prefix(options.name))});
      !done) {
    return done.error();
  }
  release();
  if (auto dropped = partial.drop(); !dropped) return dropped.error();
  if (auto started = start_tail(); !started) return started.error();
  const std::scoped_lock holding(mutex);
  shown_partial.reset();
  return *record.promoted_from;
}

}  // namespace crosslink
