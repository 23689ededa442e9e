#include "async/with_timeout.hpp"

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>

namespace crosslink::async {
namespace asio = boost::asio;
namespace {

awaitable<void> keep_reason(Interruption waiting, std::optional<MirrorError>& kept) {
  if (is_cancelled(co_await asio::this_coro::cancellation_state)) co_return;
  co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
  co_await asio::this_coro::throw_if_cancelled(false);
  auto said = co_await std::move(waiting);
  kept = std::move(said);
}

}  // namespace

namespace detail {

awaitable<std::optional<MirrorError>> interruptible(awaitable<void> body, Interruption interruption) {
  if (is_cancelled(co_await asio::this_coro::cancellation_state)) co_return std::nullopt;
  auto executor = co_await asio::this_coro::executor;
  std::optional<MirrorError> reason;
  auto group = asio::experimental::make_parallel_group(
      asio::co_spawn(executor, std::move(body), asio::deferred),
      asio::co_spawn(executor, keep_reason(std::move(interruption), reason), asio::deferred));
  const auto [order, failure, interruption_failure] =
      co_await group.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (failure) std::rethrow_exception(failure);
  if (interruption_failure) std::rethrow_exception(interruption_failure);
  if (order[0] != 1) reason.reset();
  co_return reason;
}

}  // namespace detail

// Here and elsewhere a co_await stands in a declaration, not in a condition or among arguments: g++ 12 destroys what
// such an expression awaits twice.

awaitable<bool> sleep_for(std::chrono::milliseconds duration) {
  if (is_cancelled(co_await asio::this_coro::cancellation_state)) co_return false;
  auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, duration);
  boost::system::error_code error;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
  if (is_cancelled(co_await asio::this_coro::cancellation_state)) co_return false;
  co_return !error;
}

Interruption after(std::chrono::milliseconds duration, MirrorError error) {
  const bool slept = co_await sleep_for(duration);
  if (slept) co_return error;
  co_return std::nullopt;
}

}  // namespace crosslink::async
