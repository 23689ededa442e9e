// Commits of a hosted database and its log: one record each, kept as long as the window says, never passed over.
#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>

#include "engine/rocksdb/log_window.hpp"
#include "engine/rocksdb_fixture.hpp"
#include "session/history_judge.hpp"
#include "support/faulty_disk.hpp"

namespace crosslink::test {
namespace {

class RocksdbLog : public RocksdbEngine {};

TEST_F(RocksdbLog, commits_of_eight_threads_are_one_record_each_and_all_there) {
  auto chosen = options("busy");
  chosen.sync = RocksdbSync::always;
  const auto source = must(RocksdbDatabase::open_root(chosen));
  constexpr int threads_count = 8, each = 200;
  std::vector<std::vector<Lsn>> lsns(threads_count);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < threads_count; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          const auto key = fmt::format("{}/{}", t, i);
          const auto other = key + "b";
          const std::array operations{Operation::put(key, "1"), Operation::put(other, "2")};
          lsns[static_cast<std::size_t>(t)].push_back(must(source->commit(operations)));
        }
      });
    }
  }
  std::vector<Lsn> committed;
  for (const auto& of_thread : lsns) {
    EXPECT_TRUE(std::ranges::is_sorted(of_thread));
    committed.insert(committed.end(), of_thread.begin(), of_thread.end());
  }
  std::ranges::sort(committed);
  const auto logged = read_log_to_head(*source, Lsn{0}, 1'000'000);
  EXPECT_EQ(lsns_of(logged), committed);
  EXPECT_EQ(replay({}, logged), all(*source));
}

TEST_F(RocksdbLog, what_a_commit_hands_over_is_what_its_record_says) {
  const auto source = must(RocksdbDatabase::open_root(options("handed")));
  std::vector<std::byte> handed;
  source->watch_log(
      [&](const CommittedLog& log) { handed.insert(handed.end(), log.entries.begin(), log.entries.end()); });
  const auto before = source->head();
  must(source->commit(std::array{Operation::put("a", "1"), Operation::put("c", "1"), Operation::put("b", "1")}));
  // A range without an end: behind the last key of the database, of the commit, or of itself.
  must(source->commit(std::array{Operation::erase_range("b", std::nullopt)}));
  must(source->commit(std::array{Operation::put("y", "1"), Operation::erase_range("x", std::nullopt),
                                 Operation::put("z", "1"), Operation::erase_range("z", std::nullopt)}));
  must(source->commit(std::array{Operation::erase_range("zz", std::nullopt)}));
  must(source->commit(std::array{Operation::erase("a"), Operation::erase_range("a", "b"), Operation::put("a", "")}));
  source->watch_log({});
  const auto logged = must(source->read_log(before, 1'000'000));
  EXPECT_EQ(handed, *logged.entries);
  EXPECT_EQ(replay({}, read_log_to_head(*source, Lsn{0}, 1'000'000)), all(*source));
  // And the hash that each record keeps of the one before is of it.
  const auto entries = read_log_to_head(*source, Lsn{0}, 1'000'000);
  for (const auto& entry : entries)
    EXPECT_EQ(must(source->prove(entry.id, entry.id.lsn)), PositionProof::same);
}

TEST_F(RocksdbLog, what_a_mirror_applies_is_handed_over_as_its_own_log_says) {
  const auto source = must(RocksdbDatabase::open_root(options("handing")));
  must(source->commit(std::array{Operation::put("a", "1")}));
  const auto copy = mirror();
  receive(*copy, *open_as(*source, own_format()), chunk_bytes);
  must(copy->switch_snapshot());
  std::vector<std::byte> handed;
  Lsn end = copy->head();
  const auto before = end;
  copy->watch_log([&](const CommittedLog& log) {
    EXPECT_EQ(log.prev_lsn, end);
    end = log.last_lsn;
    EXPECT_EQ(log.origin_lsn, source->head());
    handed.insert(handed.end(), log.entries.begin(), log.entries.end());
  });
  must(source->commit(std::array{Operation::put("b", "1"), Operation::erase_range("a", std::nullopt)}));
  apply_slice(*copy, *source, 1'000'000);
  must(source->commit(std::array{Operation::put("d", "1"), Operation::put("c", "1")}));
  apply_slice(*copy, *source, 1'000'000);
  copy->watch_log({});
  EXPECT_EQ(end, copy->head());
  EXPECT_EQ(handed, *must(copy->read_log(before, 1'000'000)).entries);
}

