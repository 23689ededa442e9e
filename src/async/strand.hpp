// A coroutine on a strand of its own, whatever executor awaits it.
#pragma once

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>
#include <optional>
#include <utility>

#include "crosslink/awaitable.hpp"

namespace crosslink::async {

inline bool is_cancelled(const boost::asio::cancellation_state& state) {
  return state.cancelled() != boost::asio::cancellation_type::none;
}

/// Awaits `operation` as the body of a spawned coroutine: it sees every cancellation type, as an error and not as an
/// exception, and one that came before it began ends it at once.
template <class T>
awaitable<void> keep_outcome(Task<T> operation, std::optional<Result<T>>& outcome) {
  if (is_cancelled(co_await boost::asio::this_coro::cancellation_state)) {
    outcome.emplace(MirrorError::cancelled("before it began"));
    co_return;
  }
  co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::enable_total_cancellation());
  co_await boost::asio::this_coro::throw_if_cancelled(false);
  auto result = co_await std::move(operation);
  outcome.emplace(std::move(result));
}

namespace detail {

/// Runs `body` on a new strand to its end; not at all when cancelled before.
awaitable<void> on_own_strand(awaitable<void> body);

}  // namespace detail

/// Runs `operation` on a new strand, so that what it starts beside itself needs no lock even on a pool of threads.
/// Passes cancellation on; resumes on the awaiting coroutine's executor.
template <class T>
Task<T> on_own_strand(Task<T> operation) {
  std::optional<Result<T>> outcome;
  auto body = keep_outcome(std::move(operation), outcome);
  co_await detail::on_own_strand(std::move(body));
  if (!outcome) co_return MirrorError::cancelled("before it began");
  co_return std::move(*outcome);
}

}  // namespace crosslink::async
