// Symptom: on a line that broke now and then a mirror never finished its bootstrap: each time it came back its source
// had dropped the log behind its snapshot, and it began anew.
// Cause: a session's end took its pin away at once, not when the mirror had been away for longer than the window.
#include <boost/asio/thread_pool.hpp>
#include <optional>

#include "crosslink/database_source.hpp"
#include "crosslink/mirror.hpp"
#include "regress.hpp"
#include "support/pins_shown.hpp"

namespace crosslink::test {
namespace {

/// Pins there are once a bootstrapping mirror has gone, and after another commit.
awaitable<std::pair<std::size_t, std::size_t>> pins_left(Regress& test, std::chrono::seconds away_max) {
  boost::asio::thread_pool engine_threads(1);
  auto written = MemoryDatabase::create();
  PinsShown shown(*written);
  DatabaseSourceOptions offered;
  offered.name = "prod-us/orders";
  offered.bootstrap_away_max = away_max;
  DatabaseSource source(shown, nullptr, engine_threads.get_executor(), offered);
  RunningSource running(test.context.get_executor(), test.listen(), test.policy(), {},
                        [&](AcceptedMirror& accepted) { return source.serve(accepted); });
  auto engine = MemoryDatabase::empty();
  MirrorOptions options;
  options.name = "eu-1/orders";
  Mirror mirror(test.make_link(text_of(running.address())), *engine, nullptr, engine_threads.get_executor(), options);
  auto bootstrapping = test.begin(mirror.run());
  EXPECT_TRUE(co_await eventually([&] { return shown.pins() == 1 && mirror.facts().snapshot_queue.has_value(); }));
  mirror.stop();
  need(co_await bootstrapping.end());
  EXPECT_TRUE(co_await eventually([&] { return source.sessions() == 0; }));
  const auto left = shown.pins();
  const std::array operations{Operation::put("a", "1")};
  need(written->commit(operations));
  if (away_max.count() == 0) {
    EXPECT_TRUE(co_await eventually([&] { return shown.pins() == 0; }));
  }
  const auto after_a_commit = shown.pins();
  need(co_await running.stop());
  co_return std::pair(left, after_a_commit);
}

TEST_F(Regress, a_short_absence_let_go_of_the_log_behind_a_snapshot) {
  run(context, [](Regress& test) -> awaitable<void> {
    auto for_a_while = pins_left(test, std::chrono::hours(1));
    const auto kept = co_await std::move(for_a_while);
    EXPECT_EQ(kept, (std::pair<std::size_t, std::size_t>(1, 1)));
    auto not_at_all = pins_left(test, std::chrono::seconds(0));
    const auto dropped = co_await std::move(not_at_all);
    EXPECT_EQ(dropped, (std::pair<std::size_t, std::size_t>(1, 0)));
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
