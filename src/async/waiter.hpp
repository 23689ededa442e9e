// Waiting in a coroutine for something another thread says, without a strand.
//
// The transport's callbacks run on its own threads; coroutines run wherever their owner put them. A WaitList lives
// beside the state it watches and is guarded by that state's mutex. Waking posts to the waiting coroutine's executor,
// so a callback never runs user code.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <mutex>
#include <vector>

namespace crosslink::async {

class WaitList {
 public:
  /// Suspends until notify_all (true) or cancellation (false). `lock` must hold the mutex that guards this list; it is
  /// released once the wait stands and is not held on return. Check the condition again after waking: another coroutine
  /// may have been faster.
  boost::asio::awaitable<bool> wait(std::unique_lock<std::mutex> lock);

  /// With the guarding mutex held.
  void notify_all();

  bool empty() const { return nodes_.empty(); }

 private:
  class Node;
  std::vector<std::shared_ptr<Node>> nodes_;
};

}  // namespace crosslink::async
