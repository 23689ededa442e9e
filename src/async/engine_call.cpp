#include "async/engine_call.hpp"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace crosslink::async::detail {

awaitable<void> run_on_engine(boost::asio::any_io_executor engine_executor, std::move_only_function<void()> work) {
  auto initiation = [&engine_executor, &work](auto handler) {
    auto resume_on = boost::asio::prefer(boost::asio::any_io_executor(boost::asio::get_associated_executor(handler)),
                                         boost::asio::execution::outstanding_work.tracked);
    auto run = [work = std::move(work), resume_on = std::move(resume_on), handler = std::move(handler)]() mutable {
      work();
      work = nullptr;  // the caller may count on it that what was captured is gone
      boost::asio::post(resume_on, [handler = std::move(handler)]() mutable { std::move(handler)(); });
    };
    boost::asio::post(engine_executor, std::move(run));
  };
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(initiation,
                                                                                     boost::asio::use_awaitable);
}

}  // namespace crosslink::async::detail
