// A RocksDB that a program owns, on a disk whose power is cut at any change of it, and on one that is full.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/sst_file_writer.h>

#include <cstdlib>

#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/rocksdb_source.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "session/history_judge.hpp"
#include "support/faulty_disk.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

constexpr std::uint32_t chunk_bytes = 16 * 1024;

/// As in rocksdb_power.cpp.
std::uint64_t stride(std::uint64_t usual) { return std::getenv("CROSSLINK_EVERY_CUT") != nullptr ? 1 : usual; }

/// A program's database and what it offers of it. Each step answers whether the disk took it.
class Owner {
 public:
  Owner(std::filesystem::path folder, rocksdb::Env* env) : folder_(std::move(folder)), env_(env) {}
  ~Owner() { close(); }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

  bool open_database() {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.write_buffer_size = 64 * 1024;
    options.env = env_;
    RocksdbSource::prepare(options);
    rocksdb::DB* opened = nullptr;
    const auto status = rocksdb::DB::Open(options, (folder_ / "own").string(), &opened);
    database_.reset(opened);
    why_ = status.ToString();
    return status.ok();
  }
  bool offer(const std::string& boot_id) {
    RocksdbSourceOptions options;
    options.folder = folder_ / "beside";
    options.boot_id = boot_id;
    auto opened = RocksdbSource::open(*database_, options);
    if (opened) source_ = *std::move(opened);
    if (!opened) why_ = opened.error().message();
    return opened.ok();
  }
  bool put(int number) {
    const auto value = fmt::format("{}-{}", number, std::string(1000, 'x'));
    return database_->Put({}, fmt::format("key{:04}", number % 30), value).ok();
  }
  bool put_all(int from, int to) {
    for (int number = from; number < to; ++number)
      if (!put(number)) return false;
    return true;
  }
  bool ingest(const std::string& key) {
    const auto table = (folder_ / "table.sst").string();
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), database_->GetOptions());
    return writer.Open(table).ok() && writer.Put(key, "ingested").ok() && writer.Finish().ok() &&
           database_->IngestExternalFile({table}, {}).ok();
  }
  bool sync() { return database_->SyncWAL().ok(); }
  void close() {
    source_.reset();
    database_.reset();
  }
  Contents contents() const {
    Contents all;
    const std::unique_ptr<rocksdb::Iterator> pairs(database_->NewIterator({}));
    for (pairs->SeekToFirst(); pairs->Valid(); pairs->Next())
      all.emplace(pairs->key().ToString(), pairs->value().ToString());
    return all;
  }
  rocksdb::DB& database() { return *database_; }
  RocksdbSource& source() { return *source_; }
  const std::string& why() const { return why_; }

 private:
  std::filesystem::path folder_;
  rocksdb::Env* env_;
  std::unique_ptr<rocksdb::DB> database_;
  std::unique_ptr<RocksdbSource> source_;
  std::string why_;
};

Contents all(RocksdbDatabase& mirror) {
  Contents found;
  for (auto& [key, value] : scan(*must(mirror.view()), "", std::nullopt))
    found.emplace(key, value);
  return found;
}

void bootstrap_from(RocksdbDatabase& mirror, RocksdbSource& source) {
  for (int attempts = 0;; ++attempts) {
    const std::vector<std::string> formats{std::string(kv_format)};
    const auto reader = source.open_snapshot(formats, std::nullopt);
    if (!reader && reader.error().kind() == ErrorKind::Busy && attempts < 3) continue;  // "retry", it said
    receive(mirror, *must(reader), chunk_bytes);
    EXPECT_FALSE(must(mirror.check_snapshot()).cut_back_to);
    must(mirror.switch_snapshot());
    return;
  }
}

/// The log to the head, as a session would ask for it: judged first. What the judge or the engine says against it.
Result<void> follow_as_a_session(RocksdbDatabase& mirror, RocksdbSource& source) {
  const auto request = position_of(mirror);
  auto judged = core::judge_request(source.source_state(), request);
  if (auto* refused = std::get_if<MirrorError>(&judged)) return *refused;
  const auto from = std::get<core::NeedsProof>(judged).from;
  if (auto refused = core::judge_proof(must(source.prove(request.last_entry, from)), request)) return *refused;
  if (from < request.applied_lsn) must(mirror.step_back(from));
  while (position_of(mirror).applied_lsn < source.source_state().head) {
    const auto before = position_of(mirror);
    const auto slice = source.read_log(before.applied_lsn, 5000);
    if (!slice) return slice.error();
    must(mirror.apply({{*slice->entries}, position_after(*slice, source, before)}));
  }
  return {};
}

/// A mirror of the owner's database on the system's disk, which no cut takes anything from.
std::unique_ptr<RocksdbDatabase> mirror_in(const std::filesystem::path& folder) {
  RocksdbOptions options;
  options.folder = folder;
  return must(RocksdbDatabase::open_mirror(options));
}

