// A blocking call of an engine, made on an engine's thread and awaited on a network's.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "crosslink/awaitable.hpp"

namespace crosslink::link {

/// Runs `work` on `engine_executor` to its end, whatever is cancelled meanwhile, and resumes where it was awaited.
/// `work` must not throw.
template <class Work>
awaitable<std::invoke_result_t<Work&>> call_engine(boost::asio::any_io_executor engine_executor, Work work) {
  using Answer = std::invoke_result_t<Work&>;
  auto answer = std::make_shared<std::optional<Answer>>();
  auto initiation = [&engine_executor, &work, &answer](auto handler) {
    auto resume_on = boost::asio::prefer(boost::asio::any_io_executor(boost::asio::get_associated_executor(handler)),
                                         boost::asio::execution::outstanding_work.tracked);
    auto run = [work = std::move(work), answer, resume_on = std::move(resume_on),
                handler = std::move(handler)]() mutable {
      answer->emplace(work());
      boost::asio::post(resume_on, [handler = std::move(handler)]() mutable { std::move(handler)(); });
    };
    boost::asio::post(engine_executor, std::move(run));
  };
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(initiation,
                                                                                     boost::asio::use_awaitable);
  co_return *std::move(*answer);
}

}  // namespace crosslink::link
