// Goal: the conformance suite, as it is installed, accepts a good engine and names what is wrong with a bad one.
// Method: the engine in memory, as a user's own; and the same behind a source that loses entries.
#include <crosslink/memory_engine.hpp>
#include <crosslink/testing/engine_conformance.hpp>
#include <crosslink/testing/memory_faults.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

// [snippet of docs/engines.md]
namespace crosslink::test {
namespace {

/// One database of the engine: how the suite writes to it, reads it, and makes it fail.
class TestedEngine : public TestedDatabase {
 public:
  explicit TestedEngine(std::unique_ptr<MemoryDatabase> database) : database_(std::move(database)) {}
  SourceEngine& source() override { return *database_; }
  MirrorEngine& mirror() override { return *database_; }
  VerifiableEngine& verifiable() override { return *database_; }
  Result<Lsn> commit(std::span<const Operation> operations) override { return database_->commit(operations); }
  Contents read_all() override {
    Contents contents;
    for (const auto& [key, value] : scan(*must(database_->view()), "", std::nullopt))
      contents.emplace(key, database_->get(key).value());
    return contents;
  }
  bool fail_next(std::uint32_t calls) override {
    MemoryFaults(*database_).fail_next(calls);
    return true;
  }
  bool trim_log() override {
    database_->purge_log();
    return true;
  }

 private:
  std::unique_ptr<MemoryDatabase> database_;
};

MemoryOptions next_options() {
  static std::uint64_t seed = 0;  // no two databases may draw the same ids
  MemoryOptions options;
  options.seed = ++seed;
  return options;
}

EngineUnderTest as_it_is() {
  return {.name = "as_it_is",
          .make_root = [] { return std::make_unique<TestedEngine>(MemoryDatabase::create(next_options())); },
          .make_empty_mirror = [] { return std::make_unique<TestedEngine>(MemoryDatabase::empty(next_options())); },
          .snapshots_max = MemoryOptions{}.snapshots_max};
}

INSTANTIATE_TEST_SUITE_P(Good, EngineConformance, testing::Values(as_it_is()),
                         [](const auto& engine) { return engine.param.name; });

}  // namespace
}  // namespace crosslink::test
// [end of snippet]

namespace crosslink::test {
namespace {

/// Leaves the last entry out of each slice of several, and says that nothing lies there.
class LossySource final : public SourceEngine {
 public:
  explicit LossySource(SourceEngine& engine) : engine_(engine) {}
  SourceState source_state() const override { return engine_.source_state(); }
  Result<LogSlice> read_log(Lsn after, std::size_t bytes_max) override {
    auto slice = engine_.read_log(after, bytes_max);
    if (!slice || slice->count < 2) return slice;
    std::vector<std::byte> kept;
    std::span<const std::byte> rest = *slice->entries;
    for (std::uint64_t i = 1; i < slice->count; ++i) {
      const auto encoding = must(read_entry(rest)).encoding();
      kept.insert(kept.end(), encoding.begin(), encoding.end());
    }
    slice->entries = std::make_shared<const std::vector<std::byte>>(std::move(kept));
    --slice->count;
    return slice;
  }
  Result<PositionProof> prove(const EntryId& last_entry, Lsn at) override { return engine_.prove(last_entry, at); }
  Result<std::shared_ptr<SnapshotReader>> open_snapshot(std::span<const std::string> formats,
                                                        const std::optional<SnapshotId>& wanted) override {
    return engine_.open_snapshot(formats, wanted);
  }
  void pin(const std::string& holder, Lsn from) override { engine_.pin(holder, from); }
  void unpin(const std::string& holder) override { engine_.unpin(holder); }
  std::optional<WindowLeft> window_left(Lsn after) const override { return engine_.window_left(after); }
  void watch_log(std::function<void(const CommittedLog& log)> on_log) override { engine_.watch_log(std::move(on_log)); }

 private:
  SourceEngine& engine_;
};

class TestedLossy final : public TestedEngine {
 public:
  using TestedEngine::TestedEngine;
  SourceEngine& source() override { return lossy_; }

 private:
  LossySource lossy_{TestedEngine::source()};
};

EngineUnderTest loses_entries() {
  auto engine = as_it_is();
  engine.name = "loses_entries";
  engine.make_root = [] { return std::make_unique<TestedLossy>(MemoryDatabase::create(next_options())); };
  return engine;
}

INSTANTIATE_TEST_SUITE_P(Bad, EngineConformance, testing::Values(loses_entries()),
                         [](const auto& engine) { return engine.param.name; });

}  // namespace
}  // namespace crosslink::test