/// Unsynced writes before it is offered and after; a mirror follows; data past the log. Ends at the first error. True:
/// all of it was done.
bool work(Owner& owner, RocksdbDatabase& mirror) {
  if (!owner.open_database() || !owner.put_all(0, 40)) return false;
  if (!owner.offer("before the cut") || !owner.put_all(40, 60)) return false;
  bootstrap_from(mirror, owner.source());
  if (!owner.put_all(60, 110) || !follow_as_a_session(mirror, owner.source())) return false;
  if (!owner.sync() || !owner.put_all(110, 150) || !follow_as_a_session(mirror, owner.source())) return false;
  if (!owner.ingest("past the log") || !owner.put_all(150, 160)) return false;
  bootstrap_from(mirror, owner.source());
  if (!owner.put_all(160, 180) || !follow_as_a_session(mirror, owner.source())) return false;
  owner.close();
  return owner.open_database() && owner.offer("before the cut") && owner.put_all(180, 200);
}

/// After the cut: it is offered again, and its mirror has in the end what the owner has, or was told.
void check(Owner& owner, RocksdbDatabase& mirror) {
  ASSERT_TRUE(owner.open_database()) << owner.why();
  ASSERT_TRUE(owner.offer("after the cut")) << owner.why();
  const auto state = owner.source().source_state();
  const std::vector<HistoryRecord> records(state.history.records().begin(), state.history.records().end());
  EXPECT_TRUE(History::from_records(records)) << "a history that no mirror takes";
  EXPECT_LE(state.oldest, state.head);
  ASSERT_TRUE(owner.put_all(200, 290));
  if (mirror.mirror_state().position) {
    const auto followed = follow_as_a_session(mirror, owner.source());
    if (followed) {
      EXPECT_EQ(all(mirror), owner.contents()) << "it follows, and has other contents";
    }
  }
  bootstrap_from(mirror, owner.source());
  EXPECT_EQ(all(mirror), owner.contents());
  ASSERT_TRUE(owner.put_all(290, 300));
  EXPECT_EQ(refusal(follow_as_a_session(mirror, owner.source())), "done");
  EXPECT_EQ(all(mirror), owner.contents());
}

TEST(PowerCutOfACallersRocksdb, is_noticed_by_every_mirror_that_it_concerns) {
  std::uint64_t changes = 0;
  {
    const TemporaryFolder folder;
    const auto disk = FaultyDisk::below(folder.path() / "disk");
    Owner owner(folder.path() / "disk", disk->env());
    const auto mirror = mirror_in(folder.path() / "mirror");
    ASSERT_NO_THROW(ASSERT_TRUE(work(owner, *mirror)) << owner.why());
    changes = disk->changes();
  }
  ASSERT_GT(changes, 200u);
  std::uint64_t cuts = 0;
  for (std::uint64_t at = 0; at < changes; at += stride(23)) {
    SCOPED_TRACE(fmt::format("cut after {} changes", at));
    const TemporaryFolder folder;
    const auto disk = FaultyDisk::below(folder.path() / "disk", at);
    Owner owner(folder.path() / "disk", disk->env());
    const auto mirror = mirror_in(folder.path() / "mirror");
    disk->cut_power_after(at);
    try {
      static_cast<void>(work(owner, *mirror));
    } catch (const std::runtime_error&) {  // of must(): the disk is gone
      ASSERT_TRUE(disk->power_is_cut());
    }
    cuts += disk->power_is_cut() ? 1 : 0;
    owner.close();
    disk->restore_power();
    ASSERT_NO_THROW(check(owner, *mirror));
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(cuts, changes / stride(23) / 2);
}

TEST(FullDiskOfACallersRocksdb, a_snapshot_that_cannot_be_made_is_an_error_and_blocks_no_call) {
  const TemporaryFolder folder;
  // Only the owner's own folder is full: what makes the snapshot fail is RocksDB's flush, which tells its listeners.
  const auto disk = FaultyDisk::below(folder.path() / "own");
  Owner owner(folder.path(), disk->env());
  ASSERT_TRUE(owner.open_database() && owner.offer("a boot") && owner.put_all(0, 20)) << owner.why();
  disk->set_full(true);
  disk->say_free(1ull << 40);  // another filled it since RocksDB was asked
  const std::vector<std::string> formats{std::string(kv_format)};
  EXPECT_EQ(refusal(owner.source().open_snapshot(formats, std::nullopt)), "Storage");
  disk->set_full(false);
  disk->say_free({});
  EXPECT_EQ(owner.source().source_state().history.newest().cause, HistoryCause::unlogged_change)
      << "what RocksDB had in memory may come to the log or not";
  owner.close();
  ASSERT_TRUE(owner.open_database() && owner.offer("a boot")) << owner.why();
  const auto mirror = mirror_in(folder.path() / "mirror");
  bootstrap_from(*mirror, owner.source());
  EXPECT_EQ(all(*mirror), owner.contents());
}

}  // namespace
}  // namespace crosslink::test
