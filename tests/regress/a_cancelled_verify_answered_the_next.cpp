// Symptom: after a verify whose caller was cancelled, the next one returned that one's result at once, and each later
// one that of the one before it: of an LSN from before the caller asked.
// Cause: the comparison went on without its caller, and what it came to was kept for the next.
#include "gated_follower.hpp"

namespace crosslink::test {
namespace {

/// The first verify that is not refused because another still runs.
awaitable<Result<VerifyResult>> verify_when_free(Mirror& mirror) {
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer timer(executor);
  for (;;) {
    auto verified = co_await mirror.verify();
    if (verified || verified.error().kind() != ErrorKind::Busy) co_return verified;
    timer.expires_after(std::chrono::milliseconds(5));
    co_await timer.async_wait(boost::asio::use_awaitable);
  }
}

TEST_F(Regress, a_cancelled_verify_answered_the_next) {
  run(context, [](Regress& test) -> awaitable<void> {
    GatedFollower follower(test);
    auto& mirror = follower.mirror;
    follower.put("first");
    auto mirroring = test.begin(mirror.run());
    EXPECT_TRUE(co_await eventually([&] { return mirror.status().kind == StatusKind::Following; }));
    // While an entry is being applied no verify can end.
    follower.put("second");
    EXPECT_TRUE(co_await eventually([&] { return mirror.facts().held_bytes > 0; }));
    auto given_up = test.begin(mirror.verify());
    given_up.cancel();
    const auto cancelled = co_await given_up.end();
    EXPECT_EQ(to_string(cancelled.error().kind()), "Cancelled") << cancelled.error().message();
    const auto busy = co_await mirror.verify();
    EXPECT_EQ(to_string(busy.error().kind()), "Busy") << busy.error().message();
    follower.gated.open();
    const auto next = need(co_await verify_when_free(mirror));
    EXPECT_EQ(next.keys_compared, 2u);
    // An answer that was another's leaves the caller's own verify running.
    const auto after = co_await mirror.verify();
    EXPECT_TRUE(after.ok());

    const auto third = follower.put("third");
    EXPECT_TRUE(co_await eventually([&] {
      const auto position = mirror.facts().position;
      return position && position->applied_lsn >= third;
    }));
    const auto last = need(co_await mirror.verify());
    EXPECT_EQ(last.lsn, third);
    EXPECT_EQ(last.keys_compared, 3u);
    mirror.stop();
    need(co_await mirroring.end());
    need(co_await follower.running.stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
