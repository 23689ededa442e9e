#include "async/strand.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <memory>

namespace crosslink::async::detail {
namespace {

struct StrandRun {
  explicit StrandRun(const boost::asio::any_io_executor& executor) : strand(boost::asio::make_strand(executor)) {}
  boost::asio::strand<boost::asio::any_io_executor> strand;
  boost::asio::cancellation_signal signal;  ///< emitted on the strand only
  std::exception_ptr failure;
};

}  // namespace

// co_spawn alone could do this, but Asio 1.81 lets it post a cancellation that outlives what it points to when the two
// executors differ.
awaitable<void> on_own_strand(awaitable<void> body) {
  // What runs on the strand has a cancellation state of its own: one that came before would be lost.
  if (is_cancelled(co_await boost::asio::this_coro::cancellation_state)) co_return;
  auto executor = co_await boost::asio::this_coro::executor;
  auto run = std::make_shared<StrandRun>(executor);
  auto initiation = [&run, &body](auto handler) {
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
    boost::asio::co_spawn(run->strand, std::move(body),
                          boost::asio::bind_cancellation_slot(run->signal.slot(), std::move(finish)));
  };
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(initiation,
                                                                                     boost::asio::use_awaitable);
  if (run->failure) std::rethrow_exception(run->failure);
}

}  // namespace crosslink::async::detail
