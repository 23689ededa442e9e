#include "async/task_group.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <exception>
#include <functional>
#include <list>
#include <mutex>
#include <utility>

#include "async/strand.hpp"
#include "async/waiter.hpp"

namespace crosslink::async {

struct TaskGroup::State {
  explicit State(boost::asio::any_io_executor chosen) : executor(std::move(chosen)) {}
  const boost::asio::any_io_executor executor;
  std::mutex mutex;  // WaitList asks for one; it is never contended
  std::list<boost::asio::cancellation_signal> children;
  std::exception_ptr failure;
  WaitList waiters;
  std::move_only_function<void()> drained;
};

TaskGroup::TaskGroup(boost::asio::any_io_executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

void TaskGroup::spawn(awaitable<void> child) {
  const auto signal = state_->children.emplace(state_->children.end());
  auto body = [](awaitable<void> inner) -> awaitable<void> {
    if (is_cancelled(co_await boost::asio::this_coro::cancellation_state)) co_return;
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::enable_total_cancellation());
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    co_await std::move(inner);
  };
  auto ended = [state = state_, signal](std::exception_ptr failure) {
    const std::scoped_lock lock(state->mutex);
    if (failure && !state->failure) state->failure = std::move(failure);
    state->children.erase(signal);
    state->waiters.notify_all();
    if (state->children.empty() && state->drained) std::exchange(state->drained, nullptr)();
  };
  boost::asio::co_spawn(state_->executor, body(std::move(child)),
                        boost::asio::bind_cancellation_slot(signal->slot(), std::move(ended)));
}

void TaskGroup::cancel() {
  for (auto child = state_->children.begin(); child != state_->children.end();) {
    // A child may end, and leave the list, while it is being told.
    const auto current = child++;
    current->emit(boost::asio::cancellation_type::all);
  }
}

std::size_t TaskGroup::running() const { return state_->children.size(); }

awaitable<bool> TaskGroup::wait_below(std::size_t count) {
  auto state = state_;
  while (state->children.size() >= count) {
    std::unique_lock lock(state->mutex);
    const bool woken = co_await state->waiters.wait(std::move(lock));
    if (!woken) co_return false;
  }
  co_return true;
}

awaitable<void> TaskGroup::drain() {
  auto state = state_;
  if (!state->children.empty()) {
    // No cancellation slot here: what must be awaited is awaited, and a cancellation meanwhile stays on record.
    auto initiation = [&state](auto handler) {
      auto executor = boost::asio::prefer(boost::asio::any_io_executor(boost::asio::get_associated_executor(handler)),
                                          boost::asio::execution::outstanding_work.tracked);
      state->drained = [executor = std::move(executor), handler = std::move(handler)]() mutable {
        boost::asio::post(executor, [handler = std::move(handler)]() mutable { std::move(handler)(); });
      };
    };
    co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(initiation,
                                                                                       boost::asio::use_awaitable);
  }
  if (state->failure) std::rethrow_exception(std::exchange(state->failure, nullptr));
}

}  // namespace crosslink::async
