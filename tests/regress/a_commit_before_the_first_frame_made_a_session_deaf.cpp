// Symptom: a mirror that had connected while its source was being written to came up to the head of that moment and
// then got nothing more: Degraded, "the lag is not known yet", for ever. Found by killing processes under load. Cause:
// a commit between the acceptance and the mirror's first frame marked the session as told of a new head, and nothing
// took the mark away: no later commit told it anything.
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "regress.hpp"

namespace crosslink::test {
namespace {

Lsn put(MemoryDatabase& into) {
  const std::array operations{Operation::put("a", "1")};
  return need(into.commit(operations));
}

awaitable<bool> reaches(Mirror& mirror, Lsn lsn) {
  return eventually([&mirror, lsn] {
    const auto position = mirror.facts().position;
    return position && position->applied_lsn >= lsn;
  });
}

TEST_F(Regress, a_commit_before_the_first_frame_made_a_session_deaf) {
  run(context, [](Regress& test) -> awaitable<void> {
    boost::asio::thread_pool engine_threads(1);
    auto written = MemoryDatabase::create();
    put(*written);
    DatabaseSourceOptions offered;
    offered.name = "prod-us/orders";
    DatabaseSource source(*written, nullptr, engine_threads.get_executor(), offered);
    // The commit falls exactly where it did the harm: the session is there, its first frame is not.
    RunningSource running(test.context.get_executor(), test.listen(), test.policy(), {}, [&](AcceptedMirror& mirror) {
      auto serving = source.serve(mirror);
      return [](MemoryDatabase& committed, Task<void> session) -> Task<void> {
        auto executor = co_await boost::asio::this_coro::executor;
        boost::asio::post(executor, [&committed] { put(committed); });
        co_return co_await std::move(session);
      }(*written, std::move(serving));
    });
    auto engine = MemoryDatabase::empty();
    MirrorOptions options;
    options.name = "eu-1/orders";
    Mirror mirror(test.make_link(text_of(running.address())), *engine, nullptr, engine_threads.get_executor(), options);
    auto following = test.begin(mirror.run());
    EXPECT_TRUE(co_await eventually([&] { return mirror.status().kind == StatusKind::Following; }));
    EXPECT_TRUE(co_await reaches(mirror, put(*written)));
    mirror.stop();
    need(co_await following.end());
    need(co_await running.stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
