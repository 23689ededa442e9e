#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <cerrno>
#include <cstdint>

#include "node/engine_threads.hpp"

namespace crosslink::node {
namespace {

struct Scheduled {
  std::uint32_t size = 0, policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t turn_ns = 0, deadline = 0, period = 0;
};

Scheduled scheduled_as(Turns turns) {
  ThreadPool pool("pool", 1, turns);
  auto asked = boost::asio::post(pool.executor(), boost::asio::use_future([] {
                                   Scheduled found;
                                   const auto done = ::syscall(SYS_sched_getattr, 0, &found, sizeof(found), 0);
                                   EXPECT_EQ(done, 0) << errno;
                                   return found;
                                 }));
  return asked.get();
}

TEST(EngineThreads, scans_give_way_to_everything_else) {
  const auto own = ::getpriority(PRIO_PROCESS, 0);
  EXPECT_EQ(scheduled_as(Turns::usual).nice, own);
  EXPECT_EQ(scheduled_as(Turns::prompt).nice, own);
  EXPECT_GT(scheduled_as(Turns::left_over).nice, own);
}

TEST(EngineThreads, a_read_waited_for_the_end_of_a_scans_turn) {
  const auto usual = scheduled_as(Turns::usual).turn_ns;
  if (usual == 0) GTEST_SKIP() << "Linux before 6.12 has one length of turns for all";
  EXPECT_LT(scheduled_as(Turns::prompt).turn_ns, usual);
  EXPECT_EQ(scheduled_as(Turns::left_over).turn_ns, usual);
}

TEST(EngineThreads, what_a_prompt_thread_starts_is_not_prompt_itself) {
  ThreadPool pool("pool", 1, Turns::prompt);
  auto asked =
      boost::asio::post(pool.executor(), boost::asio::use_future([] { return scheduled_as(Turns::usual).turn_ns; }));
  EXPECT_EQ(asked.get(), scheduled_as(Turns::usual).turn_ns);
}

}  // namespace
}  // namespace crosslink::node
