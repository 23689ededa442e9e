// What only the RocksDB engine has: files, restarts, checkpoints, dropped logs, one committing thread.
#include "crosslink/rocksdb_engine.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "engine/rocksdb/shelf.hpp"
#include "support/engine_steps.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

constexpr std::uint32_t chunk_bytes = 4096;

class RocksdbEngine : public ::testing::Test {
 protected:
  RocksdbOptions options(const std::string& name) const {
    RocksdbOptions chosen;
    chosen.folder = folder.path() / name;
    chosen.sync = RocksdbSync::never;
    return chosen;
  }
  std::unique_ptr<RocksdbDatabase> root(const std::string& name = "root") const {
    return must(RocksdbDatabase::open_root(options(name)));
  }
  std::unique_ptr<RocksdbDatabase> mirror(const std::string& name = "mirror") const {
    return must(RocksdbDatabase::open_mirror(options(name)));
  }
  static Lsn put(RocksdbDatabase& database, const std::string& key, const std::string& value) {
    const std::array operations{Operation::put(key, value)};
    return must(database.commit(operations));
  }
  static void fill(RocksdbDatabase& database, int keys, std::size_t value_bytes) {
    for (int i = 0; i < keys; ++i)
      put(database, fmt::format("key{:06}", i), std::string(value_bytes, static_cast<char>('a' + i % 26)));
  }
  static Contents all(RocksdbDatabase& database) {
    Contents contents;
    for (auto& [key, value] : scan(*must(database.view()), "", std::nullopt))
      contents.emplace(key, value);
    return contents;
  }
  static std::shared_ptr<SnapshotReader> open_as(RocksdbDatabase& source, const std::string& format,
                                                 const std::optional<SnapshotId>& wanted = {}) {
    const std::vector<std::string> formats{format};
    return must(source.open_snapshot(formats, wanted));
  }
  static std::string own_format() { return rocks::checkpoint_format(RocksdbCompression::lz4); }
  static std::string raw_error(const Result<std::unique_ptr<RocksdbDatabase>>& opened) { return refusal(opened); }

  TemporaryFolder folder;
};

TEST_F(RocksdbEngine, a_checkpoint_is_received_as_files_and_follows_on) {
  const auto source = root();
  const auto copy = mirror();
  fill(*source, 500, 1000);
  const auto reader = open_as(*source, own_format());
  EXPECT_EQ(reader->facts().format, own_format());
  EXPECT_EQ(copy->traits().formats.front(), own_format()) << "what is cheapest is asked for first";
  receive(*copy, *reader, chunk_bytes);
  EXPECT_FALSE(must(copy->check_snapshot()).cut_back_to);
  must(copy->switch_snapshot());
  EXPECT_EQ(all(*copy), all(*source));
  const auto state = copy->mirror_state();
  EXPECT_EQ(state.position->applied_lsn, reader->facts().snapshot_lsn);
  EXPECT_EQ(state.position->last_entry, reader->facts().last_entry);
  EXPECT_EQ(copy->source_state().history.newest().cause, HistoryCause::bootstrap);
  EXPECT_EQ(copy->source_state().origin, source->source_state().origin);
  put(*source, "after", "1");
  apply_slice(*copy, *source, 1000);
  EXPECT_EQ(must(copy->get("after")), "1");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "mirror" / "partial")) << "nothing is left of the way there";
}

TEST_F(RocksdbEngine, the_same_snapshot_can_be_received_twice_and_the_old_folder_goes) {
  const auto source = root();
  const auto copy = mirror();
  fill(*source, 50, 100);
  for (int round = 0; round < 3; ++round) {
    const auto reader = open_as(*source, own_format());
    receive(*copy, *reader, chunk_bytes);
    must(copy->switch_snapshot());
    EXPECT_EQ(all(*copy), all(*source));
  }
  int data_folders = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "mirror"))
    data_folders += entry.path().filename().string().starts_with("data-") ? 1 : 0;
  EXPECT_EQ(data_folders, 1);
}

