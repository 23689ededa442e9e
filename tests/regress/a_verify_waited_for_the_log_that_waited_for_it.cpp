// Symptom: a verify under a fast writer ended as unknown after its deadline.
// Cause: while it waits for the source's LSN the mirror applies nothing, so that what arrives reaches the cap, and at
// the cap the mirror stopped reading every stream but control: the source's answer stood on the verify's own stream.
#include "gated_follower.hpp"

namespace crosslink::test {
namespace {

TEST_F(Regress, a_verify_waited_for_the_log_that_waited_for_it) {
  run(context, [](Regress& test) -> awaitable<void> {
    constexpr std::uint64_t cap = 2 * 1024 * 1024;
    MirrorOptions options;
    options.in_flight_bytes_max = cap;
    GatedFollower follower(test, std::move(options));
    auto& mirror = follower.mirror;
    follower.put("a");
    auto mirroring = test.begin(mirror.run());
    EXPECT_TRUE(co_await eventually([&] { return mirror.status().kind == StatusKind::Following; }));
    // One small entry is being applied, and behind it waits as much as may: that is how a mirror stands that is slower
    // than its source.
    follower.put("small");
    EXPECT_TRUE(co_await eventually([&] { return mirror.facts().held_bytes > 0; }));
    for (int i = 0; i < 50; ++i)
      follower.put("key" + std::to_string(i), std::string(100'000, 'x'));
    EXPECT_TRUE(co_await eventually([&] { return mirror.facts().held_bytes >= cap; }));
    auto verifying = test.begin(mirror.verify());
    follower.gated.open();
    const auto result = need(co_await verifying.end());
    EXPECT_EQ(result.outcome, VerifyResult::Outcome::equal) << result.reason;
    mirror.stop();
    need(co_await mirroring.end());
    need(co_await follower.running.stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
