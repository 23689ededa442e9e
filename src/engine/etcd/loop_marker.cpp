// Finds a mirror whose own writes come back to it from its source although the names do not show it: behind a proxy that
// adds a prefix, or where other mirrors, crosslink's or not, bring them there. A key that only we can have written tells.
#include "engine/etcd/loop_marker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/random_id.hpp"
#include "engine/etcd/etcd_impl.hpp"
#include "engine/etcd/identity.hpp"

namespace crosslink {

using namespace etcd;

namespace etcd {
namespace {

constexpr std::string_view marker_name = "crosslink-loop-";
constexpr std::size_t id_digits = 32;
constexpr std::uint64_t patience_below = 12;
constexpr std::size_t remembered_writes = 2048;
/// A slot that is newer is kept, or more keys than slots would drive one another out before any comes back.
constexpr std::chrono::minutes remembered_for(1);

}  // namespace

std::string new_loop_marker() { return std::string(marker_name) + to_string(base::random_id<SnapshotId>()); }

std::uint64_t drawn_patience() {
  return std::to_integer<std::uint64_t>(base::random_id<SnapshotId>().bytes[0]) % patience_below;
}

bool is_loop_marker(std::string_view key) {
  constexpr auto size = marker_name.size() + id_digits;
  if (key.size() < size || !key.substr(key.size() - size).starts_with(marker_name)) return false;
  return key.substr(key.size() - id_digits).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool ReturnedWrites::note(std::string_view key, std::string_view value, std::chrono::steady_clock::time_point now) {
  if (slots_.empty()) slots_.resize(remembered_writes);
  const Slot here{std::hash<std::string_view>()(key), std::hash<std::string_view>()(value), now};
  auto& slot = slots_[here.key % slots_.size()];
  const bool same_key = slot.key == here.key;
  const bool returned = same_key && slot.value == here.value;
  if (same_key || now - slot.at > remembered_for) slot = here;
  return returned;
}

}  // namespace etcd

namespace {

/// It stands for so long: longer than a mirror on the way takes to apply what it has received, which would otherwise
/// fold the key and its deletion into nothing.
constexpr std::chrono::seconds marker_stands(30);
/// When its owner is killed.
constexpr std::int64_t marker_lease_s = 60;
/// Clients write the same value twice, too: it takes a few, and of a source that does so always it is asked ever more
/// rarely.
constexpr std::uint64_t returned_min = 4;
constexpr std::chrono::hours look_again_after_max(24);
constexpr std::size_t copies_max = 64;

}  // namespace

/// The source's data may have been this etcd's, though it came through other databases.
bool EtcdDatabase::Impl::may_come_through_others(const Position& position) const {
  const bool overlap = keys.prefix.starts_with(keys.offered_prefix) || keys.offered_prefix.starts_with(keys.prefix);
  return position.origin != position.incarnation && overlap && may_be_in(position.origin, client->cluster_id());
}

/// Where the source may be in this very etcd it has every revision, and a moment is enough.
Result<void> EtcdDatabase::Impl::show_loop_marker() {
  std::int64_t lease = 0;
  {
    const std::scoped_lock holding(mutex);
    lease = ownership.lease;
  }
  TxnBuilder put, erase;
  put.put(keys.prefix + loop_marker, "", lease);
  if (auto done = commit(std::move(put), record); !done) return done;
  erase.erase(keys.prefix + loop_marker);
  return commit(std::move(erase), record);
}

Result<void> EtcdDatabase::Impl::leave_loop_marker() {
  wire::LeaseGrantRequest wanted;
  wanted.set_ttl_s(marker_lease_s);
  const auto lease = client->grant(wanted);
  if (!lease) return lease.error();
  TxnBuilder put;
  put.put(keys.prefix + loop_marker, "", lease->id());
  auto done = commit(std::move(put), record);
  if (!done) {
    static_cast<void>(client->revoke(lease->id()));  // it ends by itself, else
    return done;
  }
  loop_look.lease = lease->id();
  loop_look.until = std::chrono::steady_clock::now() + marker_stands;
  return done;
}

/// Once for each process that owns the mirror, after each bootstrap, and when the source gives again what was written.
Result<void> EtcdDatabase::Impl::look_for_loop(const Position& position) {
  const bool in_this_etcd = may_be_in(position.incarnation, client->cluster_id());
  if (!loop_look.begun && loop_look.lease == 0) {
    const bool through_others = may_come_through_others(position);
    // A promoted database is its own root from there on, and may be followed back to where its data began; a mirror
    // counts otherwise than its root, but for a moment by chance.
    const bool promoted = position.origin_lsn == position.applied_lsn;
    auto begun = in_this_etcd ? show_loop_marker() : through_others && !promoted ? leave_loop_marker() : Result<void>{};
    if (!begun) return begun;
    loop_look.begun = in_this_etcd || !through_others || !promoted;
  }
  const auto now = std::chrono::steady_clock::now();
  // One that another mirror looks by is on the way.
  if (loop_look.returned < returned_min + loop_look.patience || loop_look.lease != 0 || now < loop_look.next) return {};
  auto left = leave_loop_marker();
  if (!left) return left;
  loop_look.returned = 0;
  loop_look.next = now + loop_look.pause;
  loop_look.pause = std::min<std::chrono::minutes>(2 * loop_look.pause, look_again_after_max);
  return left;
}

void EtcdDatabase::Impl::note_returned(std::span<const Change> changes) {
  const auto now = std::chrono::steady_clock::now();
  for (const auto& change : changes) {
    if (is_loop_marker(change.key)) {
      loop_look.next = std::max(loop_look.next, now + marker_stands);
      if (!change.value) {
        loop_look.copies.erase(change.key);
      } else if (loop_look.copies.size() < copies_max) {
        loop_look.copies.insert(change.key);
      }
    } else if (change.value && loop_look.written.note(change.key, *change.value, now)) {
      ++loop_look.returned;
    }
  }
}

void EtcdDatabase::Impl::expect_again() {
  loop_look.written = {};
  loop_look.returned = 0;
}

bool EtcdDatabase::Impl::is_own_loop_marker(std::string_view offered_key) const {
  return offered_key.ends_with(loop_marker);
}

/// A mirror that halts deletes the copies of others' markers, for whose deletion it does not wait. Its own counts no
/// longer: a loop that was mended meanwhile is none after a resume, although the source's log still has this one.
MirrorError EtcdDatabase::Impl::found_loop() {
  end_loop_look(loop_look.copies);
  {
    const std::scoped_lock holding(mutex);
    loop_marker = new_loop_marker();
  }
  loop_look = LoopLook();
  return {ErrorKind::UnsupportedOperation, CausedBy::us,
          fmt::format("what this mirror writes below \"{}\" comes back to it from its source, as new writes without "
                      "end: it is kept over its source's own keys, in the same etcd cluster under other names, or "
                      "other mirrors bring them from here to its source; delete this mirror, or choose another "
                      "cluster, or a prefix that has no key in common with it",
                      escape(keys.prefix, 200))};
}

void EtcdDatabase::Impl::end_loop_look(const std::set<std::string>& copies) {
  const auto lease = std::exchange(loop_look.lease, 0);
  if (lease == 0 && copies.empty()) return;
  bool owned = false;
  {
    const std::scoped_lock holding(mutex);
    owned = ownership.owned && std::chrono::steady_clock::now() < ownership.until;
  }
  // With the record in one revision, so that mirrors of this mirror hear of it while nothing else is written.
  if (owned && !uncertain && record.role == DatabaseRole::mirror) {
    TxnBuilder erase;
    if (lease != 0) erase.erase(keys.prefix + loop_marker);
    for (const auto& copy : copies)
      erase.erase(copy);
    static_cast<void>(commit(std::move(erase), record));
  }
  if (lease != 0) static_cast<void>(client->revoke(lease));  // it ends by itself, else
}

void EtcdDatabase::Impl::end_late_loop_look() {
  const std::unique_lock writing(write_mutex, std::try_to_lock);
  if (writing && loop_look.lease != 0 && std::chrono::steady_clock::now() > loop_look.until) end_loop_look();
}

std::int64_t EtcdDatabase::Impl::lease_of_copy(std::string_view key) const {
  if (!is_loop_marker(key)) return 0;
  const std::scoped_lock holding(mutex);
  return ownership.lease;
}

}  // namespace crosslink