TEST_F(RocksdbEngine, a_restart_goes_on_with_the_partial_snapshot_where_it_was) {
  const auto source = root();
  fill(*source, 200, 1000);
  for (const auto& format : {own_format(), std::string(kv_format)}) {
    SCOPED_TRACE(format);
    const auto name = "mirror" + std::to_string(format.size());
    const auto reader = open_as(*source, format);
    std::uint64_t stored = 0;
    {
      const auto copy = mirror(name);
      must(copy->begin_snapshot(reader->facts()));
      for (int i = 0; i < 10; ++i) {
        const auto piece = must(reader->read(stored, chunk_bytes));
        const auto size = static_cast<std::uint32_t>(piece.bytes->size());
        must(copy->store_chunk({stored, size, crc32c(*piece.bytes)}, *piece.bytes));
        stored += size;
      }
    }
    const auto copy = mirror(name);
    ASSERT_TRUE(copy->mirror_state().partial);
    EXPECT_EQ(copy->mirror_state().partial->bytes(), stored);
    EXPECT_EQ(copy->mirror_state().partial->facts.id, reader->facts().id);
    store_rest(*copy, *reader, chunk_bytes);
    const auto check = must(copy->check_snapshot());
    EXPECT_FALSE(check.cut_back_to);
    EXPECT_EQ(check.total_crc32c, crc32c(read_snapshot(*reader, 100'000)));
    must(copy->switch_snapshot());
    EXPECT_EQ(all(*copy), all(*source));
  }
}

/// Flips the middle byte of the largest file below the folder whose name ends so.
void flip(const std::filesystem::path& below, const std::string& name_end) {
  std::filesystem::path largest;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(below)) {
    if (!entry.is_regular_file() || !entry.path().filename().string().ends_with(name_end)) continue;
    if (largest.empty() || entry.file_size() > std::filesystem::file_size(largest)) largest = entry.path();
  }
  ASSERT_FALSE(largest.empty());
  const auto at = std::filesystem::file_size(largest) / 2;
  std::fstream file(largest, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  char byte = 0;
  file.get(byte);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 1));
}

TEST_F(RocksdbEngine, a_flipped_byte_of_a_partial_snapshot_cuts_back_to_its_chunk_also_in_its_list_of_files) {
  const auto source = root();
  fill(*source, 200, 1000);
  const std::pair<std::string, std::string> cases[] = {
      {own_format(), ".sst"}, {own_format(), "head"}, {std::string(kv_format), "stream"}};
  for (const auto& [format, file] : cases) {
    SCOPED_TRACE(file);
    const auto copy = mirror("mirror of " + file);
    const auto reader = open_as(*source, format);
    receive(*copy, *reader, chunk_bytes);
    flip(folder.path() / ("mirror of " + file) / "partial", file);
    const auto whole = copy->mirror_state().partial->bytes();
    const auto check = must(copy->check_snapshot());
    ASSERT_TRUE(check.cut_back_to);
    EXPECT_EQ(*check.cut_back_to % chunk_bytes, 0u);
    EXPECT_EQ(copy->mirror_state().partial->bytes(), *check.cut_back_to);
    EXPECT_LT(*check.cut_back_to, whole);
    store_rest(*copy, *reader, chunk_bytes);
    EXPECT_FALSE(must(copy->check_snapshot()).cut_back_to);
    must(copy->switch_snapshot());
    EXPECT_EQ(all(*copy), all(*source));
  }
}

TEST_F(RocksdbEngine, a_hostile_list_of_files_is_stored_nowhere_and_never_switched_in) {
  const auto source = root();
  fill(*source, 10, 100);
  const auto facts = open_as(*source, own_format())->facts();
  const std::string outside = (folder.path() / "outside").string();
  for (const std::string& list : std::vector<std::string>{
           "../outside 5\n", "/etc/passwd 5\n", "files/000001.sst 5\n", "OPTIONS-000005 5\n", "IDENTITY 5\n",
           "000001.sst 5\n000001.sst 5\n", "000001.sst -5\n", "000001.sst 99999999999999999999\n", "000001.sst", " \n",
           "\n", "000001.SST 5\n", std::string("CURRENT\0 5\n", 11), "CURRENT/../../x.sst 5\n"}) {
    SCOPED_TRACE(escape(list));
    const auto copy = mirror();
    must(copy->begin_snapshot(facts));
    std::vector<std::byte> bytes;
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes.push_back(static_cast<std::byte>(list.size() >> shift & 0xff));
    for (const char c : list + "hello")
      bytes.push_back(static_cast<std::byte>(c));
    must(copy->store_chunk({0, static_cast<std::uint32_t>(bytes.size()), crc32c(bytes)}, bytes));
    EXPECT_FALSE(must(copy->check_snapshot()).cut_back_to);
    EXPECT_EQ(refusal(copy->switch_snapshot()), "UnsupportedOperation");
    EXPECT_FALSE(std::filesystem::exists(outside));
    for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "mirror" / "partial" / "files"))
      ADD_FAILURE() << entry.path();
    EXPECT_FALSE(copy->mirror_state().position);
  }
}

