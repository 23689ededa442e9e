// A coroutine on a strand of its own, whatever executor awaits it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "crosslink/awaitable.hpp"

namespace crosslink::link {

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

template <class T>
struct StrandRun {
  explicit StrandRun(const boost::asio::any_io_executor& executor) : strand(boost::asio::make_strand(executor)) {}
  boost::asio::strand<boost::asio::any_io_executor> strand;
  boost::asio::cancellation_signal signal;  ///< emitted on the strand only
  std::optional<Result<T>> outcome;
  std::exception_ptr failure;
};

}  // namespace detail

/// Runs `operation` on a new strand, so that what it starts beside itself needs no lock even on a pool of threads.
/// Passes cancellation on; resumes on the awaiting coroutine's executor. co_spawn alone could do this, but Asio 1.81
/// lets it post a cancellation that outlives what it points to when the two executors differ.
template <class T>
Task<T> on_own_strand(Task<T> operation) {
  // What runs on the strand has a cancellation state of its own: one that came before would be lost.
  if (is_cancelled(co_await boost::asio::this_coro::cancellation_state))
    co_return MirrorError::cancelled("before it began");
  auto executor = co_await boost::asio::this_coro::executor;
  auto run = std::make_shared<detail::StrandRun<T>>(executor);
  auto initiation = [&run, &operation](auto handler) {
    const auto slot = boost::asio::get_associated_cancellation_slot(handler);
    auto resume_on = boost::asio::prefer(boost::asio::any_io_executor(boost::asio::get_associated_executor(handler)),
                                         boost::asio::execution::outstanding_work.tracked);
    auto finish = [kept = run, resume_on = std::move(resume_on),
                   handler = std::move(handler)](std::exception_ptr failure) mutable {
      kept->failure = std::move(failure);
      boost::asio::post(resume_on, [handler = std::move(handler)]() mutable { std::move(handler)(); });
    };
    if (slot.is_connected()) {
      boost::asio::cancellation_slot(slot).assign([kept = run](boost::asio::cancellation_type type) {
        boost::asio::post(kept->strand, [kept, type] { kept->signal.emit(type); });
      });
    }
    boost::asio::co_spawn(run->strand, keep_outcome(std::move(operation), run->outcome),
                          boost::asio::bind_cancellation_slot(run->signal.slot(), std::move(finish)));
  };
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(initiation,
                                                                                     boost::asio::use_awaitable);
  if (run->failure) std::rethrow_exception(run->failure);
  co_return std::move(*run->outcome);
}

}  // namespace crosslink::link
