// A mirror becomes a database of its own: a split entry is finished, leases are granted, and the record says so last.
// Every step can be done again.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "base/random_id.hpp"
#include "engine/etcd/etcd_impl.hpp"

namespace crosslink {

using namespace etcd;

namespace {

/// A transaction of the record and so many others, each of so many that bind a key: 3,600 keys.
constexpr std::size_t bound_on_level = 60;
/// Of what binds a key, beside the key, which it names twice.
constexpr std::size_t bind_bytes = 64;
/// As etcd has it.
constexpr std::uint64_t ttl_s_max = 9'000'000'000;
constexpr std::size_t asked_at_once = 16, keys_looked_for = 100;
/// Those that are not ended by then end by themselves: no key is bound to them.
constexpr std::chrono::seconds leases_ended_within(5);

/// Binds the key to the lease (0: to none) as it is, if it is there.
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

/// The number under which a promotion grants a lease of the source anew: of 63 bits that no other client could draw.
std::int64_t own_lease(const SnapshotId& seed, std::uint64_t lease) {
  PairDigest digest;
  digest.add(base::text_of(seed.bytes), std::to_string(lease));
  const auto hash = digest.digest();
  std::uint64_t number = 0;
  for (const auto byte : std::span(hash.bytes).first(sizeof number))
    number = (number << 8) | std::to_integer<std::uint64_t>(byte);
  return static_cast<std::int64_t>((number >> 1) | 1);  // 0 would leave the choice to the server
}

/// Calls `work` with each number below `count`, several at once, until one fails.
template <class Work>
Result<void> at_once(std::size_t count, const Work& work) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::optional<MirrorError> failed;
  {
    std::vector<std::jthread> threads;
    threads.reserve(std::min(count, asked_at_once));
    for (std::size_t i = 0; i < std::min(count, asked_at_once); ++i) {
      threads.emplace_back([&] {
        for (std::size_t at = next++; at < count; at = next++) {
          Result<void> done = work(at);
          if (done) continue;
          next = count;
          const std::scoped_lock lock(mutex);
          if (!failed) failed = done.error();
        }
      });
    }
  }
  return failed ? Result<void>(*failed) : Result<void>{};
}

}  // namespace

