// Symptom: now and then a node did not end after SIGTERM. Cause: a cancellation that came when a timer had fired, and
// the coroutine that slept on it had not been resumed yet, found nothing to cancel; the loop slept again, for ever.
// Method: a loop of sleeps is cancelled after each number of handlers; whichever it is, it must end.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <cstddef>

#include "async/task_group.hpp"
#include "async/with_timeout.hpp"

namespace crosslink {
namespace {

awaitable<void> sleep_again_and_again() {
  for (;;) {
    const bool slept = co_await async::sleep_for(std::chrono::milliseconds(0));
    if (!slept) co_return;
  }
}

/// Cancelled after `handlers` of them; true when the loop has ended some handlers later.
bool ends_when_cancelled_after(std::size_t handlers) {
  constexpr std::size_t enough = 1000;
  boost::asio::io_context context(1);
  async::TaskGroup group(context.get_executor());
  group.spawn(sleep_again_and_again());
  for (std::size_t i = 0; i < handlers; ++i)
    context.run_one();
  group.cancel();
  for (std::size_t i = 0; i < enough && group.running() > 0; ++i)
    context.run_one();
  return group.running() == 0;
}

TEST(RegressSleep, a_loop_of_sleeps_ends_whenever_it_is_cancelled) {
  for (std::size_t handlers = 0; handlers < 20; ++handlers)
    EXPECT_TRUE(ends_when_cancelled_after(handlers)) << "cancelled after " << handlers << " handlers";
}

}  // namespace
}  // namespace crosslink
