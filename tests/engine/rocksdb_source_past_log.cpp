// What reaches a program's own RocksDB past its log, or stands in its tables where a mirror cannot read it: each is
// mirrored right, noticed, or refused by its name.
#include <rocksdb/compaction_filter.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/optimistic_transaction_db.h>
#include <rocksdb/wide_columns.h>

#include <functional>

#include "engine/callers_rocksdb.hpp"
#include "engine/rocksdb/snapshot_store.hpp"

namespace crosslink::test {
namespace {

const std::string as_pairs(kv_format);

class Joined final : public rocksdb::AssociativeMergeOperator {
 public:
  bool Merge(const rocksdb::Slice&, const rocksdb::Slice* before, const rocksdb::Slice& value, std::string* merged,
             rocksdb::Logger*) const override {
    *merged = (before != nullptr ? before->ToString() : std::string()) + value.ToString();
    return true;
  }
  const char* Name() const override { return "Joined"; }
};

class DropAll final : public rocksdb::CompactionFilter {
 public:
  bool Filter(int, const rocksdb::Slice&, const rocksdb::Slice&, std::string*, bool*) const override { return true; }
  const char* Name() const override { return "DropAll"; }
};

class PastTheLog : public CallersRocksdb {
 protected:
  static std::string as_files() { return rocks::checkpoint_format("snappy"); }
  /// Opened again and offered: does every mirror bootstrap anew?
  bool is_noticed() {
    const auto before = source_incarnation;
    open();
    return !source->source_state().history.contains(before);
  }
  void close_noting_history() {
    source_incarnation = source->source_state().history.newest().incarnation;
    close();
  }
  std::vector<std::string> live_tables() const {
    std::vector<rocksdb::LiveFileMetaData> files;
    database->GetLiveFilesMetaData(&files);
    std::vector<std::string> names;
    for (const auto& file : files)
      names.push_back(file.name);
    return names;
  }
  bool flush_and_compact() const {
    rocksdb::CompactRangeOptions all_of_it;  // and not only moved to another level
    all_of_it.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    return database->Flush({}).ok() && database->CompactRange(all_of_it, nullptr, nullptr).ok();
  }
  /// What its maintenance does by itself, within a second or so.
  static bool comes(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition() && std::chrono::steady_clock::now() < until)
      std::this_thread::yield();
    return condition();
  }
  std::string why_refused() const {
    const auto opened = RocksdbSource::open(*database, beside());
    return opened ? "done" : opened.error().message();
  }
  Incarnation source_incarnation;
};

// --- while nothing mirrors

TEST_F(PastTheLog, a_file_ingested_while_no_source_is_open_is_noticed) {
  open();
  put("a", "1");
  close_noting_history();
  open_database();
  ingest(*database, folder.path(), "prepared, not offered");
  close();
  EXPECT_TRUE(is_noticed());
  source_incarnation = source->source_state().history.newest().incarnation;
  source.reset();
  ingest(*database, folder.path(), "offered no longer");
  database.reset();
  EXPECT_TRUE(is_noticed());
  close_noting_history();
  open_database(usual(), false);
  ingest(*database, folder.path(), "neither prepared nor offered");
  close();
  EXPECT_TRUE(is_noticed());
  EXPECT_EQ(all(*bootstrapped(as_files())), contents());
  close_noting_history();
  EXPECT_FALSE(is_noticed()) << "once";
}

TEST_F(PastTheLog, a_file_ingested_while_no_source_is_open_and_compacted_away_since_is_noticed) {
  open();
  put("a", "1");
  close_noting_history();
  open_database(usual(), false);
  ingest(*database, folder.path(), "z");
  ASSERT_TRUE(flush_and_compact());
  close();
  EXPECT_TRUE(is_noticed());
}

class PastTheLogAfterAKill : public PastTheLog, public ::testing::WithParamInterface<bool> {};

TEST_P(PastTheLogAfterAKill, a_file_ingested_is_noticed_after_another_boot_too) {
  const bool another_boot = GetParam();
  open();
  put("a", "1");
  std::filesystem::copy(folder.path() / "beside", folder.path() / "beside as a kill left it",
                        std::filesystem::copy_options::recursive);
  close_noting_history();
  std::filesystem::remove_all(folder.path() / "beside");
  std::filesystem::rename(folder.path() / "beside as a kill left it", folder.path() / "beside");
  open_database(usual(), false);
  ingest(*database, folder.path(), "z");
  close();
  boot_id = another_boot ? "another boot" : boot_id;
  EXPECT_TRUE(is_noticed());
}

INSTANTIATE_TEST_SUITE_P(, PastTheLogAfterAKill, ::testing::Bool(), ::testing::PrintToStringParamName());

TEST_F(PastTheLog, a_restart_without_a_source_in_which_nothing_was_written_changes_nothing) {
  open();
  put("a", "1");
  ASSERT_TRUE(flush_and_compact());
  put("b", "1");
  close_noting_history();
  for (const bool prepared : {true, false}) {  // its recovery makes a table of what the log holds
    open_database(usual(), prepared);
    close();
    EXPECT_FALSE(is_noticed());
    put("b", std::to_string(static_cast<int>(prepared)));
    close_noting_history();
  }
}

TEST_F(PastTheLog, flushes_and_compactions_of_a_database_that_is_offered_change_nothing) {
  open();
  const auto mirror = bootstrapped(as_pairs);
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 500; ++i)
      put(fmt::format("key {}", i), std::string(1000, static_cast<char>('a' + round)));
    ASSERT_TRUE(flush_and_compact());
  }
  follow(*mirror);
  EXPECT_EQ(all(*mirror), contents());
  close_noting_history();
  EXPECT_FALSE(is_noticed());
  put("key 1", "after");
  follow(*mirror);
  EXPECT_EQ(all(*mirror), contents());
}

