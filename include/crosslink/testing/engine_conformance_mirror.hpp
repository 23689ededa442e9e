// The part of the conformance suite about databases as mirrors; engine_conformance.hpp includes it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "crosslink/testing/engine_steps.hpp"

namespace crosslink::test {

// --- receiving a snapshot
// -------------------------------------------------------------------------------------------------

TEST_P(EngineConformance, an_empty_mirror_has_no_data_and_gives_none) {
  const auto mirror = empty_mirror();
  const auto state = mirror->mirror().mirror_state();
  EXPECT_EQ(state.role, DatabaseRole::mirror);
  EXPECT_FALSE(state.position);
  EXPECT_EQ(state.durable, Lsn{0});
  EXPECT_FALSE(state.partial);
  EXPECT_FALSE(state.promoted_from);
  EXPECT_TRUE(mirror->source().source_state().history.empty());
  EXPECT_EQ(mirror->read_all(), Contents{});
  const std::array<std::string, 1> formats{std::string(kv_format)};
  EXPECT_EQ(refusal(mirror->source().open_snapshot(formats, std::nullopt)), "Busy");
  EXPECT_EQ(refusal(mirror->mirror().promote("cluster", "database")), "Configuration");
  EXPECT_EQ(mirror->mirror().mirror_state().role, DatabaseRole::mirror);
}

TEST_P(EngineConformance, an_engine_reads_kv_snapshots_and_has_a_name) {
  const auto traits = empty_mirror()->mirror().traits();
  EXPECT_FALSE(traits.name.empty());
  EXPECT_EQ(std::count(traits.formats.begin(), traits.formats.end(), kv_format), 1);
}

TEST_P(EngineConformance, what_is_received_shows_in_chunks_without_gaps) {
  const auto root = written_root();
  const auto reader = open_kv(root->source());
  const auto mirror = empty_mirror();
  receive(mirror->mirror(), *reader, 700);
  const auto partial = mirror->mirror().mirror_state().partial;
  ASSERT_TRUE(partial);
  EXPECT_EQ(partial->facts, reader->facts());
  const auto whole = read_snapshot(*reader, 1'000'000);
  std::uint64_t offset = 0;
  for (const auto& chunk : partial->chunks) {
    EXPECT_EQ(chunk.offset, offset);
    EXPECT_EQ(chunk.crc32c, crc32c(std::span(whole).subspan(static_cast<std::size_t>(offset), chunk.bytes)));
    offset += chunk.bytes;
  }
  EXPECT_EQ(offset, whole.size());
  const auto check = must(mirror->mirror().check_snapshot());
  EXPECT_FALSE(check.cut_back_to);
  EXPECT_EQ(check.total_crc32c, crc32c(whole));
  EXPECT_FALSE(mirror->mirror().mirror_state().position);
}

TEST_P(EngineConformance, any_chunk_size_gives_the_same_contents) {
  const auto root = written_root();
  const auto reader = open_kv(root->source());
  for (const auto chunk_bytes : {1uz, 33uz, 1024uz, 1'000'000uz}) {
    const auto mirror = empty_mirror();
    receive(mirror->mirror(), *reader, chunk_bytes);
    must(mirror->mirror().switch_snapshot());
    EXPECT_EQ(mirror->read_all(), root->read_all()) << chunk_bytes;
  }
}

TEST_P(EngineConformance, after_the_switch_the_mirror_stands_where_the_snapshot_says) {
  const auto root = written_root();
  const auto facts = open_kv(root->source())->facts();
  const auto mirror = mirror_of(*root);
  const auto state = mirror->mirror().mirror_state();
  EXPECT_EQ(state.position,
            (Position{facts.origin, facts.incarnation, facts.last_entry, facts.snapshot_lsn, facts.origin_lsn}));
  EXPECT_EQ(state.durable, facts.snapshot_lsn);
  EXPECT_EQ(state.role, DatabaseRole::mirror);
  EXPECT_FALSE(state.partial);
  EXPECT_EQ(mirror->read_all(), root->read_all());
  EXPECT_EQ(must(root->source().prove(state.position->last_entry, state.position->applied_lsn)), PositionProof::same);
}

TEST_P(EngineConformance, a_switch_begins_a_new_history_of_the_same_origin) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  const auto first = mirror->source().source_state();
  ASSERT_EQ(first.history.records().size(), 1u);
  EXPECT_EQ(first.history.newest().cause, HistoryCause::bootstrap);
  EXPECT_FALSE(root->source().source_state().history.contains(first.history.newest().incarnation));
  EXPECT_EQ(first.origin, root->source().source_state().origin);
  EXPECT_EQ(first.origin_lsn, root->source().source_state().head);
  EXPECT_EQ(first.role, DatabaseRole::mirror);

