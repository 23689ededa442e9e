// Symptom: `promote` of a Halted mirror, which is what a halt asks its operator for, answered that the promotion
// failed, and promoted it all the same. Cause: the reason of the halt stayed, and the command that waited for the
// promotion took it for the promotion's.
#include <boost/asio/thread_pool.hpp>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "regress.hpp"

namespace crosslink::test {
namespace {

TEST_F(Regress, a_promotion_of_a_halted_mirror_was_called_failed) {
  run(context, [](Regress& test) -> awaitable<void> {
    boost::asio::thread_pool engine_threads(1);
    auto written = MemoryDatabase::create();
    const std::array operations{Operation::put("kept", "1")};
    need(written->commit(operations));
    DatabaseSourceOptions offered;
    offered.name = "prod-us/orders";
    DatabaseSource source(*written, written.get(), engine_threads.get_executor(), offered);
    RunningSource running(test.context.get_executor(), test.listen(), test.policy(), {},
                          [&](AcceptedMirror& accepted) { return source.serve(accepted); });
    auto engine = MemoryDatabase::empty();
    MirrorOptions options;
    options.name = "eu-1/orders";
    Mirror mirror(test.make_link(text_of(running.address())), *engine, nullptr, engine_threads.get_executor(), options);
    auto following = test.begin(mirror.run());
    EXPECT_TRUE(co_await eventually([&] { return mirror.status().kind == StatusKind::Following; }));
    source.end_sessions();
    written->recreate();
    EXPECT_TRUE(co_await eventually([&] { return mirror.status().kind == StatusKind::Halted; }));
    auto promotion = mirror.promote();
    const auto promoted = co_await std::move(promotion);
    EXPECT_TRUE(promoted.ok()) << (promoted ? "" : promoted.error().message());
    EXPECT_EQ(mirror.status().kind, StatusKind::Promoted);
    EXPECT_EQ(engine->get("kept"), "1");
    mirror.stop();
    need(co_await following.end());
    need(co_await running.stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
