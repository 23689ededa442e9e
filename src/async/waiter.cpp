#include "async/waiter.hpp"

#include <algorithm>
#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <utility>

namespace crosslink::async {

class WaitList::Node {
 public:
  template <class Handler>
  explicit Node(Handler handler)
      : executor_(boost::asio::prefer(boost::asio::any_io_executor(boost::asio::get_associated_executor(handler)),
                                      boost::asio::execution::outstanding_work.tracked)),
        handler_(std::move(handler)) {}

  bool completed() const { return completed_.load(std::memory_order_acquire); }

  void complete(bool woken) {
    if (completed_.exchange(true, std::memory_order_acq_rel)) {
      return;
    }
    auto executor = std::move(executor_);
    boost::asio::post(executor, [handler = std::move(handler_), woken]() mutable { handler(woken); });
  }

 private:
  std::atomic<bool> completed_{false};
  boost::asio::any_io_executor executor_;
  std::move_only_function<void(bool)> handler_;
};

boost::asio::awaitable<bool> WaitList::wait(std::unique_lock<std::mutex> lock) {
  // A cancellation that came while the coroutine was on its way between two waits must not be lost.
  const auto cancellation = co_await boost::asio::this_coro::cancellation_state;
  if (cancellation.cancelled() != boost::asio::cancellation_type::none) co_return false;
  auto initiation = [this, &lock](auto handler) {
    // Taken out of the coroutine: from the moment it is released, another thread may end the coroutine and what is in
    // it.
    const auto held = std::move(lock);
    auto slot = boost::asio::get_associated_cancellation_slot(handler);
    auto node = std::make_shared<Node>(std::move(handler));
    if (slot.is_connected()) {
      slot.assign([node](boost::asio::cancellation_type) { node->complete(false); });
    }
    std::erase_if(nodes_, [](const auto& waiting) { return waiting->completed(); });
    nodes_.push_back(std::move(node));
  };
  co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(bool)>(
      initiation, boost::asio::use_awaitable);
}

void WaitList::notify_all() {
  for (auto& node : std::exchange(nodes_, {})) {
    node->complete(true);
  }
}

}  // namespace crosslink::async
