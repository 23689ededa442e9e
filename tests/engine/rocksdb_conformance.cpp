// RocksDB, hosted, through the suite that every engine passes.
#include "crosslink/rocksdb_engine.hpp"
#include "support/engine_conformance.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

class TestedRocksdb final : public TestedDatabase {
 public:
  TestedRocksdb(bool root, RocksdbSync sync) : root_(root) {
    options_.folder = folder_.path() / "database";
    options_.sync = sync;
    database_ = open();
  }
  SourceEngine& source() override { return *database_; }
  MirrorEngine& mirror() override { return *database_; }
  VerifiableEngine& verifiable() override { return *database_; }
  Result<Lsn> commit(std::span<const Operation> operations) override { return database_->commit(operations); }
  Contents read_all() override {
    Contents contents;
    for (auto& [key, value] : scan(*must(database_->view()), "", std::nullopt)) {
      EXPECT_EQ(must(database_->get(key)), value);
      contents.emplace(key, value);
    }
    return contents;
  }
  bool reopen() override {
    database_.reset();
    database_ = must(RocksdbDatabase::open(options_));
    return true;
  }
  bool trim_log() override {
    must(database_->purge_log());
    return true;
  }

 private:
  std::unique_ptr<RocksdbDatabase> open() {
    return must(root_ ? RocksdbDatabase::open_root(options_) : RocksdbDatabase::open_mirror(options_));
  }
  TemporaryFolder folder_;
  RocksdbOptions options_;
  bool root_;
  std::unique_ptr<RocksdbDatabase> database_;
};

EngineUnderTest rocksdb(std::string name, RocksdbSync sync) {
  return {.name = std::move(name),
          .make_root = [=] { return std::make_unique<TestedRocksdb>(true, sync); },
          .make_empty_mirror = [=] { return std::make_unique<TestedRocksdb>(false, sync); },
          .snapshots_max = RocksdbOptions{}.snapshots_max};
}

INSTANTIATE_TEST_SUITE_P(Rocksdb, EngineConformance,
                         testing::Values(rocksdb("synced", RocksdbSync::always), rocksdb("lazy", RocksdbSync::never)),
                         [](const auto& engine) { return engine.param.name; });

}  // namespace
}  // namespace crosslink::test
