// Running a test's coroutines to their end, with a deadline instead of a hang.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace crosslink::test {

inline constexpr std::chrono::seconds test_deadline{30};

/// Something running beside the test's main coroutine; its end can be awaited and it can be cancelled. It must end
/// before the io_context does. Used on one thread.
template <class T>
class Background {
 public:
  Background(boost::asio::any_io_executor executor, boost::asio::awaitable<T> work)
      : state_(std::make_shared<State>(executor)) {
    boost::asio::co_spawn(
        executor, carry(std::move(work), state_),
        boost::asio::bind_cancellation_slot(state_->cancel.slot(), [state = state_](std::exception_ptr error) {
          state->error = error;
          state->ended = true;
          state->end.cancel();
        }));
  }
  boost::asio::awaitable<T> end() {
    auto state = state_;
    while (!state->ended) {
      boost::system::error_code ignored;
      co_await state->end.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
    }
    if (state->error) std::rethrow_exception(state->error);
    if constexpr (!std::is_void_v<T>) co_return std::move(*state->value);
  }
  void cancel() { state_->cancel.emit(boost::asio::cancellation_type::terminal); }
  bool ended() const { return state_->ended; }

 private:
  struct Nothing {};
  struct State {
    explicit State(boost::asio::any_io_executor executor)
        : end(executor, boost::asio::steady_timer::time_point::max()) {}
    boost::asio::cancellation_signal cancel;
    boost::asio::steady_timer end;
    std::optional<std::conditional_t<std::is_void_v<T>, Nothing, T>> value;
    std::exception_ptr error;
    bool ended = false;
  };
  static boost::asio::awaitable<void> carry(boost::asio::awaitable<T> work, std::shared_ptr<State> state) {
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    if constexpr (std::is_void_v<T>) {
      co_await std::move(work);
    } else {
      auto value = co_await std::move(work);
      state->value.emplace(std::move(value));
    }
  }
  std::shared_ptr<State> state_;
};

/// Runs `test` on `context`; a test that does not end within the deadline fails.
inline void run(boost::asio::io_context& context, boost::asio::awaitable<void> test,
                std::chrono::seconds deadline = test_deadline) {
  bool ended = false;
  std::exception_ptr error;
  boost::asio::co_spawn(context, std::move(test), [&](std::exception_ptr thrown) {
    error = thrown;
    ended = true;
    context.stop();
  });
  context.restart();
  context.run_for(deadline);
  if (error) std::rethrow_exception(error);
  ASSERT_TRUE(ended) << "the test did not end within " << deadline.count() << " s";
}

/// Waits until `condition` holds, looking every few milliseconds; false when it did not within the deadline.
inline boost::asio::awaitable<bool> eventually(std::function<bool()> condition,
                                               std::chrono::seconds deadline = test_deadline) {
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer timer(executor);
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) co_return false;
    timer.expires_after(std::chrono::milliseconds(5));
    co_await timer.async_wait(boost::asio::use_awaitable);
  }
  co_return true;
}

}  // namespace crosslink::test