  must(root->commit(workload().front()));
  bootstrap(*mirror, *root);
  const auto second = mirror->source().source_state();
  ASSERT_EQ(second.history.records().size(), 1u);
  EXPECT_EQ(second.history.newest().cause, HistoryCause::bootstrap);
  EXPECT_NE(second.history.newest().incarnation, first.history.newest().incarnation);
  EXPECT_EQ(second.origin, first.origin);
}

TEST_P(EngineConformance, a_snapshot_of_nothing_makes_a_mirror_that_can_follow) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  EXPECT_EQ(position_of(mirror->mirror()).applied_lsn, root->source().source_state().head);
  EXPECT_EQ(position_of(mirror->mirror()).last_entry, EntryId{});
  write(*root, workload());
  follow(*mirror, *root);
  EXPECT_EQ(mirror->read_all(), expected_of(workload()));
}

TEST_P(EngineConformance, the_old_data_is_readable_until_the_switch) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  if (!mirror->mirror().traits().atomic_switch) GTEST_SKIP() << "this engine does not switch atomically";
  const auto old = mirror->read_all();
  const auto old_position = position_of(mirror->mirror());
  const std::array change{Operation::erase_range("", std::nullopt), Operation::put("new", "1")};
  must(root->commit(change));
  receive(mirror->mirror(), *open_kv(root->source()), 100);
  must(mirror->mirror().check_snapshot());
  EXPECT_EQ(mirror->read_all(), old);
  EXPECT_EQ(position_of(mirror->mirror()), old_position);
  must(mirror->mirror().switch_snapshot());
  EXPECT_EQ(mirror->read_all(), (Contents{{"new", "1"}}));
}

TEST_P(EngineConformance, a_damaged_byte_cuts_back_to_its_chunk_and_the_rest_can_come_again) {
  const auto root = written_root();
  const auto reader = open_kv(root->source());
  const auto mirror = empty_mirror();
  receive(mirror->mirror(), *reader, 500);
  const auto chunks = mirror->mirror().mirror_state().partial->chunks;
  ASSERT_GT(chunks.size(), 3u);
  if (!mirror->damage_stored_byte(chunks[2].offset + 17)) GTEST_SKIP() << "this engine cannot be damaged by order";
  EXPECT_EQ(must(mirror->mirror().check_snapshot()).cut_back_to, chunks[2].offset);
  const auto partial = mirror->mirror().mirror_state().partial;
  ASSERT_TRUE(partial);
  EXPECT_EQ(partial->chunks, (std::vector{chunks[0], chunks[1]}));
  store_rest(mirror->mirror(), *reader, 500);
  const auto check = must(mirror->mirror().check_snapshot());
  EXPECT_FALSE(check.cut_back_to);
  EXPECT_EQ(check.total_crc32c, crc32c(read_snapshot(*reader, 1'000'000)));
  must(mirror->mirror().switch_snapshot());
  EXPECT_EQ(mirror->read_all(), root->read_all());
}

TEST_P(EngineConformance, a_dropped_snapshot_is_gone_and_the_data_stays) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  const auto before = standing_of(*mirror);
  receive(mirror->mirror(), *open_kv(root->source()), 500);
  must(mirror->mirror().drop_snapshot());
  EXPECT_FALSE(mirror->mirror().mirror_state().partial);
  EXPECT_EQ(standing_of(*mirror), before);
}

