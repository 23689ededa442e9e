// Coroutines that run beside their owner, which awaits their ends.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <memory>

#include "crosslink/awaitable.hpp"

namespace crosslink::async {

/// All members and all children run on one executor: a strand or a single thread.
class TaskGroup {
 public:
  explicit TaskGroup(boost::asio::any_io_executor executor);

  /// Starts a child. It sees cancellation as errors. What it throws comes out of drain().
  void spawn(awaitable<void> child);
  /// Cancels the children that run now.
  void cancel();
  std::size_t running() const;
  /// Waits until fewer than `count` children run, or until any ended child made that true. False when cancelled.
  awaitable<bool> wait_below(std::size_t count);
  /// Waits until none runs, also while the awaiting coroutine is being cancelled. Needs throw_if_cancelled(false).
  awaitable<void> drain();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace crosslink::async
