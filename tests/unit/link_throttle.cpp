#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/detached.hpp>
#include <boost/asio/thread_pool.hpp>
#include <mutex>
#include <thread>

#include "crosslink/throttle.hpp"
#include "support/coroutines.hpp"

namespace crosslink::test {
namespace {

class Throttle : public ::testing::Test {
 public:
  boost::asio::io_context context;
  SendThrottle throttle{1000};

  Background<Result<void>> waiting() { return {context.get_executor(), throttle.wait_for_resume()}; }
  /// Lets everything that can run do so.
  static awaitable<void> settle() {
    for (int round = 0; round < 5; ++round)
      co_await boost::asio::post(boost::asio::use_awaitable);
  }
};

TEST_F(Throttle, defaults_are_the_contracts) {
  EXPECT_EQ(SendThrottle().cap(), 64u * 1024 * 1024);
  EXPECT_EQ(throttle.cap(), 1000u);
}

TEST_F(Throttle, copies_share_one_counter) {
  SendThrottle copy = throttle;
  const auto ticket = copy.charge(600);
  EXPECT_EQ(throttle.in_flight(), 600u);
  throttle.ack(ticket);
  EXPECT_EQ(copy.in_flight(), 0u);
}

TEST_F(Throttle, an_ack_of_before_a_reset_does_not_count) {
  const auto old = throttle.charge(400);
  throttle.reset();
  static_cast<void>(throttle.charge(300));
  throttle.ack(old);
  EXPECT_EQ(throttle.in_flight(), 300u);
  throttle.ack(5000);
  EXPECT_EQ(throttle.in_flight(), 0u);
}

TEST_F(Throttle, sending_stops_at_the_cap_and_resumes_at_three_quarters) {
  run(context, [](Throttle& test) -> awaitable<void> {
    const auto ticket = test.throttle.charge(1000);
    EXPECT_FALSE(test.throttle.can_send());
    auto waiting = test.waiting();
    co_await settle();
    EXPECT_FALSE(waiting.ended());
    test.throttle.ack(249);
    co_await settle();
    EXPECT_FALSE(waiting.ended()) << "751 of 1000 bytes in flight";
    test.throttle.ack(1);
    const auto resumed = co_await waiting.end();
    EXPECT_TRUE(resumed.ok());
    test.throttle.ack(ticket);
    EXPECT_EQ(test.throttle.in_flight(), 0u);
  }(*this));
}

TEST_F(Throttle, a_reset_wakes_every_waiter) {
  run(context, [](Throttle& test) -> awaitable<void> {
    static_cast<void>(test.throttle.charge(2000));
    auto first = test.waiting();
    auto second = test.waiting();
    co_await settle();
    EXPECT_FALSE(first.ended());
    test.throttle.reset();
    EXPECT_TRUE((co_await first.end()).ok());
    EXPECT_TRUE((co_await second.end()).ok());
  }(*this));
}

TEST_F(Throttle, a_cancelled_wait_says_so_and_the_next_one_still_works) {
  run(context, [](Throttle& test) -> awaitable<void> {
    static_cast<void>(test.throttle.charge(1000));
    auto first = test.waiting();
    co_await settle();
    first.cancel();
    const auto cancelled = co_await first.end();
    EXPECT_FALSE(cancelled.ok());
    EXPECT_EQ(cancelled.error().kind(), ErrorKind::Cancelled);
    auto second = test.waiting();
    test.throttle.reset();
    EXPECT_TRUE((co_await second.end()).ok());
  }(*this));
}

TEST_F(Throttle, frames_around_the_cap_all_pass_one_after_another) {
  run(context, [](Throttle& test) -> awaitable<void> {
    for (const std::uint64_t frame : std::vector<std::uint64_t>{999, 1000, 1001, 5000}) {
      EXPECT_TRUE((co_await test.throttle.wait_for_resume()).ok());
      const auto ticket = test.throttle.charge(frame);
      EXPECT_EQ(test.throttle.can_send(), frame < 1000);
      auto next = test.waiting();
      co_await settle();
      EXPECT_EQ(next.ended(), frame < 1000);
      test.throttle.ack(ticket);
      EXPECT_TRUE((co_await next.end()).ok());
    }
  }(*this));
}

TEST_F(Throttle, a_cap_of_nothing_still_lets_one_frame_at_a_time_pass) {
  run(context, [](Throttle&) -> awaitable<void> {
    SendThrottle narrow(0);
    for (int frame = 0; frame < 3; ++frame) {
      EXPECT_TRUE((co_await narrow.wait_for_resume()).ok());
      narrow.ack(narrow.charge(10));
    }
    EXPECT_EQ(narrow.in_flight(), 0u);
  }(*this));
}

TEST(ThrottleConcurrent, two_threads_acking_lose_nothing) {
  constexpr int rounds = 20'000;
  SendThrottle throttle(1'000'000'000);
  std::vector<SendThrottle::Ticket> tickets;
  for (int i = 0; i < 2 * rounds; ++i)
    tickets.push_back(throttle.charge(3));
  auto keeper = throttle.charge(11);
  auto ack = [&](int from) {
    for (int i = from; i < 2 * rounds; i += 2)
      throttle.ack(tickets[static_cast<std::size_t>(i)]);
  };
  std::thread first(ack, 0);
  std::thread second(ack, 1);
  first.join();
  second.join();
  EXPECT_EQ(throttle.in_flight(), 11u);
  throttle.ack(keeper);
  EXPECT_EQ(throttle.in_flight(), 0u);
}

// Goal: no wake-up is lost between an ack on one thread and a wait on another. Method: senders on a pool charge frames
// larger than the cap, an acker on its own thread lets go of each; a lost wake-up would leave a sender waiting for
// ever.
TEST(ThrottleConcurrent, senders_and_an_acker_on_other_threads_never_deadlock) {
  SendThrottle throttle(100);
  boost::asio::thread_pool pool(3);
  std::mutex mutex;
  std::vector<SendThrottle::Ticket> sent;
  std::atomic<int> finished{0};
  auto send = [](SendThrottle shared, std::mutex& guard, std::vector<SendThrottle::Ticket>& tickets,
                 std::atomic<int>& done) -> awaitable<void> {
    for (std::uint64_t frame = 0; frame < 500; ++frame) {
      const auto resumed = co_await shared.wait_for_resume();
      if (!resumed) co_return;
      const std::scoped_lock lock(guard);
      tickets.push_back(shared.charge(99 + frame % 3));
    }
    ++done;
  };
  for (int sender = 0; sender < 3; ++sender) {
    boost::asio::co_spawn(pool, send(throttle, mutex, sent, finished), boost::asio::detached);
  }
  const auto deadline = std::chrono::steady_clock::now() + test_deadline;
  while (finished < 3 && std::chrono::steady_clock::now() < deadline) {
    std::vector<SendThrottle::Ticket> taken;
    {
      const std::scoped_lock lock(mutex);
      taken.swap(sent);
    }
    for (const auto& ticket : taken)
      throttle.ack(ticket);
    std::this_thread::yield();
  }
  throttle.reset();
  EXPECT_EQ(finished.load(), 3);
  if (finished < 3) pool.stop();
  pool.join();
}

}  // namespace
}  // namespace crosslink::test
