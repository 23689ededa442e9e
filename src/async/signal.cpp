#include "async/signal.hpp"

namespace crosslink::async {

awaitable<bool> Signal::wait(Heard& heard) {
  for (;;) {
    std::unique_lock lock(mutex_);
    if (heard != said_) {
      heard = said_;
      co_return true;
    }
    const bool woken = co_await waiters_.wait(std::move(lock));
    if (!woken) co_return false;
  }
}

}  // namespace crosslink::async
