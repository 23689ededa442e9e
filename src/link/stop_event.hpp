// "Stop", said once from any thread and heard by every coroutine that waits for it.
#pragma once

#include <mutex>

#include "link/with_timeout.hpp"
#include "quic/waiter.hpp"

namespace crosslink::link {

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
  awaitable<bool> wait() {
    for (;;) {
      std::unique_lock lock(mutex_);
      if (set_) co_return true;
      const bool woken = co_await waiters_.wait(std::move(lock));
      if (!woken) co_return false;
    }
  }

 private:
  mutable std::mutex mutex_;
  bool set_ = false;
  quic::detail::WaitList waiters_;
};

/// For interruptible: ends with `error` once the event is set. The event must outlive the wait.
inline Interruption when_set(StopEvent& event, MirrorError error) {
  const bool stopped = co_await event.wait();
  if (stopped) co_return error;
  co_return std::nullopt;
}

}  // namespace crosslink::link