/// The disk takes its time over each sync: a millisecond, and until every writer is about its next commit or has none.
TEST_F(RocksdbLog, commits_that_come_while_the_disk_syncs_are_synced_together) {
  constexpr int threads_count = 8, each = 50;
  const auto disk = FaultyDisk::below(folder.path());
  auto chosen = options("grouped");
  chosen.sync = RocksdbSync::always;
  chosen.env = disk->env();
  const auto source = must(RocksdbDatabase::open_root(chosen));
  std::atomic<int> syncs = 0, begun = 0, committed = 0, ended = 0;
  disk->on_sync_of_file([&](const FaultyDisk::Path& file) {
    if (file.extension() != ".log") return;
    ++syncs;
    // All but the one that syncs for its group: their commits are not over before this is.
    while (begun - committed < threads_count - ended)
      std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < threads_count; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          ++begun;
          put(*source, fmt::format("{}/{}", t, i), "1");
          if (i + 1 == each) ++ended;
          ++committed;
        }
      });
    }
  }
  disk->on_sync_of_file({});
  EXPECT_EQ(all(*source).size(), std::size_t{threads_count} * each);
  EXPECT_GE(syncs, each) << "no commit of a thread is answered before it is on disk";
  EXPECT_LT(syncs, threads_count * each / 2);
}

