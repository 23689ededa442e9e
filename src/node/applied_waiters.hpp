// Who waits until mirrors have applied an LSN (WAIT).
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "crosslink/types.hpp"
#include "link/signal.hpp"

namespace crosslink::node {

/// Thread safe. A waiter is woken by what concerns it only: with thousands of them each word of a mirror wakes few.
class AppliedWaiters {
 public:
  /// `signal` is notified each time a mirror has applied `lsn`, and by wake_all(), until what is returned goes. The
  /// signal must outlive that; it need not outlive this.
  static std::shared_ptr<void> add(const std::shared_ptr<AppliedWaiters>& self, Lsn lsn, link::Signal& signal) {
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
  std::multimap<Lsn, link::Signal*> by_lsn_;
};

}  // namespace crosslink::node