TEST_F(RocksdbEngine, a_list_of_files_that_is_too_long_takes_no_memory) {
  const auto source = root();
  const auto copy = mirror();
  must(copy->begin_snapshot(open_as(*source, own_format())->facts()));
  const std::vector<std::byte> bytes(100, std::byte{0xff});
  must(copy->store_chunk({0, 100, crc32c(bytes)}, bytes));
  EXPECT_EQ(refusal(copy->switch_snapshot()), "UnsupportedOperation");
}

TEST_F(RocksdbEngine, files_that_are_no_database_are_refused_and_the_old_data_stays) {
  const auto source = root();
  fill(*source, 10, 100);
  const auto copy = mirror();
  const auto good = open_as(*source, own_format());
  receive(*copy, *good, chunk_bytes);
  must(copy->switch_snapshot());
  const auto before = all(*copy);
  auto facts = good->facts();
  must(copy->begin_snapshot(facts));
  std::vector<std::byte> bytes = rocks::encode_checkpoint_head({{{"CURRENT", 20}, {"MANIFEST-000009", 30}}});
  bytes.insert(bytes.end(), 50, std::byte{'x'});
  must(copy->store_chunk({0, static_cast<std::uint32_t>(bytes.size()), crc32c(bytes)}, bytes));
  EXPECT_EQ(refusal(copy->switch_snapshot()), "UnsupportedOperation");
  EXPECT_EQ(all(*copy), before);
  EXPECT_EQ(copy->mirror_state().position->applied_lsn, facts.snapshot_lsn);
}

TEST_F(RocksdbEngine, a_view_stays_readable_while_a_snapshot_is_switched_in_and_after) {
  const auto source = root();
  const auto copy = mirror();
  put(*source, "a", "old");
  receive(*copy, *open_as(*source, own_format()), chunk_bytes);
  must(copy->switch_snapshot());
  const auto view = must(copy->view());
  put(*source, "a", "new");
  receive(*copy, *open_as(*source, own_format()), chunk_bytes);
  must(copy->switch_snapshot());
  EXPECT_EQ(scan(*view, "", std::nullopt), (Pairs{{"a", "old"}}));
  EXPECT_EQ(must(copy->get("a")), "new");
}

TEST_F(RocksdbEngine, snapshots_of_a_middle_mirror_open_while_it_switches_and_are_of_one_history_each) {
  const auto source = root();
  const auto middle = mirror();
  fill(*source, 20, 100);
  receive(*middle, *open_as(*source, own_format()), chunk_bytes);
  must(middle->switch_snapshot());
  std::atomic<int> opened = 0;
  std::jthread reader([&](const std::stop_token& stop) {
    const std::vector<std::string> formats{own_format()};
    while (!stop.stop_requested()) {
      const auto snapshot = middle->open_snapshot(formats, std::nullopt);
      // A switch in between is answered with an error, never with a snapshot of two histories.
      if (!snapshot) continue;
      EXPECT_EQ((*snapshot)->facts().last_entry, EntryId{}) << "its own log has no entry";
      ++opened;
    }
  });
  for (int round = 0; round < 10 || opened < 10; ++round) {
    put(*source, "round", std::to_string(round));
    receive(*middle, *open_as(*source, own_format()), chunk_bytes);
    must(middle->switch_snapshot());
    EXPECT_EQ(must(middle->get("round")), std::to_string(round));
  }
}