/// A mirror passes on what it applied before it is on disk, also with `always`: no source counts that as durable, and a
/// mirror of it that has what a power cut took is told to wait, and then to bootstrap; it is never believed to follow.
TEST_F(RocksdbLog, what_a_middle_mirror_passes_on_before_it_is_on_disk_does_not_count_and_its_loss_is_told) {
  const auto source = root();
  fill(*source, 20, 100);
  int lost = 0;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE(seed);
    const auto name = fmt::format("middle {}", seed);
    const auto disk = FaultyDisk::below(folder.path() / name, seed);
    auto chosen = options(name);
    chosen.sync = RocksdbSync::always;
    chosen.env = disk->env();
    chosen.boot_id = "before the cut";
    auto middle = must(RocksdbDatabase::open_mirror(chosen));
    receive(*middle, *open_as(*source, own_format()), chunk_bytes);
    must(middle->switch_snapshot());
    const auto end = mirror(fmt::format("end {}", seed));
    receive(*end, *open_as(*middle, own_format()), chunk_bytes);
    must(end->switch_snapshot());
    const auto durable = must(middle->sync());
    put(*source, "newest", std::to_string(seed));
    apply_slice(*middle, *source, 100'000);
    EXPECT_EQ(middle->mirror_state().durable, durable) << "only a sync makes it so";
    apply_slice(*end, *middle, 100'000);
    ASSERT_EQ(must(end->get("newest")), std::to_string(seed));
    disk->cut_power_after(0);
    middle.reset();
    disk->restore_power();
    chosen.boot_id = "after the cut";
    middle = must(RocksdbDatabase::open_mirror(chosen));
    if (must(middle->get("newest")) == std::to_string(seed)) continue;  // the disk had it by then
    ++lost;
    const auto answer = [&] {
      const auto judged = core::judge_request(middle->source_state(), position_of(*end));
      const auto* error = std::get_if<MirrorError>(&judged);
      return error != nullptr ? std::string(to_string(error->kind())) : "goes on";
    };
    EXPECT_EQ(answer(), "Busy");
    apply_slice(*middle, *source, 100'000);
    EXPECT_EQ(answer(), "LogWindowExceeded") << "it has the same data under other LSNs";
  }
  EXPECT_GT(lost, 0) << "the disk took nothing, so nothing was shown";
}

TEST_F(RocksdbLog, the_wal_gives_the_same_entries_after_a_restart) {
  auto source = root();
  for (const auto& operations : workload())
    must(source->commit(operations, 1'234'567));
  const auto before = read_log_to_head(*source, Lsn{0}, 1'000'000);
  ASSERT_EQ(before.size(), workload().size());
  source.reset();
  source = root();
  EXPECT_EQ(read_log_to_head(*source, Lsn{0}, 1'000'000), before);
  EXPECT_EQ(read_log_to_head(*source, Lsn{0}, 100), before);
  for (const auto& entry : before)
    EXPECT_EQ(must(source->prove(entry.id, entry.id.lsn)), PositionProof::same);
  std::span<const std::byte> encoding = before.front().encoding;
  EXPECT_EQ(must(read_entry(encoding)).commit_time_us(), 1'234'567u);
}

TEST_F(RocksdbLog, a_range_without_an_end_takes_the_last_key_too_also_one_of_the_same_commit) {
  const auto source = root();
  const std::string last(50, '\xff');
  put(*source, "a", "1");
  put(*source, last, "1");
  const auto beyond = last + "z";
  const std::array operations{Operation::put(beyond, "1"), Operation::erase_range("b", std::nullopt)};
  must(source->commit(operations));
  EXPECT_EQ(all(*source), (Contents{{"a", "1"}}));
  const std::array of_nothing{Operation::erase_range("zzz", std::nullopt)};
  must(source->commit(of_nothing));
  EXPECT_EQ(replay({}, read_log_to_head(*source, Lsn{0}, 1'000'000)), all(*source));
}

TEST_F(RocksdbLog, wal_files_are_dropped_beyond_the_window_and_pins_hold_them_up_to_the_budget) {
  auto chosen = options("small");
  chosen.write_buffer_bytes = 256 * 1024;
  chosen.log_window.bytes = 1024 * 1024;
  chosen.log_window.budget_bytes = 4 * 1024 * 1024;
  const auto source = must(RocksdbDatabase::open_root(chosen));
  const auto written = [&](std::uint64_t bytes) {
    for (std::uint64_t done = 0; done < bytes; done += 10'000)
      put(*source, fmt::format("{}", done), std::string(10'000, 'x'));
  };
  source->pin("a mirror", Lsn{0});
  written(3 * 1024 * 1024);
  EXPECT_GT(source->window_left(Lsn{0}).value().bytes, 0u);
  const auto from_start = must(source->read_log(Lsn{0}, 100));
  EXPECT_EQ(from_start.prev_lsn, Lsn{0}) << "pinned beyond the window, within the budget";
  source->unpin("a mirror");
  EXPECT_TRUE(comes([&] { return source->source_state().oldest > Lsn{0}; })) << "beyond the window";
  EXPECT_FALSE(source->window_left(Lsn{0}));
  EXPECT_EQ(refusal(source->read_log(Lsn{0}, 100)), "LogWindowExceeded");
  const auto oldest = source->source_state().oldest;
  source->pin("a mirror", oldest);
  written(8 * 1024 * 1024);
  EXPECT_TRUE(comes([&] { return source->source_state().oldest > oldest; })) << "beyond the budget";
  // What is said to be there is there to its end, unless it was dropped since: files go one after another.
  for (bool whole = false; !whole;) {
    const auto now = source->source_state();
    auto after = now.oldest;
    whole = true;
    while (whole && after < now.head) {
      const auto slice = source->read_log(after, 1'000'000);
      whole = slice.ok();
      if (!whole) {
        ASSERT_EQ(refusal(slice), "LogWindowExceeded");
        ASSERT_GT(source->source_state().oldest, now.oldest);
      } else {
        ASSERT_EQ(slice->prev_lsn, after);
        ASSERT_GT(slice->last_lsn, after);
        after = slice->last_lsn;
      }
    }
  }
}

/// The archived WAL files of a database that is closed.
std::vector<std::filesystem::path> archived(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.path().parent_path().filename() == "archive") files.push_back(entry.path());
  return files;
}

TEST_F(RocksdbLog, a_clock_that_was_set_back_drops_nothing_of_the_log) {
  auto source = root();
  const auto first = put(*source, "a", "1");
  put(*source, "b", "1");
  source.reset();
  root().reset();  // archives what was written
  const auto files = archived(folder.path() / "root");
  ASSERT_FALSE(files.empty());
  for (const auto& file : files)
    std::filesystem::last_write_time(file, std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  source = root();
  EXPECT_EQ(read_log_to_head(*source, first, 1000).size(), 1u);
}

TEST_F(RocksdbLog, log_that_is_older_than_the_window_is_dropped_also_when_it_is_small) {
  auto source = root();
  put(*source, "a", "1");
  source.reset();
  root().reset();  // archives what was written
  const auto files = archived(folder.path() / "root");
  ASSERT_FALSE(files.empty());
  EXPECT_EQ(read_log_to_head(*root(), Lsn{0}, 1000).size(), 1u);
  const auto over = RocksdbLogWindow{}.time + std::chrono::hours(1);
  for (const auto& file : archived(folder.path() / "root"))
    std::filesystem::last_write_time(file, std::filesystem::file_time_type::clock::now() - over);
  source = root();
  EXPECT_TRUE(comes([&] { return source->source_state().oldest > Lsn{0}; }));
  EXPECT_EQ(refusal(source->read_log(Lsn{0}, 1000)), "LogWindowExceeded");
  const auto before = source->source_state().head;
  put(*source, "b", "1");
  EXPECT_EQ(read_log_to_head(*source, before, 1000).size(), 1u) << "what is younger stays";
}

/// Files of a log whose names and times a test makes up, and both clocks.
class WindowOfLog : public ::testing::Test {
 protected:
  using Files = std::vector<rocks::WalFile>;
  rocks::WindowClocks clocks() {
    return {[this] { return steady; }, [this] { return wall; }};
  }
  void passes(std::chrono::seconds time) {
    steady += time;
    wall += time;
  }
  rocks::WalFile file(std::uint64_t number, std::uint64_t bytes) const {
    return {std::to_string(number), number, Lsn{number * 100}, bytes, true, wall};
  }
  std::chrono::milliseconds time_left() { return window.left(Lsn{100}, Lsn{1000}).value().time.value(); }
  std::chrono::steady_clock::time_point steady{std::chrono::hours(1000)};
  std::chrono::system_clock::time_point wall{std::chrono::hours(500'000)};
  rocks::LogWindow window{RocksdbLogWindow{.time = std::chrono::hours(24)}, clocks()};
};

TEST_F(WindowOfLog, a_clock_that_jumps_ages_nothing_and_is_said_once) {
  const Files files{file(1, 10), file(2, 10)};
  window.begin(files, Lsn{1000});
  passes(std::chrono::hours(1));
  wall += std::chrono::hours(26);
  window.note(files, Lsn{1000});
  EXPECT_EQ(time_left(), std::chrono::hours(23));
  const auto jump = window.take_jump();
  ASSERT_TRUE(jump);
  EXPECT_EQ(*jump, std::chrono::hours(26));
  EXPECT_NE(rocks::to_warning(*jump).find("forward by 93600 s"), std::string::npos);
  EXPECT_FALSE(window.take_jump());
  wall -= std::chrono::hours(26);
  passes(std::chrono::seconds(1));
  window.note(files, Lsn{1000});
  EXPECT_EQ(window.take_jump(), -std::chrono::hours(26));
  passes(std::chrono::seconds(1));
  window.note(files, Lsn{1000});
  EXPECT_FALSE(window.take_jump());
}

TEST_F(WindowOfLog, a_log_that_is_opened_anew_while_the_clock_is_wrong_keeps_its_age) {
  const Files files{file(1, 10), file(2, 10)};
  window.begin(files, Lsn{1000});
  passes(std::chrono::hours(2));
  wall += std::chrono::hours(26);
  window.begin(files, Lsn{1000});
  EXPECT_EQ(time_left(), std::chrono::hours(22));
}

TEST_F(WindowOfLog, a_file_ages_from_its_last_growth_and_one_that_was_there_before_by_its_time) {
  auto old = file(1, 10), growing = file(2, 10);
  old.written -= std::chrono::hours(5);
  window.begin({old, growing}, Lsn{1000});
  EXPECT_EQ(time_left(), std::chrono::hours(19));
  passes(std::chrono::hours(3));
  growing.bytes = 20;
  window.note({old, growing}, Lsn{1000});
  EXPECT_EQ(time_left(), std::chrono::hours(16));
  EXPECT_EQ(window.left(Lsn{200}, Lsn{1000}).value().time.value(), std::chrono::hours(24));
  old.written += std::chrono::hours(100);  // ahead of the clock
  rocks::LogWindow fresh{RocksdbLogWindow{.time = std::chrono::hours(24)}, clocks()};
  fresh.begin({old}, Lsn{1000});
  EXPECT_EQ(fresh.left(Lsn{100}, Lsn{1000}).value().time.value(), std::chrono::hours(24));
}

TEST_F(RocksdbLog, a_database_that_is_damaged_says_so_and_blames_no_peer) {
  auto source = root();
  fill(*source, 10, 100);
  source.reset();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path() / "root")) {
    if (entry.path().filename().string().starts_with("MANIFEST-")) std::filesystem::resize_file(entry.path(), 11);
  }
  const auto opened = RocksdbDatabase::open_root(options("root"));
  ASSERT_FALSE(opened);
  EXPECT_EQ(raw_error(opened), "Storage");
  EXPECT_NE(opened.error().message().find((folder.path() / "root").string()), std::string::npos);
}

TEST_F(RocksdbLog, a_database_whose_log_was_removed_opens_and_its_mirrors_are_told) {
  auto source = root();
  const auto first = put(*source, "a", "1");
  put(*source, "b", "1");
  const auto before = source->source_state();
  source.reset();
  root().reset();
  for (const auto& file : archived(folder.path() / "root"))
    std::filesystem::remove(file);
  source = root();
  EXPECT_EQ(all(*source), (Contents{{"a", "1"}, {"b", "1"}}));
  const auto state = source->source_state();
  EXPECT_FALSE(before.history.contains(state.history.newest().incarnation));
  EXPECT_GE(state.oldest, before.head);
  EXPECT_EQ(refusal(source->read_log(first, 1000)), "LogWindowExceeded");
  EXPECT_NE(must(source->prove({first, {}}, first)), PositionProof::same);
  // Those that bootstrap now follow on.
  const auto copy = mirror();
  receive(*copy, *open_as(*source, own_format()), chunk_bytes);
  must(copy->switch_snapshot());
  put(*source, "c", "1");
  const auto position = position_of(*copy);
  EXPECT_EQ(must(source->prove(position.last_entry, position.applied_lsn)), PositionProof::same);
  apply_slice(*copy, *source, 1000);
  EXPECT_EQ(all(*copy), all(*source));
}

TEST_F(RocksdbLog, a_wal_file_that_is_missing_in_the_middle_is_never_passed_over) {
  auto chosen = options("gap");
  chosen.write_buffer_bytes = 64 * 1024;
  auto source = must(RocksdbDatabase::open_root(chosen));
  for (int i = 0; i < 400; ++i)
    put(*source, fmt::format("{}", i), std::string(1000, 'x'));
  const auto whole = read_log_to_head(*source, Lsn{0}, 5000);
  source.reset();
  auto files = archived(chosen.folder);
  ASSERT_GE(files.size(), 3u);
  std::ranges::sort(files);
  std::filesystem::remove(files[files.size() / 2]);
  source = must(RocksdbDatabase::open_root(chosen));
  Lsn after;
  std::size_t entries = 0;
  auto slice = source->read_log(after, 5000);
  for (; slice; slice = source->read_log(after, 5000)) {
    ASSERT_EQ(slice->prev_lsn, after);
    for (const auto& entry : read_entries(*slice))
      EXPECT_EQ(entry.encoding, whole.at(entries++).encoding);
    ASSERT_GT(slice->last_lsn, after) << "it goes past the gap to the head";
    after = slice->last_lsn;
  }
  EXPECT_EQ(refusal(slice), "LogWindowExceeded");
  EXPECT_GT(entries, 0u) << "up to the gap it is there";
}

TEST_F(RocksdbLog, a_cursor_goes_on_while_the_wal_is_written_and_rotated_under_it) {
  auto chosen = options("rotating");
  chosen.write_buffer_bytes = 64 * 1024;
  const auto source = must(RocksdbDatabase::open_root(chosen));
  std::atomic<bool> done = false;
  constexpr int commits = 4000;
  std::jthread writer([&] {
    for (int i = 0; i < commits; ++i)
      put(*source, fmt::format("{}", i), std::string(500, 'x'));
    done = true;
  });
  // From far behind, in small pieces: most of it comes from WAL files that are archived meanwhile.
  Lsn after;
  std::size_t entries = 0;
  while (!done || after < source->source_state().head) {
    const auto slice = must(source->read_log(after, 3000));
    entries += read_entries(slice).size();
    ASSERT_EQ(slice.prev_lsn, after);
    after = slice.last_lsn;
  }
  EXPECT_EQ(entries, static_cast<std::size_t>(commits));
}

}  // namespace
}  // namespace crosslink::test
