// A program's own RocksDB that was restored from a backup and written on: a mirror of what it had before is told, also
// where the two lives happen to agree.
#include "engine/answer_to.hpp"
#include "engine/callers_rocksdb.hpp"

namespace crosslink::test {
namespace {

namespace fs = std::filesystem;

class RestoredRocksdb : public CallersRocksdb {
 protected:
  void copy(const char* from, const char* to) const {
    fs::remove_all(folder.path() / to);
    fs::copy(folder.path() / from, folder.path() / to, fs::copy_options::recursive);
  }
  void write_orders(const std::string& life) const {
    for (int order = 0; order < 9; ++order)
      put(fmt::format("order {}", order), life);
  }
  void heartbeats(int count) const {
    for (int i = 0; i < count; ++i)
      put("heartbeat", "alive");
  }
  /// A backup, then the first life, whose every entry a mirror has.
  std::unique_ptr<RocksdbDatabase> first_life(int beats) {
    open();
    write_orders("before");
    close();
    copy("own", "backup");
    open();
    auto mirror = bootstrapped(std::string(kv_format));
    write_orders("first life");
    heartbeats(beats);
    follow(*mirror);
    return mirror;
  }
  /// As SIGKILL would leave it: what stands beside is not told of an end.
  void kill() {
    copy("beside", "killed");
    close();
    copy("killed", "beside");
  }
  void restore() const { copy("backup", "own"); }
  std::string answer_to(const RocksdbDatabase& mirror) { return test::answer_to(*source, position_of(mirror)); }
};

TEST_F(RestoredRocksdb, a_backup_written_on_after_a_kill_is_told_apart_although_the_last_writes_agree) {
  const auto mirror = first_life(1);
  kill();
  restore();
  open_database();  // it runs without a source at first
  write_orders("second life");
  heartbeats(1);
  source = must(RocksdbSource::open(*database, beside()));
  EXPECT_EQ(answer_to(*mirror), "SourceBehind");
  write_orders("later");
  EXPECT_EQ(answer_to(*mirror), "SourceBehind") << "also once it has come further";
  const auto anew = bootstrapped(std::string(kv_format));
  put("after", "1");
  follow(*anew);
  EXPECT_EQ(all(*anew), contents());
}

TEST_F(RestoredRocksdb, a_backup_that_is_offered_first_and_written_on_then_is_told_apart) {
  const auto mirror = first_life(1);
  kill();
  restore();
  open();
  write_orders("second life");
  heartbeats(1);
  EXPECT_EQ(answer_to(*mirror), "SourceBehind");
  write_orders("later");
  EXPECT_EQ(answer_to(*mirror), "SourceBehind");
}

TEST_F(RestoredRocksdb, a_backup_written_on_to_the_same_length_after_a_clean_end_is_told_apart) {
  const auto mirror = first_life(1);
  close();
  restore();
  open_database();
  write_orders("second life");
  heartbeats(1);
  source = must(RocksdbSource::open(*database, beside()));
  EXPECT_NE(answer_to(*mirror), "goes on");
}

TEST_F(RestoredRocksdb, many_equal_heartbeats_after_the_fork_do_not_hide_it) {
  const auto mirror = first_life(3000);
  kill();
  restore();
  open_database();
  write_orders("second life");
  heartbeats(3000);
  source = must(RocksdbSource::open(*database, beside()));
  EXPECT_EQ(answer_to(*mirror), "SourceBehind");
}

TEST_F(RestoredRocksdb, a_mirror_that_bootstrapped_and_never_read_the_log_is_told_too) {
  open();
  write_orders("before");
  close();
  copy("own", "backup");
  open();
  write_orders("first life");
  heartbeats(1);
  const auto mirror = bootstrapped(std::string(kv_format));
  kill();
  restore();
  open_database();
  write_orders("second life");
  heartbeats(1);
  source = must(RocksdbSource::open(*database, beside()));
  EXPECT_EQ(answer_to(*mirror), "SourceBehind");
}

TEST_F(RestoredRocksdb, another_boot_in_between_does_not_hide_it) {
  const auto mirror = first_life(1);
  kill();
  restore();
  open_database();
  write_orders("second life");
  heartbeats(1);
  write_orders("later");
  boot_id = "second boot";
  source = must(RocksdbSource::open(*database, beside()));
  EXPECT_EQ(answer_to(*mirror), "SourceBehind");
}

TEST_F(RestoredRocksdb, a_kill_alone_tells_no_mirror) {
  const auto mirror = first_life(20);
  const auto history = source->source_state().history;
  kill();
  open();
  EXPECT_EQ(source->source_state().history, history);
  EXPECT_EQ(answer_to(*mirror), "goes on");
  write_orders("on");
  follow(*mirror);
  EXPECT_EQ(all(*mirror), contents());
}

TEST_F(RestoredRocksdb, a_mirror_that_has_only_what_the_backup_has_goes_on) {
  open();
  write_orders("before");
  const auto mirror = bootstrapped(std::string(kv_format));
  const auto other = bootstrapped(std::string(kv_format));
  put("both", "1");
  follow(*mirror);
  follow(*other);
  close();
  copy("own", "backup");
  open();
  write_orders("first life");
  follow(*other);
  kill();
  restore();
  open_database();
  write_orders("second life");
  write_orders("later");
  source = must(RocksdbSource::open(*database, beside()));
  EXPECT_EQ(answer_to(*other), "SourceBehind");
  ASSERT_EQ(answer_to(*mirror), "goes on");
  follow(*mirror);
  EXPECT_EQ(all(*mirror), contents());
}

TEST_F(RestoredRocksdb, log_data_of_the_owner_is_never_taken_for_ours) {
  open();
  rocksdb::WriteBatch batch;
  ASSERT_TRUE(batch.Put("a", "1").ok());
  // As long as our note, and beginning with its version.
  ASSERT_TRUE(batch.PutLogData(std::string(1, '\x01') + std::string(40, '\x7f')).ok());
  ASSERT_TRUE(database->Write({}, &batch).ok());
  const auto slice = must(source->read_log(Lsn{0}, 1000));
  EXPECT_EQ(slice.origin_lsn, slice.last_lsn);
  const auto entries = read_entries(slice);
  ASSERT_EQ(entries.size(), 1u);
  std::span<const std::byte> encoding = entries.front().encoding;
  EXPECT_EQ(must(read_entry(encoding)).commit_time_us(), 0u);
}

}  // namespace
}  // namespace crosslink::test
