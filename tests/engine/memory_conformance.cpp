// The memory engine, once with everything durable at once and once with a disk that only sync() writes to.
#include <memory>
#include <string>
#include <utility>

#include "crosslink/memory_engine.hpp"
#include "crosslink/testing/engine_conformance.hpp"
#include "crosslink/testing/memory_faults.hpp"

namespace crosslink::test {
namespace {

class TestedMemory final : public TestedDatabase {
 public:
  TestedMemory(std::unique_ptr<MemoryDatabase> database, bool manual_sync)
      : database_(std::move(database)), manual_sync_(manual_sync) {}
  SourceEngine& source() override { return *database_; }
  MirrorEngine& mirror() override { return *database_; }
  VerifiableEngine& verifiable() override { return *database_; }
  Result<Lsn> commit(std::span<const Operation> operations) override { return database_->commit(operations); }
  Contents read_all() override {
    Contents contents;
    for (auto& [key, value] : scan(*must(database_->view()), "", std::nullopt)) {
      EXPECT_EQ(database_->get(key), value);
      contents.emplace(key, value);
    }
    EXPECT_EQ(contents.size(), database_->size());
    return contents;
  }
  bool reopen() override {
    if (manual_sync_) MemoryFaults(*database_).crash();
    return manual_sync_;
  }
  bool fail_next(std::uint32_t calls) override {
    MemoryFaults(*database_).fail_next(calls);
    return true;
  }
  bool damage_stored_byte(std::uint64_t offset) override { return MemoryFaults(*database_).damage_stored_byte(offset); }
  bool trim_log() override {
    database_->purge_log();
    return true;
  }

 private:
  std::unique_ptr<MemoryDatabase> database_;
  bool manual_sync_;
};

EngineUnderTest memory(std::string name, bool manual_sync) {
  const auto options = [manual_sync] {
    static std::uint64_t seed = 0;  // ids come from it: no two databases may share one
    MemoryOptions chosen;
    chosen.manual_sync = manual_sync;
    chosen.seed = ++seed;
    return chosen;
  };
  return {.name = std::move(name),
          .make_root = [=] { return std::make_unique<TestedMemory>(MemoryDatabase::create(options()), manual_sync); },
          .make_empty_mirror =
              [=] { return std::make_unique<TestedMemory>(MemoryDatabase::empty(options()), manual_sync); },
          .snapshots_max = MemoryOptions{}.snapshots_max};
}

INSTANTIATE_TEST_SUITE_P(Memory, EngineConformance,
                         testing::Values(memory("memory", false), memory("memory_with_a_disk", true)),
                         [](const auto& engine) { return engine.param.name; });

}  // namespace
}  // namespace crosslink::test