TEST_F(RocksdbEngine, a_snapshot_is_taken_up_again_by_its_id_after_a_restart) {
  auto source = root();
  fill(*source, 300, 1000);
  for (const auto& format : {own_format(), std::string(kv_format)}) {
    SCOPED_TRACE(format);
    const auto first = open_as(*source, format);
    const auto facts = first->facts();
    const auto bytes = read_snapshot(*first, 10'000);
    put(*source, "later", format);
    source.reset();
    source = root();
    const auto again = open_as(*source, format, facts.id);
    EXPECT_EQ(again->facts().id, facts.id);
    EXPECT_EQ(again->facts().snapshot_lsn, facts.snapshot_lsn);
    EXPECT_EQ(again->facts().last_entry, facts.last_entry);
    EXPECT_EQ(read_snapshot(*again, 7'777), bytes);
  }
}

TEST_F(RocksdbEngine, a_snapshot_from_which_no_log_goes_on_is_not_taken_up_again) {
  const auto source = root();
  fill(*source, 20, 100);
  const auto id = open_as(*source, own_format())->facts().id;
  put(*source, "after", "1");
  EXPECT_EQ(open_as(*source, own_format(), id)->facts().id, id);
  must(source->purge_log());
  const auto other = open_as(*source, own_format(), id)->facts();
  EXPECT_NE(other.id, id);
  EXPECT_EQ(other.snapshot_lsn, source->source_state().head);
}

/// A kept snapshot may hold writes that the log lost: RocksDB syncs what it makes of them, and not the log itself.
TEST_F(RocksdbEngine, a_snapshot_of_what_was_lost_since_is_not_taken_up_again) {
  auto chosen = options("restored");
  chosen.boot_id = "first boot";
  auto source = must(RocksdbDatabase::open_root(chosen));
  put(*source, "a", "1");
  source.reset();
  std::filesystem::copy(chosen.folder, folder.path() / "earlier", std::filesystem::copy_options::recursive);
  source = must(RocksdbDatabase::open_root(chosen));
  put(*source, "b", "lost");
  const auto facts = open_as(*source, own_format())->facts();
  source.reset();
  // The data as it was before, the snapshot as it came to be, and another boot.
  std::filesystem::copy(chosen.folder / "snapshots", folder.path() / "earlier" / "snapshots",
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(chosen.folder);
  std::filesystem::rename(folder.path() / "earlier", chosen.folder);
  std::ofstream(chosen.folder / "running") << "first boot";
  chosen.boot_id = "second boot";
  source = must(RocksdbDatabase::open_root(chosen));
  ASSERT_EQ(source->source_state().history.records().size(), 2u);
  EXPECT_NE(open_as(*source, own_format(), facts.id)->facts().id, facts.id);
}

TEST_F(RocksdbEngine, commits_of_eight_threads_are_one_record_each_and_all_there) {
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

TEST_F(RocksdbEngine, the_wal_gives_the_same_entries_as_the_tail_in_memory) {
  auto source = root();
  for (const auto& operations : workload())
    must(source->commit(operations, 1'234'567));
  const auto from_memory = read_log_to_head(*source, Lsn{0}, 1'000'000);
  ASSERT_EQ(from_memory.size(), workload().size());
  source.reset();
  source = root();
  EXPECT_EQ(read_log_to_head(*source, Lsn{0}, 1'000'000), from_memory);
  EXPECT_EQ(read_log_to_head(*source, Lsn{0}, 100), from_memory);
  for (const auto& entry : from_memory)
    EXPECT_EQ(must(source->prove(entry.id, entry.id.lsn)), PositionProof::same);
  std::span<const std::byte> encoding = from_memory.front().encoding;
  EXPECT_EQ(must(read_entry(encoding)).commit_time_us(), 1'234'567u);
}

TEST_F(RocksdbEngine, a_range_without_an_end_takes_the_last_key_too_also_one_of_the_same_commit) {
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

TEST_F(RocksdbEngine, wal_files_are_dropped_beyond_the_window_and_pins_hold_them_up_to_the_budget) {
  auto chosen = options("small");
  chosen.write_buffer_bytes = 256 * 1024;
  chosen.log_window.bytes = 1024 * 1024;
  chosen.log_window.budget_bytes = 4 * 1024 * 1024;
  const auto source = must(RocksdbDatabase::open_root(chosen));
  const auto wait_until = [](auto condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition() && std::chrono::steady_clock::now() < until)
      std::this_thread::yield();
    return condition();
  };
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
  EXPECT_TRUE(wait_until([&] { return source->source_state().oldest > Lsn{0}; })) << "beyond the window";
  EXPECT_FALSE(source->window_left(Lsn{0}));
  EXPECT_EQ(refusal(source->read_log(Lsn{0}, 100)), "LogWindowExceeded");
  const auto oldest = source->source_state().oldest;
  source->pin("a mirror", oldest);
  written(8 * 1024 * 1024);
  EXPECT_TRUE(wait_until([&] { return source->source_state().oldest > oldest; })) << "beyond the budget";
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

TEST_F(RocksdbEngine, a_clock_that_was_set_back_drops_nothing_of_the_log) {
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

TEST_F(RocksdbEngine, a_database_whose_log_was_removed_opens_and_its_mirrors_are_told) {
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
  EXPECT_EQ(state.history.newest().cause, HistoryCause::unclean_stop);
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

TEST_F(RocksdbEngine, a_wal_file_that_is_missing_in_the_middle_is_never_passed_over) {
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

TEST_F(RocksdbEngine, a_cursor_goes_on_while_the_wal_is_written_and_rotated_under_it) {
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

TEST_F(RocksdbEngine, an_unclean_end_and_another_boot_begin_an_incarnation_and_a_kill_alone_does_not) {
  auto chosen = options("stopped");
  chosen.boot_id = "first boot";
  const auto running = chosen.folder / "running";
  {
    put(*must(RocksdbDatabase::open_root(chosen)), "a", "1");
  }
  EXPECT_FALSE(std::filesystem::exists(running)) << "a clean end leaves no mark";
  const auto mark = [&] { std::ofstream(running) << "first boot"; };  // as a kill would leave it
  mark();
  EXPECT_EQ(must(RocksdbDatabase::open_root(chosen))->source_state().history.records().size(), 1u);
  mark();
  chosen.boot_id = "second boot";
  {
    const auto again = must(RocksdbDatabase::open_root(chosen));
    const auto state = again->source_state();
    ASSERT_EQ(state.history.records().size(), 2u);
    EXPECT_EQ(state.history.newest().cause, HistoryCause::unclean_stop);
    EXPECT_EQ(must(again->get("a")), "1");
    EXPECT_LE(state.history.newest().first_lsn, state.head);
  }
  EXPECT_EQ(must(RocksdbDatabase::open_root(chosen))->source_state().history.records().size(), 2u);
  // What counts is how it was synced then, not how it will be.
  mark();
  chosen.sync = RocksdbSync::always;
  chosen.boot_id = "third boot";
  EXPECT_EQ(must(RocksdbDatabase::open_root(chosen))->source_state().history.records().size(), 3u);
  {
    const auto synced = must(RocksdbDatabase::open_root(chosen));
    std::filesystem::copy(running, folder.path() / "mark");
  }
  std::filesystem::copy(folder.path() / "mark", running);
  chosen.sync = RocksdbSync::never;
  chosen.boot_id = "fourth boot";
  EXPECT_EQ(must(RocksdbDatabase::open_root(chosen))->source_state().history.records().size(), 3u)
      << "nothing that was confirmed can be lost";
}

TEST_F(RocksdbEngine, restamping_is_for_databases_that_follow_nobody) {
  auto source = root();
  const auto before = source->source_state();
  must(source->restamp());
  EXPECT_EQ(source->source_state().history.newest().cause, HistoryCause::restamp);
  EXPECT_EQ(source->source_state().origin, before.origin);
  EXPECT_GT(source->source_state().history.newest().first_lsn, before.head);
  const auto history = source->source_state().history;
  source.reset();
  EXPECT_EQ(root()->source_state().history, history);
  EXPECT_EQ(refusal(mirror()->restamp()), "Configuration");
}

TEST_F(RocksdbEngine, a_folder_is_opened_once_and_as_what_it_is) {
  const auto source = root();
  EXPECT_EQ(raw_error(RocksdbDatabase::open_root(options("root"))), "Configuration");
  static_cast<void>(mirror("copy"));
  EXPECT_EQ(raw_error(RocksdbDatabase::open_root(options("copy"))), "Configuration");
  EXPECT_EQ(raw_error(RocksdbDatabase::open(options("absent"))), "Configuration");
  EXPECT_EQ(std::filesystem::status(folder.path() / "root").permissions(), std::filesystem::perms::owner_all);
}

TEST_F(RocksdbEngine, a_lease_is_refused) {
  const std::array operations{Operation::put("a", "1", 7)};
  EXPECT_EQ(refusal(root()->commit(operations)), "UnsupportedOperation");
}

}  // namespace
}  // namespace crosslink::test
