#include "async/with_timeout.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <thread>

#include "async/stop_event.hpp"
#include "support/coroutines.hpp"

namespace crosslink::test {
namespace {

using namespace std::chrono_literals;

class WithTimeout : public ::testing::Test {
 public:
  boost::asio::io_context context;
  bool ended = false;

  /// Ends after `duration` with `result`, or when cancelled with `when_cancelled`.
  Task<int> operation(std::chrono::milliseconds duration, Result<int> result, Result<int> when_cancelled) {
    const bool slept = co_await async::sleep_for(duration);
    ended = true;
    co_return slept ? result : when_cancelled;
  }
  static MirrorError late() { return MirrorError::timeout("late"); }
  static MirrorError cancelled() { return MirrorError::cancelled("the operation"); }
};

TEST_F(WithTimeout, a_success_in_time_is_returned) {
  run(context, [](WithTimeout& test) -> awaitable<void> {
    const auto result = co_await async::with_timeout(test.operation(0ms, 7, cancelled()), 20s, late());
    EXPECT_TRUE(result.ok());
    EXPECT_EQ(*result, 7);
  }(*this));
}

TEST_F(WithTimeout, an_error_in_time_is_returned_as_it_is) {
  run(context, [](WithTimeout& test) -> awaitable<void> {
    const auto began = std::chrono::steady_clock::now();
    const auto result =
        co_await async::with_timeout(test.operation(0ms, MirrorError::codec("own"), cancelled()), 20s, late());
    EXPECT_EQ(result.error().kind(), ErrorKind::HandshakeCodec);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 10s) << "the timer was waited for";
  }(*this));
}

TEST_F(WithTimeout, a_late_operation_is_cancelled_and_its_end_awaited) {
  run(context, [](WithTimeout& test) -> awaitable<void> {
    const auto result = co_await async::with_timeout(test.operation(60s, 7, cancelled()), 5ms, late());
    EXPECT_EQ(result.error().kind(), ErrorKind::Timeout);
    EXPECT_EQ(result.error().message(), "late");
    EXPECT_TRUE(test.ended);
  }(*this));
}

TEST_F(WithTimeout, an_error_of_its_own_is_not_hidden_by_the_timeout) {
  run(context, [](WithTimeout& test) -> awaitable<void> {
    const auto result = co_await async::with_timeout(test.operation(60s, 7, MirrorError::codec("own")), 5ms, late());
    EXPECT_EQ(result.error().kind(), ErrorKind::HandshakeCodec);
  }(*this));
}

TEST_F(WithTimeout, a_cancellation_from_outside_comes_back_as_cancelled) {
  run(context, [](WithTimeout& test) -> awaitable<void> {
    auto waiting = Background<Result<int>>(test.context.get_executor(),
                                           async::with_timeout(test.operation(60s, 7, cancelled()), 60s, late()));
    co_await boost::asio::post(boost::asio::use_awaitable);
    waiting.cancel();
    const auto result = co_await waiting.end();
    EXPECT_EQ(result.error().kind(), ErrorKind::Cancelled);
    EXPECT_TRUE(test.ended);
  }(*this));
}

TEST_F(WithTimeout, a_strand_of_its_own_passes_a_cancellation_on) {
  run(context, [](WithTimeout& test) -> awaitable<void> {
    auto timed = async::with_timeout(test.operation(60s, 7, cancelled()), 60s, late());
    auto waiting = Background<Result<int>>(test.context.get_executor(), async::on_own_strand(std::move(timed)));
    co_await boost::asio::post(boost::asio::use_awaitable);
    waiting.cancel();
    const auto result = co_await waiting.end();
    EXPECT_EQ(result.error().kind(), ErrorKind::Cancelled);
    EXPECT_TRUE(test.ended);
  }(*this));
}

TEST_F(WithTimeout, an_exception_comes_out) {
  run(context, [](WithTimeout&) -> awaitable<void> {
    auto throwing = []() -> Task<int> {
      throw std::bad_alloc();
      co_return 1;
    };
    auto thrown = false;
    try {
      const auto result = co_await async::on_own_strand(async::with_timeout(throwing(), 60s, late()));
      ADD_FAILURE() << "returned " << result.ok();
    } catch (const std::bad_alloc&) {
      thrown = true;
    }
    EXPECT_TRUE(thrown);
  }(*this));
}

TEST_F(WithTimeout, a_stop_from_another_thread_interrupts) {
  async::StopEvent stop;
  std::thread stopper;
  run(context, [](WithTimeout& test, async::StopEvent& event, std::thread& thread) -> awaitable<void> {
    thread = std::thread([&event] { event.set(); });
    const auto result =
        co_await async::interruptible(test.operation(60s, 7, cancelled()), async::when_set(event, late()));
    EXPECT_EQ(result.error().kind(), ErrorKind::Timeout);
  }(*this, stop, stopper));
  stopper.join();
}

// Goal: timeouts, cancellations and successes that meet on a pool of threads neither race nor hang. Method: many
// operations that end about when their timeout does, on four threads; every outcome must be one of the two.
TEST(WithTimeoutConcurrent, on_a_pool_of_threads_every_operation_ends_one_way_or_the_other) {
  boost::asio::thread_pool pool(4);
  auto one = [](int round) -> Task<int> {
    auto sleeping = [](int value) -> Task<int> {
      const bool slept = co_await async::sleep_for(std::chrono::milliseconds(value % 3));
      if (!slept) co_return MirrorError::cancelled("sleeping");
      co_return value;
    };
    auto timed =
        async::with_timeout(sleeping(round), std::chrono::milliseconds((round + 1) % 3), MirrorError::timeout("late"));
    co_return co_await async::on_own_strand(std::move(timed));
  };
  std::vector<std::future<void>> rounds;
  std::atomic<int> done{0};
  std::atomic<int> late{0};
  auto keep = [](Task<int> work, std::atomic<int>& successes, std::atomic<int>& timeouts) -> awaitable<void> {
    const auto result = co_await std::move(work);
    if (result.ok()) {
      ++successes;
    } else if (result.error().kind() == ErrorKind::Timeout) {
      ++timeouts;
    }
  };
  for (int round = 0; round < 600; ++round) {
    rounds.push_back(boost::asio::co_spawn(pool, keep(one(round), done, late), boost::asio::use_future));
  }
  for (auto& round : rounds)
    round.get();
  EXPECT_EQ(done + late, 600);
  EXPECT_GT(done.load(), 0);
  EXPECT_GT(late.load(), 0);
}

}  // namespace
}  // namespace crosslink::test
