#include "async/stop_event.hpp"

namespace crosslink::async {

awaitable<bool> StopEvent::wait() {
  for (;;) {
    std::unique_lock lock(mutex_);
    if (set_) co_return true;
    const bool woken = co_await waiters_.wait(std::move(lock));
    if (!woken) co_return false;
  }
}

Interruption when_set(StopEvent& event, MirrorError error) {
  const bool stopped = co_await event.wait();
  if (stopped) co_return error;
  co_return std::nullopt;
}

}  // namespace crosslink::async
