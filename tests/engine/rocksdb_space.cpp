// A hosted database on a disk with little or no space: RocksDB is asked only for what fits, reads go on, and what comes
// from another cluster leaves room for what is written here.
#include <atomic>
#include <fstream>
#include <limits>

#include "engine/rocksdb_fixture.hpp"
#include "support/faulty_disk.hpp"

namespace crosslink::test {
namespace {

class LittleSpace : public RocksdbEngine {
 protected:
  RocksdbOptions on_disk(const std::string& name) const {
    auto chosen = options(name);
    chosen.env = disk->env();
    chosen.write_buffer_bytes = 1024 * 1024;
    return chosen;
  }
  static std::string said(const auto& result) { return result ? "done" : result.error().message(); }
  static auto commit(RocksdbDatabase& database, const std::string& key) {
    const std::array operations{Operation::put(key, "1")};
    return database.commit(operations);
  }
  /// After a kill and another boot, with "a" in it: it is open for reading only.
  std::unique_ptr<RocksdbDatabase> killed_and_opened_without_space() const {
    auto chosen = on_disk("root");
    chosen.boot_id = "first boot";
    put(*must(RocksdbDatabase::open_root(chosen)), "a", "1");
    std::ofstream(chosen.folder / "running") << "first boot";  // as a kill would leave it
    chosen.boot_id = "second boot";
    disk->set_full(true);
    return must(RocksdbDatabase::open_root(chosen));
  }
  std::shared_ptr<FaultyDisk> disk = FaultyDisk::below(folder.path());
};

TEST_F(LittleSpace, a_start_without_space_serves_reads_names_the_bytes_and_takes_writes_once_they_are_free) {
  auto database = must(RocksdbDatabase::open_root(on_disk("root")));
  put(*database, "a", std::string(300'000, 'x'));
  const auto before = database->source_state();
  database.reset();
  disk->set_full(true);
  database = must(RocksdbDatabase::open_root(on_disk("root")));
  EXPECT_EQ(disk->refused_for_space(), 0u) << "RocksDB is not asked for what does not fit";
  EXPECT_EQ(all(*database).size(), 1u);
  EXPECT_EQ(database->source_state().history, before.history);
  const auto refused = commit(*database, "b");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::Storage);
  EXPECT_NE(said(refused).find("reading only"), std::string::npos) << said(refused);
  EXPECT_NE(said(refused).find(" bytes of free space"), std::string::npos) << said(refused);
  ASSERT_TRUE(database->writes_refused());
  EXPECT_NE(database->detail().find("it takes no writes: "), std::string::npos) << database->detail();
  disk->set_full(false);
  must(commit(*database, "b"));
  EXPECT_FALSE(database->writes_refused());
  EXPECT_EQ(database->detail(), "");
  EXPECT_EQ(database->source_state().history.newest().cause, HistoryCause::restamp) << "nothing was lost";
  EXPECT_EQ(read_log_to_head(*database, before.head, 1000).size(), 1u);
  database.reset();
  EXPECT_EQ(all(*must(RocksdbDatabase::open_root(on_disk("root")))).size(), 2u);
}

TEST_F(LittleSpace, a_start_without_space_after_another_boot_begins_its_incarnation_before_it_takes_writes) {
  const auto database = killed_and_opened_without_space();
  EXPECT_EQ(database->source_state().history.records().size(), 1u);
  std::atomic<int> told = 0;
  database->watch_history([&] { ++told; });
  disk->set_full(false);
  const auto first = must(commit(*database, "b"));
  const auto state = database->source_state();
  ASSERT_EQ(state.history.records().size(), 2u);
  EXPECT_EQ(state.history.newest().cause, HistoryCause::unclean_stop);
  EXPECT_LE(state.history.newest().first_lsn, first);
  EXPECT_EQ(told, 1) << "sessions that began before end";
  database->watch_history({});
}

TEST_F(LittleSpace, a_restamp_after_a_start_without_space_leaves_what_the_start_owed_in_the_history) {
  const auto database = killed_and_opened_without_space();
  disk->set_full(false);
  must(database->restamp());
  const auto state = database->source_state();
  ASSERT_EQ(state.history.records().size(), 3u);
  EXPECT_EQ(state.history.records()[1].cause, HistoryCause::unclean_stop);
  EXPECT_LE(state.history.newest().first_lsn, state.head);
}

TEST_F(LittleSpace, a_new_database_without_space_is_refused_with_the_bytes_it_needs) {
  disk->say_free(1000);
  const auto opened = RocksdbDatabase::open_root(on_disk("root"));
  EXPECT_EQ(raw_error(opened), "Storage");
  EXPECT_NE(said(opened).find("and there are 1000"), std::string::npos) << said(opened);
}

TEST_F(LittleSpace, a_snapshot_that_does_not_fit_is_not_begun_and_breaks_nothing) {
  const auto database = must(RocksdbDatabase::open_root(on_disk("root")));
  fill(*database, 50, 1000);
  disk->set_full(true);
  const std::vector<std::string> formats{own_format()};
  EXPECT_EQ(refusal(database->open_snapshot(formats, std::nullopt)), "Storage");
  EXPECT_EQ(disk->refused_for_space(), 0u);
  EXPECT_EQ(refusal(database->purge_log()), "Storage");
  EXPECT_EQ(disk->refused_for_space(), 0u);
  disk->set_full(false);
  put(*database, "after", "1");
  EXPECT_EQ(refusal(database->open_snapshot(formats, std::nullopt)), "done");
}

TEST_F(LittleSpace, a_received_snapshot_leaves_what_is_to_stay_free) {
  const auto source = root();
  fill(*source, 100, 1000);
  auto chosen = on_disk("mirror");
  chosen.min_free_bytes = 100'000'000;
  const auto copy = must(RocksdbDatabase::open_mirror(chosen));
  for (const auto& format : {own_format(), std::string(kv_format)}) {
    SCOPED_TRACE(format);
    const auto reader = open_as(*source, format);
    if (const auto total = reader->facts().total_bytes) {
      disk->say_free(chosen.min_free_bytes + *total - 1);
      EXPECT_EQ(refusal(copy->begin_snapshot(reader->facts())), "Storage");
      EXPECT_FALSE(copy->mirror_state().partial);
      disk->say_free(chosen.min_free_bytes + *total);
    }
    must(copy->begin_snapshot(reader->facts()));
    const auto piece = must(reader->read(0, chunk_bytes));
    const StoredChunk chunk{0, static_cast<std::uint32_t>(piece.bytes->size()), crc32c(*piece.bytes)};
    disk->say_free(chosen.min_free_bytes + chunk.bytes - 1);
    const auto stored = copy->store_chunk(chunk, *piece.bytes);
    EXPECT_EQ(refusal(stored), "Storage");
    EXPECT_NE(said(stored).find("min_free_bytes"), std::string::npos) << said(stored);
    EXPECT_EQ(copy->mirror_state().partial->bytes(), 0u) << "what was received stays, and no more comes";
    disk->say_free({});
    store_rest(*copy, *reader, chunk_bytes);
    if (format == kv_format) {  // its tables are written beside it
      disk->say_free(chosen.min_free_bytes);
      EXPECT_EQ(refusal(copy->switch_snapshot()), "Storage");
      disk->say_free({});
    }
    must(copy->switch_snapshot());
    EXPECT_EQ(all(*copy), all(*source));
    must(copy->drop_snapshot());
  }
}

TEST_F(LittleSpace, a_snapshot_that_no_disk_has_room_for_is_the_peers_fault) {
  const auto source = root();
  const auto copy = must(RocksdbDatabase::open_mirror(on_disk("mirror")));
  auto facts = open_as(*source, own_format())->facts();
  facts.total_bytes = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(refusal(copy->begin_snapshot(facts)), "UnsupportedOperation");
  // File lengths whose sum is more than a number holds.
  std::string list;
  for (int number = 0; number < (1 << 14); ++number)
    list += fmt::format("{:06}.sst {}\n", number, 1ull << 50);
  const auto decoded = rocks::decode_checkpoint_head(std::as_bytes(std::span(list)));
  EXPECT_EQ(refusal(decoded), "UnsupportedOperation");
}

}  // namespace
}  // namespace crosslink::test
