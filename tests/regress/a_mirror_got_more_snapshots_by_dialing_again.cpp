// Symptom: a mirror in a loop of resync and reconnect had its source make one snapshot after another, whatever
// snapshots_per_minute_max said.
// Cause: each session counted its own.
#include <boost/asio/thread_pool.hpp>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "regress.hpp"

namespace crosslink::test {
namespace {

TEST_F(Regress, a_mirror_got_more_snapshots_by_dialing_again) {
  run(context, [](Regress& test) -> awaitable<void> {
    boost::asio::thread_pool engine_threads(1);
    auto written = MemoryDatabase::create();
    const std::array operations{Operation::put("a", "1")};
    need(written->commit(operations));
    DatabaseSourceOptions offered;
    offered.name = "prod-us/orders";
    offered.snapshots_per_minute_max = 2;
    DatabaseSource source(*written, written.get(), engine_threads.get_executor(), offered);
    RunningSource running(test.context.get_executor(), test.listen(), test.policy(), {},
                          [&](AcceptedMirror& accepted) { return source.serve(accepted); });
    for (int session = 0; session < 3; ++session) {
      auto engine = MemoryDatabase::empty();
      MirrorOptions options;
      options.name = "eu-1/orders";
      Mirror mirror(test.make_link(text_of(running.address())), *engine, nullptr, engine_threads.get_executor(),
                    options);
      auto bootstrapping = test.begin(mirror.run());
      if (session < 2) {
        EXPECT_TRUE(co_await eventually([&] { return mirror.facts().bootstraps == 1; }));
      } else {
        const auto refused = [&] { return mirror.status().reason.contains("asks again by itself, and gets one"); };
        EXPECT_TRUE(co_await eventually(refused));
        EXPECT_EQ(mirror.facts().bootstraps, 0u);
      }
      mirror.stop();
      need(co_await bootstrapping.end());
    }
    need(co_await running.stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
