// What only the engine in memory has: exact numbers, and what an operator or a disk does to a database.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crosslink/memory_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "crosslink/testing/memory_faults.hpp"

namespace crosslink::test {
namespace {

Lsn put(MemoryDatabase& database, std::string_view key, std::string_view value) {
  return must(database.commit(std::array{Operation::put(key, value)}));
}

/// Entries of one size each, so that windows can be counted in entries.
constexpr std::size_t entry_bytes = 100;
void put_counted(MemoryDatabase& database, int entries) {
  for (int i = 0; i < entries; ++i) {
    const auto before = database.source_state().head;
    const auto bare = encoded_entry_bytes(Lsn{before.value + 1}, std::array{Operation::put("k", "")});
    put(database, "k", std::string(entry_bytes - bare, 'v'));
    const auto slice = must(database.read_log(before, 1));
    ASSERT_EQ(slice.entries->size(), entry_bytes);
  }
}

MemoryOptions window_of(std::uint64_t entries, std::uint64_t budget_entries) {
  MemoryOptions options;
  options.log_window_bytes = entries * entry_bytes;
  options.log_budget_bytes = budget_entries * entry_bytes;
  return options;
}

MemoryOptions seeded(std::uint64_t seed, bool manual_sync = false) {
  MemoryOptions options;
  options.seed = seed;
  options.manual_sync = manual_sync;
  return options;
}

void bootstrap(MemoryDatabase& mirror, MemoryDatabase& source) {
  receive(mirror, *open_kv(source), 1000);
  must(mirror.switch_snapshot());
}

void follow(MemoryDatabase& mirror, MemoryDatabase& source, std::size_t bytes_max = 1000) {
  while (position_of(mirror).applied_lsn < source.source_state().head)
    apply_slice(mirror, source, bytes_max);
}

// --- writing
// -------------------------------------------------------------------------------------------------

TEST(MemoryDatabase, lsns_have_no_gaps_and_begin_at_one) {
  const auto root = MemoryDatabase::create();
  for (std::uint64_t lsn = 1; lsn <= 5; ++lsn)
    EXPECT_EQ(put(*root, "k", "v"), Lsn{lsn});
}

TEST(MemoryDatabase, a_commit_that_cannot_be_is_refused_and_changes_nothing) {
  auto options = MemoryOptions{};
  options.entry_bytes_max = 1000;
  const auto root = MemoryDatabase::create(options);
  put(*root, "a", "1");
  EXPECT_EQ(refusal(root->commit({})), "Configuration");
  EXPECT_EQ(refusal(root->commit(std::array{Operation::put("a", "2"), Operation::erase_range("b", "a")})),
            "Configuration");
  EXPECT_EQ(refusal(root->commit(std::array{Operation::erase_range("b", "b")})), "Configuration");
  const std::string large(1000, 'x');
  EXPECT_EQ(refusal(root->commit(std::array{Operation::put("a", large)})), "UnsupportedOperation");
  EXPECT_EQ(root->get("a"), "1");
  EXPECT_EQ(root->source_state().head, Lsn{1});
  EXPECT_EQ(root->log_bytes(), must(root->read_log(Lsn{0}, 1000)).entries->size());
}

TEST(MemoryDatabase, an_entry_of_exactly_the_largest_size_is_taken) {
  auto options = MemoryOptions{};
  const std::string value(500, 'x');
  const std::array operations{Operation::put("a", value)};
  options.entry_bytes_max = encoded_entry_bytes(Lsn{1}, operations);
  EXPECT_EQ(must(MemoryDatabase::create(options)->commit(operations)), Lsn{1});
  --options.entry_bytes_max;
  EXPECT_EQ(refusal(MemoryDatabase::create(options)->commit(operations)), "UnsupportedOperation");
}

TEST(MemoryDatabase, commit_times_travel_with_the_entries_of_a_mirrors_own_log) {
  const auto root = MemoryDatabase::create(seeded(1));
  put(*root, "a", "1");
  put(*root, "a", "2");
  const auto mirror = MemoryDatabase::empty(seeded(2));
  bootstrap(*mirror, *root);
  const auto start = mirror->source_state().head;
  must(root->commit(std::array{Operation::put("a", "3")}, 1'700'000'000'000'000));
  follow(*mirror, *root);
  const auto slice = must(mirror->read_log(start, 1));
  std::span<const std::byte> rest = *slice.entries;
  const auto entry = must(read_entry(rest));
  EXPECT_EQ(entry.commit_time_us(), 1'700'000'000'000'000u);
  EXPECT_EQ(entry.lsn(), (Lsn{start.value + 1}));
}

TEST(MemoryDatabase, leases_travel_in_snapshots_and_entries) {
  const auto root = MemoryDatabase::create(seeded(1));
  must(root->commit(std::array{Operation::put("with", "1", 42), Operation::put("without", "1")}));
  const auto mirror = MemoryDatabase::empty(seeded(2));
  bootstrap(*mirror, *root);
  must(root->commit(std::array{Operation::put("later", "1", 43)}));
  follow(*mirror, *root);
  std::map<std::string, std::optional<std::uint64_t>> leases;
  must(must(mirror->view())->scan("", std::nullopt, [&](const KeyValue& pair) {
    leases.emplace(pair.key, pair.lease);
    return true;
  }));
  EXPECT_EQ(leases, (std::map<std::string, std::optional<std::uint64_t>>{
                        {"later", 43}, {"with", 42}, {"without", std::nullopt}}));
}

// --- log window, budget, pins
// -------------------------------------------------------------------------------------------------

TEST(MemoryDatabase, a_slice_fills_its_limit_and_never_passes_it_by_a_second_entry) {
  const auto root = MemoryDatabase::create();
  put_counted(*root, 5);
  EXPECT_EQ(must(root->read_log(Lsn{1}, 3 * entry_bytes)).count, 3u);
  EXPECT_EQ(must(root->read_log(Lsn{1}, 3 * entry_bytes - 1)).count, 2u);
  EXPECT_EQ(must(root->read_log(Lsn{1}, entry_bytes - 1)).count, 1u);
  EXPECT_EQ(must(root->read_log(Lsn{1}, 0)).count, 1u);
}

TEST(MemoryDatabase, the_log_keeps_its_window_and_no_more) {
  const auto root = MemoryDatabase::create(window_of(4, 8));
  put_counted(*root, 4);
  EXPECT_EQ(root->source_state().oldest, Lsn{0});
  put_counted(*root, 6);
  EXPECT_EQ(root->source_state().oldest, Lsn{6});
  EXPECT_EQ(root->log_bytes(), 4 * entry_bytes);
  EXPECT_EQ(lsns_of(read_log_to_head(*root, Lsn{6}, 150)), (std::vector{Lsn{7}, Lsn{8}, Lsn{9}, Lsn{10}}));
  EXPECT_EQ(refusal(root->read_log(Lsn{5}, 150)), "LogWindowExceeded");
}

TEST(MemoryDatabase, the_newest_entry_stays_however_large_it_is) {
  const auto root = MemoryDatabase::create(window_of(1, 2));
  put(*root, "k", std::string(50 * entry_bytes, 'x'));
  put(*root, "k", std::string(60 * entry_bytes, 'x'));
  EXPECT_EQ(root->source_state().oldest, Lsn{1});
  EXPECT_EQ(must(root->read_log(Lsn{1}, 1)).count, 1u);
}

TEST(MemoryDatabase, a_pin_keeps_the_log_beyond_its_window_until_it_moves_or_goes) {
  const auto root = MemoryDatabase::create(window_of(2, 100));
  put_counted(*root, 2);
  root->pin("slow", Lsn{2});
  root->pin("fast", Lsn{2});
  put_counted(*root, 8);
  EXPECT_EQ(root->source_state().oldest, Lsn{2});
  root->pin("fast", Lsn{9});
  EXPECT_EQ(root->source_state().oldest, Lsn{2});
  root->pin("slow", Lsn{5});
  EXPECT_EQ(root->source_state().oldest, Lsn{5});
  root->unpin("slow");
  EXPECT_EQ(root->source_state().oldest, Lsn{8});
  root->unpin("never pinned");
  EXPECT_EQ(root->source_state().oldest, Lsn{8});
}

TEST(MemoryDatabase, pins_are_passed_over_when_the_log_is_over_its_budget) {
  const auto root = MemoryDatabase::create(window_of(2, 5));
  root->pin("gone", Lsn{0});
  put_counted(*root, 5);
  EXPECT_EQ(root->source_state().oldest, Lsn{0});
  put_counted(*root, 4);
  EXPECT_EQ(root->log_bytes(), 5 * entry_bytes);
  EXPECT_EQ(root->source_state().oldest, Lsn{4});
}

TEST(MemoryDatabase, a_purge_drops_the_log_pinned_or_not_and_keeps_the_data) {
  const auto root = MemoryDatabase::create();
  put_counted(*root, 3);
  root->pin("mirror", Lsn{0});
  root->purge_log();
  EXPECT_EQ(root->log_bytes(), 0u);
  EXPECT_EQ(root->source_state().oldest, Lsn{3});
  EXPECT_EQ(root->source_state().head, Lsn{3});
  EXPECT_EQ(root->size(), 1u);
  put(*root, "k", "after");
  EXPECT_EQ(lsns_of(read_log_to_head(*root, Lsn{3}, 100)), std::vector{Lsn{4}});
}

TEST(MemoryDatabase, what_lies_before_the_log_is_unverified) {
  const auto root = MemoryDatabase::create();
  put_counted(*root, 3);
  const auto entries = read_log_to_head(*root, Lsn{0}, 1000);
  root->purge_log();
  EXPECT_EQ(must(root->prove(entries[1].id, Lsn{2})), PositionProof::unverified);
  EXPECT_EQ(must(root->prove(entries[2].id, Lsn{3})), PositionProof::same);
}

TEST(MemoryDatabase, a_direct_mirrors_log_knows_the_roots_lsn_of_each_entry) {
  const auto root = MemoryDatabase::create(seeded(1));
  put_counted(*root, 5);
  const auto mirror = MemoryDatabase::empty(seeded(2));
  bootstrap(*mirror, *root);
  put_counted(*root, 3);
  follow(*mirror, *root, 100'000);
  auto after = mirror->source_state().oldest;
  for (std::uint64_t at_root = 6; at_root <= 8; ++at_root) {
    const auto slice = must(mirror->read_log(after, 1));
    EXPECT_EQ(slice.origin_lsn, Lsn{at_root});
    EXPECT_EQ(slice.last_lsn, (Lsn{after.value + 1}));
    after = slice.last_lsn;
  }
}

// --- what happens to databases
// -------------------------------------------------------------------------------------------------

TEST(MemoryDatabase, a_crash_takes_what_was_not_synced) {
  const auto root = MemoryDatabase::create(seeded(1, true));
  put(*root, "kept", "1");
  EXPECT_EQ(must(root->sync()), Lsn{1});
  const auto before = root->source_state();
  put(*root, "lost", "1");
  MemoryFaults(*root).crash();
  EXPECT_EQ(root->get("kept"), "1");
  EXPECT_EQ(root->get("lost"), std::nullopt);
  EXPECT_EQ(root->source_state().head, Lsn{1});
  EXPECT_EQ(root->source_state().history, before.history);
  EXPECT_EQ(lsns_of(read_log_to_head(*root, Lsn{0}, 100)), std::vector{Lsn{1}});
}

TEST(MemoryDatabase, a_crash_takes_nothing_when_everything_is_durable_at_once) {
  const auto root = MemoryDatabase::create();
  put(*root, "kept", "1");
  MemoryFaults(*root).crash();
  EXPECT_EQ(root->get("kept"), "1");
  EXPECT_EQ(root->source_state().head, Lsn{1});
}

TEST(MemoryDatabase, a_crash_puts_a_mirror_back_to_where_it_was_durable) {
  const auto root = MemoryDatabase::create(seeded(1));
  const auto mirror = MemoryDatabase::empty(seeded(2, true));
  put(*root, "a", "1");
  bootstrap(*mirror, *root);
  const auto durable = position_of(*mirror);
  put(*root, "a", "2");
  follow(*mirror, *root);
  EXPECT_EQ(mirror->mirror_state().durable, durable.applied_lsn);
  EXPECT_EQ(mirror->get("a"), "2");
  MemoryFaults(*mirror).crash();
  EXPECT_EQ(position_of(*mirror), durable);
  EXPECT_EQ(mirror->get("a"), "1");
}

TEST(MemoryDatabase, a_restored_backup_is_the_database_as_it_was) {
  const auto root = MemoryDatabase::create();
  put(*root, "a", "1");
  const auto then = root->source_state();
  const auto backup = root->backup();
  put(*root, "a", "2");
  put(*root, "b", "2");
  root->restore(backup);
  EXPECT_EQ(root->get("a"), "1");
  EXPECT_EQ(root->size(), 1u);
  EXPECT_EQ(root->source_state().head, then.head);
  EXPECT_EQ(root->source_state().history, then.history);
  EXPECT_EQ(put(*root, "a", "3"), Lsn{2});
  root->restore(backup);
  EXPECT_EQ(root->get("a"), "1");
  MemoryFaults(*root).crash();
  EXPECT_EQ(root->get("a"), "1");
}

TEST(MemoryDatabase, a_snapshot_of_what_was_rolled_back_is_not_handed_out_again) {
  const auto root = MemoryDatabase::create();
  const auto backup = root->backup();
  put(*root, "a", "lost");
  const auto lost = open_kv(*root)->facts().id;
  root->restore(backup);
  put(*root, "a", "other");
  const auto reader = open_kv(*root, lost);
  EXPECT_NE(reader->facts().id, lost);
  EXPECT_EQ(contents_of_kv(read_snapshot(*reader, 100)), (Contents{{"a", "other"}}));
}

TEST(MemoryDatabase, a_restamp_and_an_unclean_stop_begin_incarnations_after_the_head) {
  const auto root = MemoryDatabase::create();
  put(*root, "a", "1");
  const auto origin = root->source_state().origin;
  root->restamp();
  put(*root, "a", "2");
  put(*root, "a", "3");
  root->unclean_stop();
  const auto state = root->source_state();
  const auto records = state.history.records();
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].incarnation, origin);
  EXPECT_EQ(records[1].cause, HistoryCause::restamp);
  EXPECT_EQ(records[1].first_lsn, Lsn{2});
  EXPECT_EQ(records[2].cause, HistoryCause::unclean_stop);
  EXPECT_EQ(records[2].first_lsn, Lsn{4});
  EXPECT_NE(records[1].incarnation, records[2].incarnation);
  EXPECT_EQ(state.origin, origin);
  EXPECT_EQ(root->get("a"), "3");
}

TEST(MemoryDatabase, a_new_incarnation_is_durable_at_once) {
  const auto root = MemoryDatabase::create(seeded(1, true));
  root->restamp();
  root->unclean_stop();
  const auto history = root->source_state().history;
  MemoryFaults(*root).crash();
  EXPECT_EQ(root->source_state().history, history);
}

TEST(MemoryDatabase, a_snapshot_after_a_restamp_is_of_the_new_incarnation) {
  const auto root = MemoryDatabase::create();
  put(*root, "a", "1");
  const auto before = open_kv(*root)->facts();
  root->restamp();
  const auto after = open_kv(*root)->facts();
  EXPECT_NE(after.id, before.id);
  EXPECT_EQ(after.incarnation, root->source_state().history.newest().incarnation);
  EXPECT_EQ(after.origin, before.origin);
}

TEST(MemoryDatabase, a_recreated_database_is_empty_and_of_another_origin) {
  const auto root = MemoryDatabase::create(seeded(1, true));
  put(*root, "a", "1");
  must(root->sync());
  const auto before = root->source_state();
  root->recreate();
  MemoryFaults(*root).crash();
  const auto after = root->source_state();
  EXPECT_NE(after.origin, before.origin);
  EXPECT_EQ(after.history.records().size(), 1u);
  EXPECT_EQ(after.history.newest().cause, HistoryCause::created);
  EXPECT_EQ(after.head, Lsn{0});
  EXPECT_EQ(root->size(), 0u);
  EXPECT_EQ(root->log_bytes(), 0u);
  EXPECT_EQ(put(*root, "a", "2"), Lsn{1});
}

TEST(MemoryDatabase, failures_by_order_hit_the_next_writes_and_no_reads) {
  const auto root = MemoryDatabase::create();
  put(*root, "a", "1");
  MemoryFaults(*root).fail_next(2);
  EXPECT_TRUE(root->read_log(Lsn{0}, 100));
  EXPECT_TRUE(root->view());
  EXPECT_EQ(open_kv(*root)->facts().snapshot_lsn, Lsn{1});
  EXPECT_EQ(refusal(root->commit(std::array{Operation::put("a", "2")})), "Storage");
  EXPECT_EQ(refusal(root->sync()), "Storage");
  EXPECT_EQ(root->get("a"), "1");
  EXPECT_EQ(put(*root, "a", "3"), Lsn{2});
}

TEST(MemoryDatabase, dropping_a_snapshot_can_fail_and_leaves_it_then) {
  const auto root = MemoryDatabase::create(seeded(1));
  put(*root, "a", "1");
  const auto mirror = MemoryDatabase::empty(seeded(2));
  receive(*mirror, *open_kv(*root), 1000);
  MemoryFaults(*mirror).fail_next(1);
  EXPECT_EQ(refusal(mirror->drop_snapshot()), "Storage");
  EXPECT_TRUE(mirror->mirror_state().partial);
  must(mirror->drop_snapshot());
  EXPECT_FALSE(mirror->mirror_state().partial);
}

TEST(MemoryDatabase, only_a_stored_byte_can_be_damaged_and_twice_makes_it_good_again) {
  const auto root = MemoryDatabase::create(seeded(1));
  put(*root, "a", "1");
  const auto mirror = MemoryDatabase::empty(seeded(2));
  EXPECT_FALSE(MemoryFaults(*mirror).damage_stored_byte(0));
  const auto reader = open_kv(*root);
  receive(*mirror, *reader, 1000);
  const auto size = read_snapshot(*reader, 1000).size();
  EXPECT_FALSE(MemoryFaults(*mirror).damage_stored_byte(size));
  EXPECT_TRUE(MemoryFaults(*mirror).damage_stored_byte(size - 1));
  EXPECT_TRUE(MemoryFaults(*mirror).damage_stored_byte(size - 1));
  EXPECT_FALSE(must(mirror->check_snapshot()).cut_back_to);
  EXPECT_TRUE(MemoryFaults(*mirror).damage_stored_byte(size - 1));
  EXPECT_EQ(must(mirror->check_snapshot()).cut_back_to, 0u);
  EXPECT_EQ(mirror->mirror_state().partial->bytes(), 0u);
}

TEST(MemoryDatabase, a_snapshot_of_what_was_replaced_is_not_handed_out_again) {
  const auto root = MemoryDatabase::create(seeded(1));
  put(*root, "a", "1");
  const auto mirror = MemoryDatabase::empty(seeded(2));
  bootstrap(*mirror, *root);
  const auto replaced = open_kv(*mirror)->facts().id;
  bootstrap(*mirror, *root);
  const auto facts = open_kv(*mirror, replaced)->facts();
  EXPECT_NE(facts.id, replaced);
  EXPECT_EQ(facts.incarnation, mirror->source_state().history.newest().incarnation);
}

TEST(MemoryDatabase, snapshots_kept_for_those_who_come_back_do_not_count_as_open) {
  auto options = MemoryOptions{};
  options.snapshots_max = 1;
  const auto root = MemoryDatabase::create(options);
  put(*root, "a", "1");
  auto reader = open_kv(*root);
  const auto facts = reader->facts();
  EXPECT_EQ(open_kv(*root).get(), reader.get());
  reader.reset();
  put(*root, "a", "2");
  EXPECT_EQ(open_kv(*root, facts.id)->facts(), facts);
  EXPECT_EQ(open_kv(*root)->facts().snapshot_lsn, Lsn{2});
}

}  // namespace
}  // namespace crosslink::test
