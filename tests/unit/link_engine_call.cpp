#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <utility>

#include "async/engine_call.hpp"

namespace crosslink::async {
namespace {

struct Seen {
  int answer = 0;
  long held = 0;
};

awaitable<void> call_and_look(boost::asio::any_io_executor engine, std::shared_ptr<int> captured,
                              std::shared_ptr<void> released_first, Seen& seen) {
  auto work = [captured, released_first = std::move(released_first)] { return *captured; };
  seen.answer = co_await call_engine(std::move(engine), std::move(work));
  seen.held = captured.use_count();
}

/// Goal: what the work captured is gone before the caller goes on. Method: the capture that is released first runs all that
/// the caller's thread has been given by then.
TEST(EngineCall, the_caller_goes_on_only_after_what_the_work_captured_was_released) {
  boost::asio::io_context network, engine;
  Seen seen;
  std::shared_ptr<void> released_first(&network, [](boost::asio::io_context* context) { context->poll(); });
  boost::asio::co_spawn(network,
                        call_and_look(engine.get_executor(), std::make_shared<int>(7), std::move(released_first), seen),
                        boost::asio::detached);
  network.poll();
  engine.poll();
  network.poll();
  EXPECT_EQ(seen.answer, 7);
  EXPECT_EQ(seen.held, 1);
}

}  // namespace
}  // namespace crosslink::async