Result<void> EtcdDatabase::Impl::finish_split() {
  if (!record.split) return {};
  const auto split = *record.split;
  const auto changes = notes.read_split(split);
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

/// The keys that have leases at the source, to those of the promotion, or without a seed to none.
Result<void> EtcdDatabase::Impl::bind_keys(const SnapshotId* seed) {
  std::vector<wire::RequestOperation> groups;
  std::size_t bytes = 0;
  const auto flush = [&] {
    bytes = 0;
    return groups.empty() ? Result<void>{} : commit({}, record, std::exchange(groups, {}));
  };
  const auto last_is_full = [&] { return groups.back().txn().success_size() == static_cast<int>(bound_on_level); };
  for (const auto& [key, lease] : leased) {
    if (!granted.contains(lease)) continue;
    const auto more = 2 * key.size() + bind_bytes;
    const bool full = bytes + more > txn_bytes_max || (groups.size() == bound_on_level && last_is_full());
    if (full) {
      if (auto done = flush(); !done) return done;
    }
    if (groups.empty() || last_is_full()) groups.emplace_back();
    *groups.back().mutable_txn()->add_success() = bind(key, seed == nullptr ? 0 : own_lease(*seed, lease));
    bytes += more;
  }
  return flush();
}

/// Precondition: the record says from what their numbers come. Again: those that are there already are of an attempt
/// before this one.
Result<void> EtcdDatabase::Impl::grant_leases() {
  if (!lease_keeper) lease_keeper = std::make_unique<LeaseKeeper>(client);
  lease_keeper->extend();
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> wanted(granted.begin(), granted.end());
  auto given = at_once(wanted.size(), [&](std::size_t at) -> Result<void> {
    wire::LeaseGrantRequest request;
    request.set_id(own_lease(*record.lease_seed, wanted[at].first));
    request.set_ttl_s(static_cast<std::int64_t>(std::min(wanted[at].second, ttl_s_max)));
    const auto made = client->grant(request);
    if (!made) {
      const auto there = client->time_to_live(request.id());
      if (!there || there->ttl_s() <= 0) return made.error();
    }
    lease_keeper->add(request.id(), std::chrono::seconds(made ? made->ttl_s() : request.ttl_s()));
    return {};
  });
  return given ? bind_keys(&*record.lease_seed) : given;
}

/// Are all keys there that a promotion may have bound to leases?
Result<bool> EtcdDatabase::Impl::has_leased_keys() {
  wire::TxnRequest request;
  std::size_t asked = 0;
  const auto all_there = [&]() -> Result<bool> {
    if (request.success_size() == 0) return true;
    const auto read = client->read_together(request);
    if (!read) return read.error();
    request.Clear();
    asked += static_cast<std::size_t>(read->responses_size());
    return std::ranges::all_of(read->responses(), [](const auto& one) { return one.range().count() > 0; });
  };
  for (const auto& [key, lease] : leased) {
    auto& range = *request.add_success()->mutable_range();
    range.set_key(key);
    range.set_count_only(true);
    if (request.success_size() < static_cast<int>(keys_looked_for)) continue;
    auto there = all_there();
    if (!there || !*there) return there;
  }
  auto there = all_there();
  if (there && *there && asked != leased.size()) return storage_error("a transaction was answered with something else");
  return there;
}

/// Of a promotion that was given up, here or by a process before this one. No lease may take a key from a mirror; where
/// one did already, the mirror bootstraps anew.
Result<void> EtcdDatabase::Impl::take_back_promotion() {
  lease_keeper.reset();
  if (!record.promoting) return {};
  auto back = record;
  if (auto unbound = bind_keys(nullptr); !unbound) return unbound;
  const auto there = has_leased_keys();
  if (!there) return there.error();
  back.bootstrapping = back.bootstrapping || !*there;
  if (record.lease_seed) {
    const auto until = std::chrono::steady_clock::now() + leases_ended_within;
    const std::vector<std::pair<std::uint64_t, std::uint64_t>> given(granted.begin(), granted.end());
    static_cast<void>(at_once(given.size(), [&](std::size_t at) -> Result<void> {
      if (std::chrono::steady_clock::now() > until) return storage_error("it takes long");
      static_cast<void>(client->revoke(own_lease(*record.lease_seed, given[at].first)));  // it may never have been
      return {};
    }));
  }
  back.promoting = false;
  back.lease_seed.reset();
  back.promoted_from.reset();
  return commit({}, std::move(back));
}

Result<PromotedFrom> EtcdDatabase::Impl::promote(const std::string& source_cluster,
                                                 const std::string& source_database) {
  if (root) return MirrorError::configuration("a root is no mirror");
  if (record.role == DatabaseRole::promoted) {
    // Its log may not have been begun: the record said it before.
    if (auto begun = begin_promoted(); !begun) return begun.error();
    return *record.promoted_from;
  }
  if (!record.position) return MirrorError::configuration("there is no mirrored data to promote");
  look_first = true;  // the target may have been restored since we last wrote
  if (auto owned = ensure_owned(false); !owned) return owned.error();
  if (!record.position) return MirrorError::configuration("there is no mirrored data to promote");
  if (auto finished = finish_split(); !finished) return finished.error();
  end_loop_look();
  if (!record.promoting || !record.lease_seed) {
    auto begun = record;
    begun.promoting = true;
    begun.lease_seed = base::random_id<SnapshotId>();
    begun.promoted_from = PromotedFrom{source_cluster, source_database, *record.position};
    if (auto marked = commit({}, std::move(begun)); !marked) return marked.error();
  }
  if (auto bound = grant_leases(); !bound) return bound.error();
  auto next = record;
  next.promoting = false;
  next.lease_seed.reset();
  next.bootstrapping = false;  // its caller knows what the data is then
  next.role = DatabaseRole::promoted;
  if (auto done = commit({}, std::move(next),
                         {erase_below(leases_prefix(options.name)), erase_below(leased_prefix(options.name))});
      !done) {
    return done.error();
  }
  lease_keeper->renew_all();
  release();
  if (auto begun = begin_promoted(); !begun) return begun.error();
  return *record.promoted_from;
}

}  // namespace crosslink