TEST_F(PastTheLog, a_compaction_filter_used_while_no_source_is_open_is_noticed) {
  open();
  put("a", "1");
  close_noting_history();
  const DropAll drop_all;
  auto options = usual();
  options.compaction_filter = &drop_all;
  open_database(options, false);
  ASSERT_TRUE(flush_and_compact());
  ASSERT_TRUE(contents().empty());
  close();
  EXPECT_TRUE(is_noticed());
}

TEST_F(PastTheLog, a_table_deleted_while_no_source_is_open_is_noticed) {
  open();
  put("a", "1");
  ASSERT_TRUE(flush_and_compact());
  close_noting_history();
  open_database(usual(), false);
  ASSERT_EQ(live_tables().size(), 1u);
  ASSERT_TRUE(database->DeleteFile(live_tables().front()).ok());
  ASSERT_TRUE(contents().empty());
  close();
  EXPECT_TRUE(is_noticed());
}

// --- beside a source

TEST_F(PastTheLog, a_table_deleted_beside_a_source_is_noticed) {
  open();
  put("a", "1");
  ASSERT_TRUE(database->Flush({}).ok() && database->CompactRange({}, nullptr, nullptr).ok());  // moves it only
  put("b", "1");
  const auto history = source->source_state().history;
  ASSERT_EQ(live_tables().size(), 1u);
  const std::unique_ptr<rocksdb::Iterator> reading(database->NewIterator({}));  // the file itself stays
  ASSERT_TRUE(database->DeleteFile(live_tables().front()).ok());
  EXPECT_TRUE(comes([&] { return source->source_state().history != history; }));
  EXPECT_EQ(source->source_state().history.newest().cause, HistoryCause::unlogged_change);
  EXPECT_EQ(all(*bootstrapped(as_pairs)), contents());
}

TEST_F(PastTheLog, one_prepared_options_for_two_databases_tells_each_source_of_its_own_files) {
  auto options = usual();
  RocksdbSource::prepare(options);
  open_database(options, false);
  rocksdb::DB* opened = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, (folder.path() / "other").string(), &opened).ok());
  const std::unique_ptr<rocksdb::DB> other(opened);
  auto beside_other = beside();
  beside_other.folder = folder.path() / "beside the other";
  source = must(RocksdbSource::open(*database, beside()));
  const auto source_of_other = must(RocksdbSource::open(*other, beside_other));
  const auto history = source->source_state().history, history_of_other = source_of_other->source_state().history;
  ingest(*database, folder.path(), "z");
  EXPECT_NE(source->source_state().history, history);
  EXPECT_EQ(source_of_other->source_state().history, history_of_other);
}

TEST_F(PastTheLog, a_second_source_of_one_database_is_refused) {
  open();
  auto elsewhere = beside();
  elsewhere.folder = folder.path() / "beside too";
  EXPECT_EQ(refusal(RocksdbSource::open(*database, elsewhere)), "Configuration");
  const auto history = source->source_state().history;
  ingest(*database, folder.path(), "z");
  EXPECT_NE(source->source_state().history, history) << "the first hears as before";
  source.reset();
  EXPECT_EQ(refusal(RocksdbSource::open(*database, elsewhere)), "done") << "one after the other is well";
}

