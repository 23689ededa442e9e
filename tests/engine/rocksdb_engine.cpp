// What only the RocksDB engine has: files, restarts, checkpoints.
#include <algorithm>
#include <fstream>

#include "engine/rocksdb_fixture.hpp"

namespace crosslink::test {
namespace {

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

TEST_F(RocksdbEngine, a_damaged_table_of_the_source_is_refused_before_the_switch_and_the_old_data_stays) {
  const auto source = root();
  fill(*source, 200, 1000);
  const auto copy = mirror();
  receive(*copy, *open_as(*source, own_format()), chunk_bytes);
  must(copy->switch_snapshot());
  const auto before = all(*copy);
  put(*source, "later", "1");
  receive(*copy, *open_as(*source, own_format()), chunk_bytes);
  // Past check_snapshot(), which compares with what came: so it came, and the source's checksums of chunks say so.
  flip(folder.path() / "mirror" / "partial", ".sst");
  const auto switched = copy->switch_snapshot();
  EXPECT_EQ(refusal(switched), "UnsupportedOperation");
  EXPECT_EQ(switched.error().caused_by(), CausedBy::peer);
  EXPECT_EQ(all(*copy), before);
}

TEST_F(RocksdbEngine, a_mirror_that_takes_pairs_only_opens_no_file_of_its_source) {
  const auto source = root();
  fill(*source, 50, 1000);
  {
    const auto copy = mirror();
    receive(*copy, *open_as(*source, own_format()), chunk_bytes);
  }
  auto chosen = options("mirror");
  chosen.snapshot_files = false;
  const auto copy = must(RocksdbDatabase::open_mirror(chosen));
  EXPECT_FALSE(copy->mirror_state().partial) << "what came before it was told so is not switched in";
  EXPECT_EQ(copy->traits().formats, std::vector<std::string>{std::string(kv_format)});
  const auto files = open_as(*source, own_format());
  EXPECT_EQ(refusal(copy->begin_snapshot(files->facts())), "UnsupportedOperation");
  receive(*copy, *open_as(*source, std::string(kv_format)), chunk_bytes);
  must(copy->switch_snapshot());
  EXPECT_EQ(all(*copy), all(*source));
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

/// Bytes of files in the folder that have no other name.
std::uint64_t held_alone(const std::filesystem::path& below) {
  std::uint64_t bytes = 0;
  std::error_code error;  // files go meanwhile
  for (const auto& entry : std::filesystem::directory_iterator(below, error))
    if (entry.hard_link_count(error) == 1) bytes += entry.file_size(error);
  return bytes;
}

TEST_F(RocksdbEngine, snapshots_that_no_mirror_reads_go_when_they_hold_more_than_their_budget) {
  auto chosen = options("changing");
  chosen.write_buffer_bytes = 256 * 1024;
  chosen.snapshot_budget_bytes = 500'000;
  chosen.compression = RocksdbCompression::none;
  const auto source = must(RocksdbDatabase::open_root(chosen));
  fill(*source, 2000, 1000);
  const auto format = rocks::checkpoint_format(RocksdbCompression::none);
  auto read = open_as(*source, format);
  const auto id = read->facts().id;
  const auto kept = chosen.folder / "snapshots" / to_string(id);
  // The database drops the tables that it has rewritten; this snapshot has them still.
  for (int i = 0; i < 100 && held_alone(kept) <= 2 * chosen.snapshot_budget_bytes; ++i)
    fill(*source, 2000, 1000);
  ASSERT_TRUE(comes([&] { return held_alone(kept) > 2 * chosen.snapshot_budget_bytes; }));
  EXPECT_GT(read_snapshot(*read, 100'000).size(), 2'000'000u) << "one that is read stays whole";
  EXPECT_EQ(open_as(*source, format, id)->facts().id, id);
  read.reset();
  EXPECT_TRUE(comes([&] { return !std::filesystem::exists(kept); }));
  EXPECT_NE(open_as(*source, format, id)->facts().id, id);
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

TEST_F(RocksdbEngine, an_unclean_end_and_another_boot_begin_an_incarnation_of_that_cause_and_a_kill_alone_does_not) {
  auto chosen = options("stopped");
  chosen.boot_id = "first boot";
  const auto running = chosen.folder / "running";
  {
    put(*must(RocksdbDatabase::open_root(chosen)), "a", "1");
  }
  EXPECT_FALSE(std::filesystem::exists(running)) << "a clean end leaves no mark";
  const auto mark = [&] { std::ofstream(running) << "first boot"; };  // as a kill would leave it
  mark();
  {
    const auto state = must(RocksdbDatabase::open_root(chosen))->source_state();
    ASSERT_EQ(state.history.records().size(), 2u);
    EXPECT_EQ(state.history.newest().cause, HistoryCause::restamp);
  }
  mark();
  chosen.boot_id = "second boot";
  {
    const auto again = must(RocksdbDatabase::open_root(chosen));
    const auto state = again->source_state();
    ASSERT_EQ(state.history.records().size(), 3u);
    EXPECT_EQ(state.history.newest().cause, HistoryCause::unclean_stop);
    EXPECT_EQ(must(again->get("a")), "1");
    EXPECT_LE(state.history.newest().first_lsn, state.head);
  }
  EXPECT_EQ(must(RocksdbDatabase::open_root(chosen))->source_state().history.records().size(), 3u);
  // What counts is how it was synced then, not how it will be.
  mark();
  chosen.sync = RocksdbSync::always;
  chosen.boot_id = "third boot";
  EXPECT_EQ(must(RocksdbDatabase::open_root(chosen))->source_state().history.records().size(), 4u);
  {
    const auto synced = must(RocksdbDatabase::open_root(chosen));
    std::filesystem::copy(running, folder.path() / "mark");
  }
  std::filesystem::copy(folder.path() / "mark", running);
  chosen.sync = RocksdbSync::never;
  chosen.boot_id = "fourth boot";
  EXPECT_EQ(must(RocksdbDatabase::open_root(chosen))->source_state().history.records().size(), 4u)
      << "nothing that was confirmed can be lost";
}

TEST_F(RocksdbEngine, restamping_is_for_databases_that_follow_no_source) {
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
