// "Stop", said once from any thread and heard by every coroutine that waits for it.
#pragma once

#include <mutex>

#include "async/waiter.hpp"
#include "async/with_timeout.hpp"

namespace crosslink::async {

class StopEvent {
 public:
  void set() {
    const std::scoped_lock lock(mutex_);
    set_ = true;
    waiters_.notify_all();
  }

  bool is_set() const {
    const std::scoped_lock lock(mutex_);
    return set_;
  }

  /// True once set; false when cancelled.
  awaitable<bool> wait();

 private:
  mutable std::mutex mutex_;
  bool set_ = false;
  WaitList waiters_;
};

/// For interruptible: ends with `error` once the event is set. The event must outlive the wait.
Interruption when_set(StopEvent& event, MirrorError error);

}  // namespace crosslink::async
