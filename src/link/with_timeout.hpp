// The only way crosslink bounds the time of an operation or ends it from elsewhere.
#pragma once

#include <array>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "link/strand.hpp"

namespace crosslink::link {

/// Ends by itself with the error to report, or with nullopt when it was cancelled.
using Interruption = awaitable<std::optional<MirrorError>>;

/// Runs both until one ends, cancels the other and awaits its end. What the operation has to say comes first, its own
/// error too; the interruption's error stands in for its Cancelled only. Cancellation from outside reaches the
/// operation. The awaiting coroutine must run on a strand (on_own_strand) or a single thread.
template <class T>
Task<T> interruptible(Task<T> operation, Interruption interruption) {
  namespace asio = boost::asio;
  if (is_cancelled(co_await asio::this_coro::cancellation_state)) co_return MirrorError::cancelled("before it began");
  auto executor = co_await asio::this_coro::executor;
  std::optional<Result<T>> outcome;
  std::optional<MirrorError> reason;
  auto keep_reason = [](Interruption waiting, std::optional<MirrorError>& kept) -> awaitable<void> {
    if (is_cancelled(co_await asio::this_coro::cancellation_state)) co_return;
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await asio::this_coro::throw_if_cancelled(false);
    kept = co_await std::move(waiting);
  };
  auto group = asio::experimental::make_parallel_group(
      asio::co_spawn(executor, keep_outcome(std::move(operation), outcome), asio::deferred),
      asio::co_spawn(executor, keep_reason(std::move(interruption), reason), asio::deferred));
  const auto [order, failure, interruption_failure] =
      co_await group.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (failure) std::rethrow_exception(failure);
  if (interruption_failure) std::rethrow_exception(interruption_failure);
  const bool interrupted = order[0] == 1 && reason.has_value();
  if (interrupted && !outcome->ok() && outcome->error().kind() == ErrorKind::Cancelled) co_return *std::move(reason);
  co_return std::move(*outcome);
}

// Here and elsewhere a co_await stands in a declaration, not in a condition or among arguments: g++ 12 destroys what
// such an expression awaits twice.

/// Waits in the current coroutine. False when cancelled, before it or meanwhile: also by a cancellation that came when
/// the time was up already and nothing waited any more.
inline awaitable<bool> sleep_for(std::chrono::milliseconds duration) {
  if (is_cancelled(co_await boost::asio::this_coro::cancellation_state)) co_return false;
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer timer(executor, duration);
  boost::system::error_code error;
  co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, error));
  if (is_cancelled(co_await boost::asio::this_coro::cancellation_state)) co_return false;
  co_return !error;
}

inline Interruption after(std::chrono::milliseconds duration, MirrorError error) {
  const bool slept = co_await sleep_for(duration);
  if (slept) co_return error;
  co_return std::nullopt;
}

/// `operation`, given up after `duration`: it is cancelled, its end awaited, and `on_timeout` returned in its place.
template <class T>
Task<T> with_timeout(Task<T> operation, std::chrono::milliseconds duration, MirrorError on_timeout) {
  return interruptible(std::move(operation), after(duration, std::move(on_timeout)));
}

}  // namespace crosslink::link