TEST_P(EngineConformance, a_second_begin_drops_what_the_first_received) {
  const auto root = written_root();
  const auto mirror = empty_mirror();
  receive(mirror->mirror(), *open_kv(root->source()), 500);
  const std::array change{Operation::put("a", "new"), Operation::erase("large")};
  must(root->commit(change));
  const auto reader = open_kv(root->source());
  must(mirror->mirror().begin_snapshot(reader->facts()));
  const auto partial = mirror->mirror().mirror_state().partial;
  ASSERT_TRUE(partial);
  EXPECT_EQ(partial->facts, reader->facts());
  EXPECT_EQ(partial->bytes(), 0u);
  store_rest(mirror->mirror(), *reader, 500);
  must(mirror->mirror().switch_snapshot());
  EXPECT_EQ(mirror->read_all(), root->read_all());
}

TEST_P(EngineConformance, a_format_it_cannot_read_is_refused) {
  const auto root = written_root();
  auto facts = open_kv(root->source())->facts();
  facts.format = "no-such-format";
  const auto mirror = empty_mirror();
  EXPECT_EQ(refusal(mirror->mirror().begin_snapshot(facts)), "UnsupportedOperation");
  EXPECT_FALSE(mirror->mirror().mirror_state().partial);
}

TEST_P(EngineConformance, bytes_that_are_no_snapshot_are_not_switched_in) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  const auto old = mirror->read_all();
  const auto position = position_of(mirror->mirror());
  const auto reader = open_kv(root->source());
  auto cut_short = read_snapshot(*reader, 1'000'000);
  cut_short.pop_back();
  must(mirror->mirror().begin_snapshot(reader->facts()));
  must(mirror->mirror().store_chunk({0, static_cast<std::uint32_t>(cut_short.size()), crc32c(cut_short)}, cut_short));
  EXPECT_EQ(refusal(mirror->mirror().switch_snapshot()), "UnsupportedOperation");
  EXPECT_EQ(mirror->read_all(), old);
  EXPECT_EQ(position_of(mirror->mirror()), position);
}

TEST_P(EngineConformance, a_failed_switch_changes_nothing_and_can_be_done_again) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  const std::array change{Operation::put("a", "new")};
  must(root->commit(change));
  receive(mirror->mirror(), *open_kv(root->source()), 500);
  const auto before = standing_of(*mirror);
  if (!mirror->fail_next(1)) GTEST_SKIP() << "this engine cannot fail by order";
  EXPECT_EQ(refusal(mirror->mirror().switch_snapshot()), "Storage");
  EXPECT_EQ(standing_of(*mirror), before);
  must(mirror->mirror().switch_snapshot());
  EXPECT_EQ(mirror->read_all(), root->read_all());
}

TEST_P(EngineConformance, a_chunk_that_could_not_be_stored_can_come_again) {
  const auto root = written_root();
  const auto reader = open_kv(root->source());
  const auto mirror = empty_mirror();
  if (!mirror->fail_next_on_disk()) GTEST_SKIP() << "this engine cannot fail by order there";
  EXPECT_EQ(refusal(mirror->mirror().begin_snapshot(reader->facts())), "Storage");
  EXPECT_FALSE(mirror->mirror().mirror_state().partial);
  must(mirror->mirror().begin_snapshot(reader->facts()));
  const auto bytes = must(reader->read(0, 100)).bytes;
  const StoredChunk chunk{0, static_cast<std::uint32_t>(bytes->size()), crc32c(*bytes)};
  mirror->fail_next_on_disk();
  EXPECT_EQ(refusal(mirror->mirror().store_chunk(chunk, *bytes)), "Storage");
  EXPECT_EQ(mirror->mirror().mirror_state().partial->bytes(), 0u);
  store_rest(mirror->mirror(), *reader, 100);
  must(mirror->mirror().switch_snapshot());
  EXPECT_EQ(mirror->read_all(), root->read_all());
}

}  // namespace crosslink::test
