// A blocking call of an engine, made on an engine's thread and awaited on a network's.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "crosslink/awaitable.hpp"

namespace crosslink::async {

namespace detail {

/// Runs `work` on `engine_executor`, destroys it there, and then resumes where it was awaited.
awaitable<void> run_on_engine(boost::asio::any_io_executor engine_executor, std::move_only_function<void()> work);

}  // namespace detail

/// Runs `work` on `engine_executor` to its end, whatever is cancelled meanwhile, and resumes where it was awaited. What
/// `work` captured is released before. `work` must not throw, nor may the destructors of what it captured.
template <class Work>
awaitable<std::invoke_result_t<Work&>> call_engine(boost::asio::any_io_executor engine_executor, Work work) {
  // Shared: should the awaiting coroutine be destroyed meanwhile, the engine's thread still has where to answer.
  auto answer = std::make_shared<std::optional<std::invoke_result_t<Work&>>>();
  std::move_only_function<void()> call = [work = std::move(work), answer]() mutable { answer->emplace(work()); };
  co_await detail::run_on_engine(std::move(engine_executor), std::move(call));
  co_return *std::move(*answer);
}

}  // namespace crosslink::async
