// A hosted database whose folder was restored from a copy and written on: a mirror of what it had before is told, also
// where the writes of the two lives are the same. A restart alone tells no mirror.
#include <atomic>

#include "engine/answer_to.hpp"
#include "engine/rocksdb_fixture.hpp"

namespace crosslink::test {
namespace {

namespace fs = std::filesystem;

class RestoredFolder : public RocksdbEngine {
 protected:
  void copy(const char* from, const char* to) const {
    fs::remove_all(folder.path() / to);
    fs::copy(folder.path() / from, folder.path() / to, fs::copy_options::recursive);
  }
  static void heartbeats(RocksdbDatabase& database, int count) {
    for (int i = 0; i < count; ++i)
      put(database, "heartbeat", "alive");
  }
  static void follow(RocksdbDatabase& mirror, RocksdbDatabase& source) {
    while (position_of(mirror).applied_lsn < source.source_state().head)
      apply_slice(mirror, source, 1'000'000);
  }
  std::unique_ptr<RocksdbDatabase> bootstrapped(RocksdbDatabase& source, const std::string& name = "mirror") const {
    auto made = mirror(name);
    receive(*made, *open_as(source, std::string(kv_format)), chunk_bytes);
    must(made->switch_snapshot());
    return made;
  }
};

/// So many writes of the second life are those of the first.
class RestoredFolderAgrees : public RestoredFolder, public testing::WithParamInterface<int> {
 protected:
  /// Something that `copied` follows; then the copy is put back. The head that there was.
  Lsn pay_and_put_back(std::unique_ptr<RocksdbDatabase>& source, RocksdbDatabase& copied) {
    put(*source, "order", "paid");
    heartbeats(*source, GetParam());
    follow(copied, *source);
    const auto head = source->source_state().head;
    source.reset();
    copy("backup", "root");
    source = root();
    return head;
  }
  /// What the mirror is told when the second life has come to where the first one was, and behind it.
  void expect_refused(RocksdbDatabase& source, const RocksdbDatabase& copied, Lsn head, const std::string& answer) {
    put(source, "order", "refused");
    while (source.source_state().head < head)
      heartbeats(source, 1);
    EXPECT_EQ(answer_to(source, position_of(copied)), answer);
    heartbeats(source, 5);
    EXPECT_EQ(answer_to(source, position_of(copied)), answer);
  }
};
INSTANTIATE_TEST_SUITE_P(Beats, RestoredFolderAgrees, testing::Values(1, 60));

TEST_P(RestoredFolderAgrees, a_copy_made_between_two_openings_is_told_apart) {
  auto source = root();
  put(*source, "order", "open");
  source.reset();
  copy("root", "backup");
  source = root();
  const auto copied = bootstrapped(*source);
  const auto head = pay_and_put_back(source, *copied);
  expect_refused(*source, *copied, head, "HistoriesParted");
}

TEST_P(RestoredFolderAgrees, a_copy_made_while_it_was_open_is_told_apart) {
  auto source = root();
  put(*source, "order", "open");
  const auto copied = bootstrapped(*source);
  copy("root", "backup");
  const auto head = pay_and_put_back(source, *copied);
  EXPECT_EQ(answer_to(*source, position_of(*copied)), "SourceBehind");
  expect_refused(*source, *copied, head, "SourceBehind");
}

TEST_P(RestoredFolderAgrees, a_copy_of_a_database_that_was_opened_and_not_written_to_is_told_apart) {
  auto source = root();
  put(*source, "order", "open");
  for (int i = 0; i < 2; ++i) {
    source.reset();
    source = root();
  }
  const auto copied = bootstrapped(*source);
  source.reset();
  copy("root", "backup");
  source = root();
  pay_and_put_back(source, *copied);
  EXPECT_EQ(answer_to(*source, position_of(*copied)), "HistoriesParted");
  put(*source, "order", "refused");
  heartbeats(*source, GetParam());
  EXPECT_EQ(answer_to(*source, position_of(*copied)), "HistoriesParted");
  heartbeats(*source, 5);
  EXPECT_EQ(answer_to(*source, position_of(*copied)), "HistoriesParted");
}

TEST_P(RestoredFolderAgrees, the_mirror_of_a_restored_mirror_bootstraps_anew) {
  auto source = root();
  put(*source, "order", "open");
  auto middle = bootstrapped(*source, "middle");
  put(*source, "order", "paid");
  follow(*middle, *source);
  middle.reset();
  copy("middle", "backup");
  middle = mirror("middle");
  const auto last = bootstrapped(*middle, "last");
  put(*source, "order", "refused");
  put(*source, "parcel", "lost");
  put(*source, "parcel", "found");
  follow(*middle, *source);  // as one entry, or as several after the restore
  for (int i = 0; i < GetParam(); ++i) {
    heartbeats(*source, 1);
    follow(*middle, *source);
  }
  follow(*last, *middle);
  middle.reset();
  copy("backup", "middle");
  middle = mirror("middle");
  while (position_of(*middle).applied_lsn < source->source_state().head)
    apply_slice(*middle, *source, 1);
  const auto answer = answer_to(*middle, position_of(*last));
  EXPECT_TRUE(answer == "LogWindowExceeded" || answer == "HistoriesParted") << answer;
}

TEST_F(RestoredFolder, a_mirror_that_has_only_what_the_copy_has_goes_on) {
  auto source = root();
  put(*source, "order", "open");
  const auto copied = bootstrapped(*source);
  source.reset();
  copy("root", "backup");
  source = root();
  put(*source, "order", "paid");
  source.reset();
  copy("backup", "root");
  source = root();
  put(*source, "order", "refused");
  ASSERT_EQ(answer_to(*source, position_of(*copied)), "goes on");
  follow(*copied, *source);
  EXPECT_EQ(all(*copied), all(*source));
}

TEST_F(RestoredFolder, restarts_and_kills_tell_no_mirror) {
  auto source = root();
  put(*source, "a", "0");
  const auto copied = bootstrapped(*source);
  const auto behind = bootstrapped(*source, "behind");
  for (const bool killed : {false, true, false, true}) {
    put(*source, "a", killed ? "1" : "2");
    follow(*copied, *source);
    if (killed) copy("root", "killed");
    source.reset();
    if (killed) copy("killed", "root");
    source = root();
    EXPECT_EQ(answer_to(*source, position_of(*copied)), "goes on");
    EXPECT_EQ(answer_to(*source, position_of(*behind)), "goes on");
  }
  for (const auto* one : {&copied, &behind}) {
    follow(**one, *source);
    EXPECT_EQ(position_of(**one).incarnation, source->source_state().history.newest().incarnation);
    EXPECT_EQ(all(**one), all(*source));
  }
}

TEST_F(RestoredFolder, openings_without_a_write_do_not_use_up_the_history) {
  auto source = root();
  put(*source, "a", "1");
  source.reset();
  source = root();
  const auto opened = source->source_state();
  EXPECT_EQ(opened.history.records().size(), 2u);
  for (int i = 0; i < 3; ++i) {
    source.reset();
    source = root();
  }
  EXPECT_EQ(source->source_state().history, opened.history);
  EXPECT_EQ(source->source_state().head, opened.head);
  const auto copied = bootstrapped(*source);
  std::atomic<int> told = 0;
  source->watch_history([&] { ++told; });
  const auto first = put(*source, "a", "2");
  put(*source, "a", "3");
  EXPECT_EQ(told, 1) << "the sessions that began before end";
  source->watch_history({});
  const auto state = source->source_state();
  ASSERT_EQ(state.history.records().size(), 3u);
  EXPECT_LE(state.history.newest().first_lsn, first);
  EXPECT_EQ(answer_to(*source, position_of(*copied)), "goes on");
  follow(*copied, *source);
  EXPECT_EQ(all(*copied), all(*source));
}

TEST_F(RestoredFolder, a_mirror_that_was_copied_anew_opens_after_restarts) {
  auto source = root();
  auto copied = bootstrapped(*source);
  for (int i = 0; i < 20; ++i) {
    heartbeats(*source, 1);
    follow(*copied, *source);
  }
  const auto last = bootstrapped(*copied, "last");
  const auto before = copied->source_state();
  ASSERT_GT(before.head, source->source_state().head) << "else the numbers of the copy are not lower";
  std::atomic<int> told = 0;
  copied->watch_history([&] { ++told; });
  receive(*copied, *open_as(*source, std::string(kv_format)), chunk_bytes);
  must(copied->switch_snapshot());
  EXPECT_EQ(told, 1) << "the sessions that began before end";
  copied->watch_history({});
  const auto state = copied->source_state();
  ASSERT_LT(state.head, before.head);
  EXPECT_LE(state.history.newest().first_lsn, state.head);
  EXPECT_NE(answer_to(*copied, position_of(*last)), "goes on");
  for (int i = 0; i < 3; ++i) {
    copied.reset();
    copied = mirror();
    heartbeats(*source, 1);
    follow(*copied, *source);
    EXPECT_EQ(all(*copied), all(*source));
  }
  EXPECT_NE(answer_to(*copied, position_of(*last)), "goes on") << "its numbers have come again";
}

}  // namespace
}  // namespace crosslink::test