TEST_F(PastTheLog, a_database_behind_a_wrapper_hears_of_its_files) {
  auto options = usual();
  RocksdbSource::prepare(options);
  rocksdb::OptimisticTransactionDB* opened = nullptr;
  ASSERT_TRUE(rocksdb::OptimisticTransactionDB::Open(options, (folder.path() / "own").string(), &opened).ok());
  database.reset(opened);
  source = must(RocksdbSource::open(*database, beside()));
  const auto history = source->source_state().history;
  ingest(*opened->GetBaseDB(), folder.path(), "z");
  EXPECT_NE(source->source_state().history, history);
}

TEST_F(PastTheLog, a_database_that_hears_of_nothing_itself_is_refused) {
  open();
  put("a", "1");
  close();
  auto options = usual();
  RocksdbSource::prepare(options);
  rocksdb::DB* opened = nullptr;
  ASSERT_TRUE(rocksdb::DB::OpenForReadOnly(options, (folder.path() / "own").string(), &opened).ok());
  database.reset(opened);
  EXPECT_NE(why_refused().find("read-only"), std::string::npos) << why_refused();
  options.max_open_files = -1;
  ASSERT_TRUE(rocksdb::DB::OpenAsSecondary(options, (folder.path() / "own").string(),
                                           (folder.path() / "second").string(), &opened)
                  .ok());
  database.reset(opened);
  EXPECT_NE(why_refused().find("secondary"), std::string::npos) << why_refused();
}

// --- what tables hold

TEST_F(PastTheLog, merge_operands_in_old_tables_are_refused_by_name_and_mirrored_once_compacted) {
  auto options = usual();
  options.merge_operator = std::make_shared<Joined>();
  open_database(options);
  put("a", "1");
  ASSERT_TRUE(database->Flush({}).ok());
  ASSERT_TRUE(database->Merge({}, "a", "2").ok());
  ASSERT_TRUE(database->Flush({}).ok());
  EXPECT_EQ(refused(), "UnsupportedOperation");
  EXPECT_NE(why_refused().find("merge"), std::string::npos) << why_refused();
  ASSERT_TRUE(flush_and_compact());
  source = must(RocksdbSource::open(*database, beside()));
  EXPECT_EQ(all(*bootstrapped(as_files())), (Contents{{"a", "12"}}));
}

TEST_F(PastTheLog, merge_operands_written_after_it_was_offered_make_no_snapshot) {
  auto options = usual();
  options.merge_operator = std::make_shared<Joined>();
  open_database(options);
  source = must(RocksdbSource::open(*database, beside()));
  put("a", "1");
  ASSERT_TRUE(database->Flush({}).ok());
  ASSERT_TRUE(database->Merge({}, "a", "2").ok());
  put("b", "1");
  for (const auto& format : {as_files(), as_pairs}) {
    const std::vector<std::string> formats{format};
    const auto opened = source->open_snapshot(formats, std::nullopt);
    ASSERT_FALSE(opened) << format;
    EXPECT_EQ(opened.error().kind(), ErrorKind::UnsupportedOperation) << opened.error().message();
    EXPECT_NE(opened.error().message().find("merge"), std::string::npos) << opened.error().message();
  }
}

TEST_F(PastTheLog, blob_files_that_were_left_over_are_mirrored_as_pairs) {
  auto options = usual();
  options.enable_blob_files = true;
  options.min_blob_size = 0;
  open_database(options, false);
  for (int i = 0; i < 100; ++i)
    put(fmt::format("key {}", i), std::string(100, 'x'));
  ASSERT_TRUE(database->Flush({}).ok());
  close();
  open();
  const std::vector<std::string> formats{as_files(), as_pairs};
  const auto reader = must(source->open_snapshot(formats, std::nullopt));
  EXPECT_EQ(reader->facts().format, as_pairs);
  const auto mirror = bootstrapped(as_pairs);
  EXPECT_EQ(all(*mirror), contents());
}

TEST_F(PastTheLog, blob_files_switched_on_later_leave_no_mirror_unreadable) {
  open();
  put("before", "1");
  EXPECT_EQ(all(*bootstrapped(as_files())), contents());
  ASSERT_TRUE(database->SetOptions({{"enable_blob_files", "true"}, {"min_blob_size", "0"}}).ok());
  put("after", "1");
  const std::vector<std::string> files_only{as_files()}, any{as_files(), as_pairs};
  EXPECT_EQ(refusal(source->open_snapshot(files_only, std::nullopt)), "UnsupportedOperation");
  EXPECT_EQ(must(source->open_snapshot(any, std::nullopt))->facts().format, as_pairs);
  EXPECT_EQ(all(*bootstrapped(as_pairs)), contents());
}

