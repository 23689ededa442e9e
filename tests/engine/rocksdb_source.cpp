// A RocksDB that a program owns, as a source: what its owner may do beside crosslink, and what is refused.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/db.h>
#include <rocksdb/merge_operator.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/callers_rocksdb.hpp"
#include "engine/rocksdb/snapshot_store.hpp"

namespace crosslink::test {
namespace {

TEST_F(CallersRocksdb, eight_writer_threads_are_followed_entry_by_entry) {
  open();
  const auto mirror = bootstrapped(std::string(kv_format));
  std::atomic<int> writing = 8;
  std::vector<std::jthread> writers;
  for (int writer = 0; writer < 8; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < 3000; ++i) {
        rocksdb::WriteBatch batch;
        // Two keys that every writer writes, always the same value in both: an entry is whole or not there.
        const auto value = fmt::format("{}/{}", writer, i);
        EXPECT_TRUE(batch.Put("left", value).ok() && batch.Put("right", value).ok());
        EXPECT_TRUE(batch.Put(fmt::format("own {} {}", writer, i), std::string(100, 'x')).ok());
        if (i % 3 == 0) {
          EXPECT_TRUE(batch.DeleteRange(fmt::format("own {} ", writer), fmt::format("own {} 5", writer)).ok());
        }
        EXPECT_TRUE(database->Write({}, &batch).ok());
      }
      --writing;
    });
  }
  std::uint64_t slices = 0;
  while (writing > 0 || position_of(*mirror).applied_lsn < source->source_state().head) {
    const auto before = position_of(*mirror).applied_lsn;
    apply_slice(*mirror, *source, 10'000);
    slices += position_of(*mirror).applied_lsn > before ? 1 : 0;
    EXPECT_EQ(must(mirror->get("left")), must(mirror->get("right")));
  }
  EXPECT_GT(slices, 20u);
  EXPECT_EQ(all(*mirror), contents());
  const auto position = position_of(*mirror);
  EXPECT_EQ(must(source->prove(position.last_entry, position.applied_lsn)), PositionProof::same);
  EXPECT_EQ(must(source->prove(with_other_hash(position.last_entry), position.applied_lsn)), PositionProof::diverged);
}

TEST_F(CallersRocksdb, a_database_that_was_there_before_is_bootstrapped_as_files_and_followed) {
  open_database(usual(), false);
  for (int i = 0; i < 2000; ++i)
    put(fmt::format("key {}", i), std::string(1000, static_cast<char>('a' + i % 26)));
  close();
  open();
  // RocksDB's default is snappy.
  const auto mirror = bootstrapped(rocks::checkpoint_format("snappy"));
  EXPECT_EQ(all(*mirror), contents());
  put("key 7", "after");
  follow(*mirror);
  EXPECT_EQ(all(*mirror), contents());
}

