// One command at a time: who comes while another runs waits for its end, in order.
#pragma once

#include <deque>
#include <memory>

#include "crosslink/awaitable.hpp"
#include "link/signal.hpp"

namespace crosslink::node {

/// On one thread. Waiting is not cancelled: what waits are commands of operators, few and short.
class CommandTurn {
 public:
  /// Held until it goes.
  using Held = std::shared_ptr<void>;

  awaitable<Held> take() {
    const auto mine = ++last_;
    link::Signal::Heard heard = 0;
    while (mine != now_) {
      // Cancelled: the command is begun all the same once it is its turn.
      const bool woken = co_await freed_.wait(heard);
      if (woken) continue;
      co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
    }
    co_return Held(nullptr, [this](void*) {
      ++now_;
      freed_.notify();
    });
  }

 private:
  std::uint64_t last_ = 0, now_ = 1;
  link::Signal freed_;
};

}  // namespace crosslink::node