TEST_F(PastTheLog, an_unknown_file_of_a_checkpoint_is_an_error) {
  open();
  put("a", "1");
  const auto id = must(source->open_snapshot(std::vector{as_files()}, std::nullopt))->facts().id;
  const auto snapshot = folder.path() / "beside" / "snapshots" / to_string(id);
  close();
  std::filesystem::copy(snapshot / "CURRENT", snapshot / "000099.blob");
  open();
  const auto opened = source->open_snapshot(std::vector{as_files()}, id);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind(), ErrorKind::Storage);
  EXPECT_NE(opened.error().message().find("000099.blob"), std::string::npos) << opened.error().message();
}

TEST_F(PastTheLog, wide_columns_lose_nothing_in_silence) {
  open_database();
  ASSERT_TRUE(database->PutEntity({}, database->DefaultColumnFamily(), "wide", {{"", "1"}, {"colour", "red"}}).ok());
  ASSERT_TRUE(database->Flush({}).ok());
  put("narrow", "1");
  source = must(RocksdbSource::open(*database, beside()));
  const auto reader = must(source->open_snapshot(std::vector{as_pairs}, std::nullopt));
  const auto read = reader->read(0, 1000);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind(), ErrorKind::UnsupportedOperation);
  EXPECT_NE(read.error().message().find("wide"), std::string::npos) << read.error().message();
  // As files they arrive whole, and what compares databases looks at every column.
  const auto mirror = bootstrapped(as_files());
  const auto here = scan(*must(source->view()), "", std::nullopt);
  EXPECT_EQ(scan(*must(mirror->view()), "", std::nullopt), here);
  put("wide", "1");
  EXPECT_NE(scan(*must(source->view()), "", std::nullopt), here) << "the default column alone is another value";
}

TEST_F(PastTheLog, a_wide_column_entity_in_the_log_is_refused_by_name) {
  open();
  put("a", "1");
  ASSERT_TRUE(database->PutEntity({}, database->DefaultColumnFamily(), "wide", {{"colour", "red"}}).ok());
  const auto slice = source->read_log(Lsn{1}, 1000);
  ASSERT_FALSE(slice);
  EXPECT_NE(slice.error().message().find("wide columns"), std::string::npos) << slice.error().message();
}

TEST_F(PastTheLog, tables_of_a_compression_that_mirrors_may_not_know_are_mirrored_as_pairs) {
  auto options = usual();
  options.compression = rocksdb::kZlibCompression;
  open_database(options, false);
  put("a", std::string(10'000, 'x'));
  ASSERT_TRUE(database->Flush({}).ok());
  close();
  open();  // snappy from here on
  put("b", "1");
  const std::vector<std::string> any{as_files(), as_pairs};
  EXPECT_EQ(must(source->open_snapshot(any, std::nullopt))->facts().format, as_pairs);
}

TEST_F(PastTheLog, a_column_family_made_after_it_was_offered_makes_no_snapshot_and_is_named) {
  open();
  put("a", "1");
  rocksdb::ColumnFamilyHandle* later = nullptr;
  ASSERT_TRUE(database->CreateColumnFamily({}, "later", &later).ok());
  const auto opened = source->open_snapshot(std::vector{as_files()}, std::nullopt);
  ASSERT_TRUE(database->DestroyColumnFamilyHandle(later).ok());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind(), ErrorKind::UnsupportedOperation);
  EXPECT_NE(opened.error().message().find("column families"), std::string::npos) << opened.error().message();
}

// --- options

TEST_F(PastTheLog, data_in_more_than_one_folder_is_refused_by_name) {
  for (const bool of_family : {false, true}) {
    auto options = usual();
    const rocksdb::DbPath second((folder.path() / "second").string(), 1 << 30);
    (of_family ? options.cf_paths : options.db_paths) = {second};
    open_database(options);
    EXPECT_EQ(refused(), "UnsupportedOperation");
    EXPECT_NE(why_refused().find(of_family ? "cf_paths" : "db_paths"), std::string::npos) << why_refused();
    close();
    std::filesystem::remove_all(folder.path() / "own");
  }
}

TEST_F(PastTheLog, plain_tables_are_refused_by_name) {
  auto options = usual();
  options.table_factory.reset(rocksdb::NewPlainTableFactory());
  options.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(1));
  options.allow_mmap_reads = true;
  open_database(options);
  EXPECT_EQ(refused(), "UnsupportedOperation");
  EXPECT_NE(why_refused().find("PlainTable"), std::string::npos) << why_refused();
}

}  // namespace
}  // namespace crosslink::test
