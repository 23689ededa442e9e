// Who waits until mirrors have applied an LSN (WAIT).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "async/signal.hpp"
#include "crosslink/database_source.hpp"
#include "crosslink/types.hpp"
#include "session/mistakes.hpp"
#include "session/sync_rule.hpp"

namespace crosslink::node {

/// How many mirrors have applied `commit`, of a database whose history and head are these; at LSN 0: how many there are.
/// A mirror that dialed again may still have its old session: it counts once.
inline std::size_t mirrors_that_applied(std::span<const ServedMirrorFacts> sessions, const History& history, Lsn head,
                                        const core::SyncPoint& commit) {
  std::set<std::pair<std::string, MirrorIdentity>> applied;
  std::size_t counted = 0;
  for (const auto& session : sessions) {
    const bool has =
        commit.lsn == Lsn{} || core::has_commit(history, head, {session.incarnation, session.applied}, commit);
    if (!has) continue;
    const bool fresh = applied.emplace(session.peer_names.front(), session.mirror).second;
    if (fresh || makes(core::Mistake::sessions_counted)) ++counted;
  }
  return counted;
}

/// Thread safe. A waiter is woken by what concerns it only: with thousands of them each word of a mirror wakes few.
class AppliedWaiters {
 public:
  /// `signal` is notified each time a mirror has applied `lsn`, and by wake_all(), until what is returned goes. The
  /// signal must outlive that; it need not outlive this.
  static std::shared_ptr<void> add(const std::shared_ptr<AppliedWaiters>& self, Lsn lsn, async::Signal& signal) {
    const std::scoped_lock lock(self->mutex_);
    const auto place = self->by_lsn_.emplace(lsn, &signal);
    return std::shared_ptr<void>(nullptr, [self, place](void*) {
      const std::scoped_lock removing(self->mutex_);
      self->by_lsn_.erase(place);
    });
  }
  void on_applied(Lsn applied) {
    const std::scoped_lock lock(mutex_);
    for (auto one = by_lsn_.begin(); one != by_lsn_.end() && one->first <= applied; ++one)
      one->second->notify();
  }
  void wake_all() {
    const std::scoped_lock lock(mutex_);
    for (const auto& [lsn, signal] : by_lsn_)
      signal->notify();
  }

 private:
  std::mutex mutex_;
  std::multimap<Lsn, async::Signal*> by_lsn_;
};

}  // namespace crosslink::node
