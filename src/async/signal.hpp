// "Something has changed", said from any thread, heard by each coroutine that waits.
#pragma once

#include <cstdint>
#include <mutex>

#include "async/waiter.hpp"
#include "crosslink/awaitable.hpp"

namespace crosslink::async {

/// Each listener keeps a count of its own of what it has heard, so that none takes a change from another.
class Signal {
 public:
  using Heard = std::uint64_t;

  void notify() {
    const std::scoped_lock lock(mutex_);
    ++said_;
    waiters_.notify_all();
  }
  /// Until something was said that `heard` (0 at first) does not count yet. False when cancelled.
  awaitable<bool> wait(Heard& heard);

 private:
  std::mutex mutex_;
  std::uint64_t said_ = 0;
  WaitList waiters_;
};

}  // namespace crosslink::async
