// Symptom: a mirror that reconnected while the source still held its old connection could lose the log behind its
// snapshot: the window passed although it was pinned.
// Cause: both sessions pinned the log under one name, and the end of the old one, noticed later, took the pin away.
#include <boost/asio/thread_pool.hpp>
#include <mutex>
#include <set>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "regress.hpp"

namespace crosslink::test {
namespace {

/// Notes who pins what.
class PinsShown final : public SourceEngine {
 public:
  explicit PinsShown(MemoryDatabase& of) : database_(&of) {}
  std::size_t pins() const {
    const std::scoped_lock lock(mutex_);
    return pins_.size();
  }
  SourceState source_state() const override { return database_->source_state(); }
  Result<LogSlice> read_log(Lsn after, std::size_t bytes_max) override { return database_->read_log(after, bytes_max); }
  Result<PositionProof> prove(const EntryId& last_entry, Lsn at) override { return database_->prove(last_entry, at); }
  Result<std::shared_ptr<SnapshotReader>> open_snapshot(std::span<const std::string>,
                                                        const std::optional<SnapshotId>&) override {
    return MirrorError(ErrorKind::Busy, CausedBy::us, "the bootstrap stays where it is");
  }
  void pin(const std::string& holder, Lsn) override {
    const std::scoped_lock lock(mutex_);
    pins_.insert(holder);
  }
  void unpin(const std::string& holder) override {
    const std::scoped_lock lock(mutex_);
    pins_.erase(holder);
  }
  std::optional<WindowLeft> window_left(Lsn after) const override { return database_->window_left(after); }
  void watch_head(std::function<void(Lsn)> on_head) override { database_->watch_head(std::move(on_head)); }

 private:
  MemoryDatabase* database_;
  mutable std::mutex mutex_;
  std::set<std::string> pins_;
};

TEST_F(Regress, an_old_sessions_end_dropped_what_its_successor_needed) {
  run(context, [](Regress& test) -> awaitable<void> {
    boost::asio::thread_pool engine_threads(1);
    auto written = MemoryDatabase::create();
    PinsShown shown(*written);
    DatabaseSourceOptions offered;
    offered.name = "prod-us/orders";
    DatabaseSource source(shown, nullptr, engine_threads.get_executor(), offered);
    RunningSource running(test.context.get_executor(), test.listen(), test.policy(), {},
                          [&](AcceptedMirror& accepted) { return source.serve(accepted); });
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
        co_await eventually([&] { return source.sessions() == 2 && after.facts().snapshot_queue.has_value(); }));
    before.stop();
    need(co_await first.end());
    EXPECT_TRUE(co_await eventually([&] { return source.sessions() == 1; }));
    EXPECT_EQ(shown.pins(), 1u) << "the new session's";
    after.stop();
    need(co_await second.end());
    need(co_await running.stop());
    EXPECT_EQ(shown.pins(), 0u);
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
