// Symptom: after a verify whose caller was cancelled, the next one returned that one's result at once, and each later
// one that of the one before it: of an LSN from before the caller asked.
// Cause: the comparison went on without its caller, and what it came to was kept for the next.
#include <boost/asio/thread_pool.hpp>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "regress.hpp"
#include "support/gated_mirror.hpp"

namespace crosslink::test {
namespace {

Lsn put(MemoryDatabase& into, const std::string& key) {
  const std::array operations{Operation::put(key, "1")};
  return need(into.commit(operations));
}

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
    boost::asio::thread_pool source_thread(1), mirror_thread(1);
    auto written = MemoryDatabase::create();
    put(*written, "first");
    DatabaseSourceOptions offered;
    offered.name = "prod-us/orders";
    DatabaseSource source(*written, written.get(), source_thread.get_executor(), offered);
    RunningSource running(test.context.get_executor(), test.listen(), test.policy(), {},
                          [&](AcceptedMirror& accepted) { return source.serve(accepted); });
    auto engine = MemoryDatabase::empty();
    GatedMirror gated(*engine);
    MirrorOptions options;
    options.name = "eu-1/orders";
    Mirror mirror(test.make_link(text_of(running.address())), gated, engine.get(), mirror_thread.get_executor(),
                  options);
    auto mirroring = test.begin(mirror.run());
    EXPECT_TRUE(co_await eventually([&] { return mirror.status().kind == StatusKind::Following; }));
    // While an entry is being applied no verify can end.
    put(*written, "second");
    EXPECT_TRUE(co_await eventually([&] { return mirror.facts().held_bytes > 0; }));
    auto given_up = test.begin(mirror.verify());
    given_up.cancel();
    const auto cancelled = co_await given_up.end();
    EXPECT_EQ(to_string(cancelled.error().kind()), "Cancelled") << cancelled.error().message();
    const auto busy = co_await mirror.verify();
    EXPECT_EQ(to_string(busy.error().kind()), "Busy") << busy.error().message();
    gated.open();
    const auto next = need(co_await verify_when_free(mirror));
    EXPECT_EQ(next.keys_compared, 2u);
    // An answer that was another's leaves the caller's own verify running.
    const auto after = co_await mirror.verify();
    EXPECT_TRUE(after.ok());

    const auto third = put(*written, "third");
    EXPECT_TRUE(co_await eventually([&] {
      const auto position = mirror.facts().position;
      return position && position->applied_lsn >= third;
    }));
    const auto last = need(co_await mirror.verify());
    EXPECT_EQ(last.lsn, third);
    EXPECT_EQ(last.keys_compared, 3u);
    mirror.stop();
    need(co_await mirroring.end());
    need(co_await running.stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
