// Symptom: a verify under a fast writer ended as unknown after its deadline.
// Cause: while it waits for the source's LSN the mirror applies nothing, so that what arrives reaches the cap, and at
// the cap the mirror stopped reading every stream but control: the source's answer stood on the verify's own stream.
#include <boost/asio/thread_pool.hpp>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "regress.hpp"
#include "support/gated_mirror.hpp"

namespace crosslink::test {
namespace {

Lsn put(MemoryDatabase& into, const std::string& key, const std::string& value) {
  const std::array operations{Operation::put(key, value)};
  return need(into.commit(operations));
}

TEST_F(Regress, a_verify_waited_for_the_log_that_waited_for_it) {
  run(context, [](Regress& test) -> awaitable<void> {
    constexpr std::uint64_t cap = 2 * 1024 * 1024;
    boost::asio::thread_pool source_thread(1), mirror_thread(1);
    auto written = MemoryDatabase::create();
    put(*written, "a", "1");
    DatabaseSourceOptions offered;
    offered.name = "prod-us/orders";
    DatabaseSource source(*written, written.get(), source_thread.get_executor(), offered);
    RunningSource running(test.context.get_executor(), test.listen(), test.policy(), {},
                          [&](AcceptedMirror& accepted) { return source.serve(accepted); });
    auto engine = MemoryDatabase::empty();
    GatedMirror gated(*engine);
    MirrorOptions options;
    options.name = "eu-1/orders";
    options.in_flight_bytes_max = cap;
    Mirror mirror(test.make_link(text_of(running.address())), gated, engine.get(), mirror_thread.get_executor(),
                  options);
    auto mirroring = test.begin(mirror.run());
    EXPECT_TRUE(co_await eventually([&] { return mirror.status().kind == StatusKind::Following; }));
    // One small entry is being applied, and behind it waits as much as may: that is how a mirror stands that is slower
    // than its source.
    put(*written, "small", "1");
    EXPECT_TRUE(co_await eventually([&] { return mirror.facts().held_bytes > 0; }));
    for (int i = 0; i < 50; ++i)
      put(*written, "key" + std::to_string(i), std::string(100'000, 'x'));
    EXPECT_TRUE(co_await eventually([&] { return mirror.facts().held_bytes >= cap; }));
    auto verifying = test.begin(mirror.verify());
    gated.open();
    const auto result = need(co_await verifying.end());
    EXPECT_EQ(result.outcome, VerifyResult::Outcome::equal) << result.reason;
    mirror.stop();
    need(co_await mirroring.end());
    need(co_await running.stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
