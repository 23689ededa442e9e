// The only way crosslink bounds the time of an operation or ends it from elsewhere.
#pragma once

#include <chrono>
#include <optional>
#include <utility>

#include "async/strand.hpp"

namespace crosslink::async {

/// Ends by itself with the error to report, or with nullopt when it was cancelled.
using Interruption = awaitable<std::optional<MirrorError>>;

namespace detail {

/// Both run until one ends. What the interruption said, if it ended first; nothing runs when cancelled before.
awaitable<std::optional<MirrorError>> interruptible(awaitable<void> body, Interruption interruption);

}  // namespace detail

/// Runs both until one ends, cancels the other and awaits its end. What the operation has to say comes first, its own
/// error too; the interruption's error stands in for its Cancelled only. Cancellation from outside reaches the
/// operation. The awaiting coroutine must run on a strand (on_own_strand) or a single thread.
template <class T>
Task<T> interruptible(Task<T> operation, Interruption interruption) {
  std::optional<Result<T>> outcome;
  auto body = keep_outcome(std::move(operation), outcome);
  auto reason = co_await detail::interruptible(std::move(body), std::move(interruption));
  if (!outcome) co_return MirrorError::cancelled("before it began");
  if (reason && !outcome->ok() && outcome->error().kind() == ErrorKind::Cancelled) co_return *std::move(reason);
  co_return std::move(*outcome);
}

/// Waits in the current coroutine. False when cancelled, before it or meanwhile: also by a cancellation that came when
/// the time was up already and nothing waited any more.
awaitable<bool> sleep_for(std::chrono::milliseconds duration);

/// For interruptible: ends with `error` after this time.
Interruption after(std::chrono::milliseconds duration, MirrorError error);

/// `operation`, given up after `duration`: it is cancelled, its end awaited, and `on_timeout` returned in its place.
template <class T>
Task<T> with_timeout(Task<T> operation, std::chrono::milliseconds duration, MirrorError on_timeout) {
  return interruptible(std::move(operation), after(duration, std::move(on_timeout)));
}

}  // namespace crosslink::async
