// Symptom: a mirror that reconnected while the source still held its old connection could lose the log behind its
// snapshot: the window passed although it was pinned.
// Cause: both sessions pinned the log under one name, and the end of the old one, noticed later, took the pin away.
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "regress.hpp"
#include "support/pins_shown.hpp"

namespace crosslink::test {
namespace {

TEST_F(Regress, an_old_sessions_end_dropped_what_its_successor_needed) {
  run(context, [](Regress& test) -> awaitable<void> {
    boost::asio::thread_pool engine_threads(1);
    auto written = MemoryDatabase::create();
    PinsShown shown(*written);
    DatabaseSourceOptions offered;
    offered.name = "prod-us/orders";
    auto source = std::make_unique<DatabaseSource>(shown, nullptr, engine_threads.get_executor(), offered);
    RunningSource running(test.context.get_executor(), test.listen(), test.policy(), {},
                          [&](AcceptedMirror& accepted) { return source->serve(accepted); });
    // Two sessions of one name and database, as the source sees a mirror that has come back.
    auto old_engine = MemoryDatabase::empty(), engine = MemoryDatabase::empty();
    MirrorOptions options;
    options.name = "eu-1/orders";
    Mirror before(test.make_link(text_of(running.address())), *old_engine, nullptr, engine_threads.get_executor(),
                  options);
    Mirror after(test.make_link(text_of(running.address())), *engine, nullptr, engine_threads.get_executor(), options);
    auto first = test.begin(before.run());
    EXPECT_TRUE(co_await eventually([&] { return shown.pins() > 0; }));
    auto second = test.begin(after.run());
    EXPECT_TRUE(
        co_await eventually([&] { return source->sessions() == 2 && after.facts().snapshot_queue.has_value(); }));
    before.stop();
    need(co_await first.end());
    EXPECT_TRUE(co_await eventually([&] { return source->sessions() == 1; }));
    // What the old session held is let go on the engine's thread.
    co_await boost::asio::post(engine_threads, boost::asio::use_awaitable);
    EXPECT_EQ(shown.pins(), 1u) << "the new session's";
    after.stop();
    need(co_await second.end());
    need(co_await running.stop());
    source.reset();
    EXPECT_EQ(shown.pins(), 0u);
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
