// RocksDB, hosted, through the suite that every engine passes.
#include "crosslink/rocksdb_engine.hpp"

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <fstream>

#include "crosslink/rocksdb_source.hpp"
#include "crosslink/testing/engine_conformance.hpp"
#include "support/faulty_disk.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

/// A mirror whose disk is full for as many calls that write as told.
class MirrorOnFullDisk final : public MirrorEngine {
 public:
  explicit MirrorOnFullDisk(FaultyDisk& disk) : disk_(&disk) {}
  void forward_to(MirrorEngine* engine) { engine_ = engine; }
  void fail_next(std::uint32_t calls) { calls_ = calls; }
  EngineTraits traits() const override { return engine_->traits(); }
  MirrorState mirror_state() const override { return engine_->mirror_state(); }
  Result<void> apply(const ApplyGroup& group) override {
    return on_disk([&] { return engine_->apply(group); });
  }
  Result<void> step_back(Lsn from) override {
    return on_disk([&] { return engine_->step_back(from); });
  }
  Result<Lsn> sync() override {
    return on_disk([&] { return engine_->sync(); });
  }
  Result<void> begin_snapshot(const SnapshotFacts& facts) override {
    return on_disk([&] { return engine_->begin_snapshot(facts); });
  }
  Result<void> store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) override {
    return on_disk([&] { return engine_->store_chunk(chunk, bytes); });
  }
  Result<SnapshotCheck> check_snapshot() override { return engine_->check_snapshot(); }
  Result<void> switch_snapshot() override {
    return on_disk([&] { return engine_->switch_snapshot(); });
  }
  Result<void> drop_snapshot() override {
    return on_disk([&] { return engine_->drop_snapshot(); });
  }
  Result<PromotedFrom> promote(const std::string& cluster, const std::string& database) override {
    return on_disk([&] { return engine_->promote(cluster, database); });
  }

 private:
  template <class Call>
  auto on_disk(Call call) -> decltype(call()) {
    const bool fails = calls_ > 0;
    if (fails) --calls_;
    disk_->set_full(fails);
    auto result = call();
    disk_->set_full(false);
    return result;
  }
  FaultyDisk* disk_;
  MirrorEngine* engine_ = nullptr;
  std::uint32_t calls_ = 0;
};

class TestedRocksdb final : public TestedDatabase {
 public:
  TestedRocksdb(bool root, RocksdbSync sync) : root_(root) {
    options_.folder = folder_.path() / "database";
    options_.sync = sync;
    options_.env = disk_->env();
    database_ = open();
    failing_.forward_to(database_.get());
  }
  SourceEngine& source() override { return *database_; }
  MirrorEngine& mirror() override { return failing_; }
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
    failing_.forward_to(nullptr);
    database_ = must(RocksdbDatabase::open(options_));
    failing_.forward_to(database_.get());
    return true;
  }
  bool trim_log() override {
    must(database_->purge_log());
    return true;
  }
  bool fail_next(std::uint32_t calls) override {
    failing_.fail_next(calls);
    return true;
  }
  bool damage_stored_byte(std::uint64_t offset) override {
    std::fstream file(options_.folder / "partial" / "stream", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const auto byte = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 1));
    return byte != EOF && file.good();
  }

 private:
  std::unique_ptr<RocksdbDatabase> open() {
    return must(root_ ? RocksdbDatabase::open_root(options_) : RocksdbDatabase::open_mirror(options_));
  }
  TemporaryFolder folder_;
  std::shared_ptr<FaultyDisk> disk_ = FaultyDisk::below(folder_.path());
  MirrorOnFullDisk failing_{*disk_};
  RocksdbOptions options_;
  bool root_;
  std::unique_ptr<RocksdbDatabase> database_;
};

/// A RocksDB that the test owns, as a source; its mirrors are hosted.
class TestedCallersRocksdb final : public TestedDatabase {
 public:
  TestedCallersRocksdb() { open(); }
  ~TestedCallersRocksdb() override { close(); }
  SourceEngine& source() override { return *source_; }
  MirrorEngine& mirror() override { throw std::logic_error("a caller's database is no mirror"); }
  VerifiableEngine& verifiable() override { return *source_; }
  Result<Lsn> commit(std::span<const Operation> operations) override {
    rocksdb::WriteBatch batch;
    const auto slice = [](std::string_view text) { return rocksdb::Slice(text.data(), text.size()); };
    for (const auto& operation : operations) {
      switch (operation.kind) {
        case OperationKind::put: EXPECT_TRUE(batch.Put(slice(operation.key), slice(operation.value)).ok()); break;
        case OperationKind::erase: EXPECT_TRUE(batch.Delete(slice(operation.key)).ok()); break;
        case OperationKind::erase_range: {
          const auto end = operation.end.value_or("\xff\xff\xff");  // behind every key of the suite
          EXPECT_TRUE(batch.DeleteRange(slice(operation.key), slice(end)).ok());
        }
      }
    }
    const auto status = database_->Write({}, &batch);
    if (!status.ok()) return MirrorError(ErrorKind::Storage, CausedBy::us, status.ToString());
    source_->look_now();
    return Lsn{database_->GetLatestSequenceNumber()};
  }
  Contents read_all() override {
    Contents contents;
    const std::unique_ptr<rocksdb::Iterator> pairs(database_->NewIterator({}));
    for (pairs->SeekToFirst(); pairs->Valid(); pairs->Next())
      contents.emplace(pairs->key().ToString(), pairs->value().ToString());
    return contents;
  }
  Result<void> make_durable() override {
    EXPECT_TRUE(database_->SyncWAL().ok());
    return {};
  }
  bool reopen() override {
    close();
    open();
    return true;
  }

 private:
  void open() {
    rocksdb::Options options;
    options.create_if_missing = true;
    RocksdbSource::prepare(options);
    rocksdb::DB* database = nullptr;
    const auto opened = rocksdb::DB::Open(options, (folder_.path() / "own").string(), &database);
    if (!opened.ok()) throw std::runtime_error(opened.ToString());
    database_.reset(database);
    RocksdbSourceOptions chosen;
    chosen.folder = folder_.path() / "beside";
    source_ = must(RocksdbSource::open(*database_, chosen));
  }
  void close() {
    source_.reset();
    database_.reset();
  }
  TemporaryFolder folder_;
  std::unique_ptr<rocksdb::DB> database_;
  std::unique_ptr<RocksdbSource> source_;
};

EngineUnderTest callers_rocksdb() {
  return {.name = "callers",
          .make_root = [] { return std::make_unique<TestedCallersRocksdb>(); },
          .make_empty_mirror = [] { return std::make_unique<TestedRocksdb>(false, RocksdbSync::never); },
          .snapshots_max = RocksdbSourceOptions{}.snapshots_max};
}

EngineUnderTest rocksdb(std::string name, RocksdbSync sync) {
  return {.name = std::move(name),
          .make_root = [=] { return std::make_unique<TestedRocksdb>(true, sync); },
          .make_empty_mirror = [=] { return std::make_unique<TestedRocksdb>(false, sync); },
          .snapshots_max = RocksdbOptions{}.snapshots_max};
}

INSTANTIATE_TEST_SUITE_P(Rocksdb, EngineConformance,
                         testing::Values(rocksdb("synced", RocksdbSync::always), rocksdb("lazy", RocksdbSync::never),
                                         rocksdb("each_second", RocksdbSync::every_second), callers_rocksdb()),
                         [](const auto& engine) { return engine.param.name; });

}  // namespace
}  // namespace crosslink::test