TEST_F(CallersRocksdb, a_watcher_hears_of_commits_by_itself_and_at_once_when_told_to_look) {
  open();
  std::atomic<std::uint64_t> heard = 0;
  source->watch_log([&](const CommittedLog& log) { heard = log.last_lsn.value; });
  put("a", "1");
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (heard < 1 && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  EXPECT_EQ(heard, 1u);
  put("b", "1");
  source->look_now();
  EXPECT_EQ(heard, 2u);
  source->watch_log({});
}

TEST_F(CallersRocksdb, what_cannot_be_mirrored_ends_at_its_entry_by_name) {
  struct Case {
    std::string name;
    std::function<void(rocksdb::DB&)> write;
  };
  const std::vector<Case> cases{
      {"a merge", [](rocksdb::DB& db) { EXPECT_TRUE(db.Merge({}, "a", "1").ok()); }},
      {"a single delete", [](rocksdb::DB& db) { EXPECT_TRUE(db.SingleDelete({}, "a").ok()); }},
      {"another column family",
       [](rocksdb::DB& db) {
         rocksdb::ColumnFamilyHandle* other = nullptr;
         ASSERT_TRUE(db.CreateColumnFamily({}, "other", &other).ok());
         EXPECT_TRUE(db.Put({}, other, "a", "1").ok());
         EXPECT_TRUE(db.DropColumnFamily(other).ok());
         EXPECT_TRUE(db.DestroyColumnFamilyHandle(other).ok());
       }},
  };
  auto options = usual();
  class Last final : public rocksdb::AssociativeMergeOperator {
   public:
    bool Merge(const rocksdb::Slice&, const rocksdb::Slice*, const rocksdb::Slice& value, std::string* merged,
               rocksdb::Logger*) const override {
      *merged = value.ToString();
      return true;
    }
    const char* Name() const override { return "Last"; }
  };
  options.merge_operator = std::make_shared<Last>();
  open_database(options);
  source = must(RocksdbSource::open(*database, beside()));
  for (const auto& [name, write] : cases) {
    put("before", "1");
    const auto before = source->source_state().head;
    write(*database);
    const auto slice = source->read_log(before, 1000);
    ASSERT_FALSE(slice) << name;
    EXPECT_EQ(slice.error().kind(), ErrorKind::UnsupportedOperation);
    EXPECT_NE(slice.error().message().find(name), std::string::npos) << slice.error().message();
    EXPECT_NE(slice.error().message().find(std::to_string(before.value + 1)), std::string::npos);
    const auto up_to_it = must(source->read_log(Lsn{before.value - 1}, 1000));
    EXPECT_EQ(up_to_it.last_lsn, before) << "what was written before it is mirrored";
    EXPECT_EQ(up_to_it.count, 1u);
  }
}

TEST_F(CallersRocksdb, a_write_larger_than_an_entry_may_be_is_refused_by_its_number) {
  open_database();
  auto options = beside();
  options.entry_bytes_max = 1000;
  source = must(RocksdbSource::open(*database, options));
  put("a", "1");
  put("b", std::string(2000, 'x'));
  const auto slice = must(source->read_log(Lsn{0}, 100'000));
  EXPECT_EQ(slice.last_lsn, Lsn{1}) << "up to it everything is there";
  EXPECT_EQ(refusal(source->read_log(Lsn{1}, 100'000)), "UnsupportedOperation");
}

TEST_F(CallersRocksdb, options_that_exclude_mirroring_are_refused_when_it_is_offered) {
  open_database(usual(), false);
  EXPECT_EQ(refused(), "Configuration");
  close();
  for (const auto& change : std::vector<std::function<void(rocksdb::Options&)>>{
           [](auto& options) { options.manual_wal_flush = true; },
           [](auto& options) { options.two_write_queues = true; },
           [](auto& options) { options.unordered_write = true; },
       }) {
    auto options = usual();
    change(options);
    open_database(options);
    EXPECT_EQ(refused(), "Configuration");
    close();
  }
  for (const auto& change : std::vector<std::function<void(rocksdb::Options&)>>{
           [](auto& options) { options.compaction_style = rocksdb::kCompactionStyleFIFO; },
           [](auto& options) {
             options.inplace_update_support = true;
             options.allow_concurrent_memtable_write = false;
           },
       }) {
    auto options = usual();
    change(options);
    open_database(options);
    EXPECT_EQ(refused(), "UnsupportedOperation");
    close();
    std::filesystem::remove_all(folder.path() / "own");
  }
  class KeepAll final : public rocksdb::CompactionFilter {
   public:
    const char* Name() const override { return "KeepAll"; }
  };
  const KeepAll keep_all;
  auto options = usual();
  options.compaction_filter = &keep_all;
  open_database(options);
  EXPECT_EQ(refused(), "UnsupportedOperation");
  close();
  open_database();
  rocksdb::ColumnFamilyHandle* other = nullptr;
  ASSERT_TRUE(database->CreateColumnFamily({}, "other", &other).ok());
  EXPECT_EQ(refused(), "UnsupportedOperation");
  ASSERT_TRUE(database->DestroyColumnFamilyHandle(other).ok());
}

TEST_F(CallersRocksdb, data_that_came_in_past_the_log_makes_every_mirror_bootstrap_anew) {
  open();
  put("a", "1");
  const auto mirror = bootstrapped(std::string(kv_format));
  put("b", "1");
  const auto origin = source->source_state().origin;
  int ended = 0;
  source->watch_history([&] { ++ended; });
  const auto head = source->source_state().head;
  ingest(*database, folder.path(), "z");
  EXPECT_EQ(ended, 1);
  const auto state = source->source_state();
  EXPECT_EQ(state.head, head) << "RocksDB itself shows nothing of it";
  EXPECT_EQ(state.origin, origin);
  ASSERT_EQ(state.history.records().size(), 1u);
  EXPECT_EQ(state.history.newest().cause, HistoryCause::unlogged_change);
  EXPECT_FALSE(state.history.contains(position_of(*mirror).incarnation));
  EXPECT_EQ(refusal(source->read_log(position_of(*mirror).applied_lsn, 1000)), "LogWindowExceeded");
  const auto anew = bootstrapped(std::string(kv_format));
  put("c", "1");
  follow(*anew);
  EXPECT_EQ(all(*anew), contents());
  EXPECT_EQ(must(anew->get("z")), "ingested");
  source->watch_history({});
}

TEST_F(CallersRocksdb, a_write_without_the_log_is_never_skipped) {
  open();
  put("a", "1");
  const auto mirror = bootstrapped(std::string(kv_format));
  rocksdb::WriteOptions unlogged;
  unlogged.disableWAL = true;
  ASSERT_TRUE(database->Put(unlogged, "past the log", "1").ok());
  put("b", "1");
  EXPECT_EQ(refusal(source->read_log(position_of(*mirror).applied_lsn, 1000)), "LogWindowExceeded");
  const auto anew = bootstrapped(std::string(kv_format));
  EXPECT_EQ(all(*anew), contents());
  // As the newest there is: the log has no entry to go on from, so the history is another.
  ASSERT_TRUE(database->Put(unlogged, "past the log", "2").ok());
  const std::vector<std::string> formats{std::string(kv_format)};
  EXPECT_EQ(refusal(source->open_snapshot(formats, std::nullopt)), "Busy");
  EXPECT_EQ(source->source_state().history.newest().cause, HistoryCause::unlogged_change);
  const auto once_more = bootstrapped(std::string(kv_format));
  EXPECT_EQ(all(*once_more), contents());
  put("c", "1");
  follow(*once_more);
  EXPECT_EQ(all(*once_more), contents());
}

TEST_F(CallersRocksdb, a_write_without_the_log_ends_a_mirror_that_follows_and_what_came_before_it_is_there) {
  open();
  put("a", "1");
  const auto mirror = bootstrapped(std::string(kv_format));
  put("b", "1");
  follow(*mirror);  // its reading stands behind "b" and goes on from there
  rocksdb::WriteOptions unlogged;
  unlogged.disableWAL = true;
  ASSERT_TRUE(database->Put(unlogged, "past the log", "1").ok());
  put("c", "1");
  EXPECT_EQ(refusal(source->read_log(position_of(*mirror).applied_lsn, 1000)), "LogWindowExceeded");
  const auto slice = must(source->read_log(Lsn{0}, 1000));
  EXPECT_EQ(slice.last_lsn, position_of(*mirror).applied_lsn) << "up to the gap, and not past it";
  EXPECT_EQ(refusal(source->read_log(slice.last_lsn, 1000)), "LogWindowExceeded");
}

TEST_F(CallersRocksdb, a_restart_goes_on_and_changes_behind_our_back_are_noticed) {
  open();
  put("a", "1");
  const auto mirror = bootstrapped(std::string(kv_format));
  const auto history = source->source_state().history;
  close();
  open();
  EXPECT_EQ(source->source_state().history, history);
  put("b", "1");
  follow(*mirror);
  EXPECT_EQ(all(*mirror), contents());
  close();
  open_database();  // written to while nothing mirrors
  put("c", "1");
  close();
  open();
  EXPECT_FALSE(source->source_state().history.contains(history.newest().incarnation));
  EXPECT_EQ(source->source_state().history.newest().cause, HistoryCause::unlogged_change);
  const auto anew = bootstrapped(std::string(kv_format));
  EXPECT_EQ(all(*anew), contents());
}

// 0ae46f2 noted neither tables nor stretches of the log.
TEST_F(CallersRocksdb, a_folder_of_an_older_version_goes_on_unless_a_file_was_ingested) {
  const auto tables = folder.path() / "beside" / "tables", chain = folder.path() / "beside" / "chain";
  const auto close_as_an_older_version = [&] {
    close();
    ASSERT_TRUE(std::filesystem::remove(tables) && std::filesystem::remove(chain));
  };
  open();
  put("a", "1");
  const auto mirror = bootstrapped(std::string(kv_format));
  const auto history = source->source_state().history;
  close_as_an_older_version();
  open();
  EXPECT_EQ(source->source_state().history, history);
  put("b", "1");
  follow(*mirror);
  EXPECT_EQ(all(*mirror), contents());
  close_as_an_older_version();
  open_database();
  ingest(*database, folder.path(), "z");
  close();
  open();
  EXPECT_FALSE(source->source_state().history.contains(history.newest().incarnation));
}

TEST_F(CallersRocksdb, what_was_noted_of_tables_and_is_damaged_does_not_pass_for_an_older_versions_folder) {
  open();
  put("a", "1");
  const auto history = source->source_state().history;
  close();
  std::ofstream(folder.path() / "beside" / "tables", std::ios::trunc) << "damaged";
  open();
  EXPECT_FALSE(source->source_state().history.contains(history.newest().incarnation));
}

TEST_F(CallersRocksdb, another_boot_after_an_unclean_end_begins_an_incarnation) {
  open();
  put("a", "1");
  const auto before = source->source_state().history;
  std::filesystem::copy(folder.path() / "beside" / "state", folder.path() / "state of a killed process");
  close();
  std::filesystem::copy(folder.path() / "state of a killed process", folder.path() / "beside" / "state",
                        std::filesystem::copy_options::overwrite_existing);
  open();
  EXPECT_EQ(source->source_state().history, before) << "a kill alone loses nothing";
  close();
  std::filesystem::copy(folder.path() / "state of a killed process", folder.path() / "beside" / "state",
                        std::filesystem::copy_options::overwrite_existing);
  boot_id = "second boot";
  open();
  ASSERT_EQ(source->source_state().history.records().size(), 2u);
  EXPECT_EQ(source->source_state().history.newest().cause, HistoryCause::unclean_stop);
}

TEST_F(CallersRocksdb, its_log_is_kept_within_the_window_and_dropped_beyond_it) {
  open_database();
  auto options = beside();
  options.log_window.bytes = 1024 * 1024;
  options.log_window.budget_bytes = 2 * 1024 * 1024;
  source = must(RocksdbSource::open(*database, options));
  for (int i = 0; i < 600; ++i)
    put(fmt::format("key {}", i), std::string(10'000, 'x'));
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (source->source_state().oldest == Lsn{0} && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  const auto oldest = source->source_state().oldest;
  EXPECT_GT(oldest, Lsn{0});
  EXPECT_EQ(refusal(source->read_log(Lsn{0}, 1000)), "LogWindowExceeded");
  // Its files go one after the other meanwhile: what is refused is no longer what the state says.
  for (Lsn from = oldest;;) {
    const auto read = refusal(source->read_log(from, 1000));
    if (read == "done") break;
    ASSERT_EQ(read, "LogWindowExceeded");
    const auto dropped_up_to = source->source_state().oldest;
    ASSERT_GT(dropped_up_to, from);
    from = dropped_up_to;
  }
}

}  // namespace
}  // namespace crosslink::test
