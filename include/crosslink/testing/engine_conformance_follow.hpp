// The part of the conformance suite about following, chains, promotion and what survives; engine_conformance.hpp
// includes it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "crosslink/testing/engine_steps.hpp"

namespace crosslink::test {

// --- applying
// -------------------------------------------------------------------------------------------------

TEST_P(EngineConformance, entries_and_position_arrive_together) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  Contents expected;
  for (const auto& operations : workload()) {
    must(root->commit(operations));
    for (const auto& operation : operations)
      play(expected, operation);
    const auto position = apply_slice(mirror->mirror(), root->source(), 1);
    EXPECT_EQ(position_of(mirror->mirror()), position);
    EXPECT_EQ(position.applied_lsn, root->source().source_state().head);
    EXPECT_EQ(mirror->source().source_state().origin_lsn, position.origin_lsn);
    EXPECT_EQ(mirror->read_all(), expected);
  }
}

TEST_P(EngineConformance, groups_of_any_size_come_to_the_same) {
  const auto root = empty_root();
  for (const auto bytes_max : {1uz, 100uz, 1'000'000uz}) {
    const auto mirror = mirror_of(*root);
    write(*root, workload());
    follow(*mirror, *root, bytes_max);
    EXPECT_EQ(mirror->read_all(), root->read_all()) << bytes_max;
  }
}

TEST_P(EngineConformance, a_group_may_hold_several_stretches_of_several_entries) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  write(*root, workload());
  const auto first = must(root->source().read_log(Lsn{0}, 200));
  const auto second = must(root->source().read_log(first.last_lsn, 1'000'000));
  ASSERT_GT(first.count, 1u);
  ASSERT_GT(second.count, 1u);
  const auto position = position_after(second, root->source(), position_of(mirror->mirror()));
  must(mirror->mirror().apply({{*first.entries, *second.entries}, position}));
  EXPECT_EQ(mirror->read_all(), expected_of(workload()));
  EXPECT_EQ(position_of(mirror->mirror()), position);
}

TEST_P(EngineConformance, a_group_without_entries_moves_only_the_position) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  auto position = position_of(mirror->mirror());
  position.applied_lsn.value += 7;
  position.origin_lsn.value += 7;
  const auto before = mirror->read_all();
  const auto own_head = mirror->source().source_state().head;
  must(mirror->mirror().apply({{}, position}));
  EXPECT_EQ(position_of(mirror->mirror()), position);
  EXPECT_EQ(mirror->source().source_state().origin_lsn, position.origin_lsn);
  EXPECT_EQ(mirror->read_all(), before);
  EXPECT_TRUE(read_log_to_head(mirror->source(), own_head, 1000).empty());
}

TEST_P(EngineConformance, a_failed_apply_changes_nothing_and_can_be_done_again) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  write(*root, workload());
  const auto before = standing_of(*mirror);
  const auto slice = must(root->source().read_log(Lsn{0}, 1'000'000));
  const ApplyGroup group{{*slice.entries}, position_after(slice, root->source(), *before.position)};
  if (!mirror->fail_next(2)) GTEST_SKIP() << "this engine cannot fail by order";
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_EQ(refusal(mirror->mirror().apply(group)), "Storage");
    EXPECT_EQ(standing_of(*mirror), before);
  }
  must(mirror->mirror().apply(group));
  EXPECT_EQ(mirror->read_all(), expected_of(workload()));
}

TEST_P(EngineConformance, ranges_are_deleted_within_their_bounds) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  const Commits commits{
      {Operation::put("a", "1"), Operation::put("b", "1"), Operation::put("b\x01", "1"), Operation::put("c", "1")},
      {Operation::put("d", "1"), Operation::put("e", "1")},
      {Operation::erase_range("b", "c")},
      {Operation::erase_range("d", std::nullopt), Operation::put("f", "1")},
      {Operation::erase_range("x", "y")},
  };
  write(*root, commits);
  follow(*mirror, *root);
  EXPECT_EQ(mirror->read_all(), (Contents{{"a", "1"}, {"c", "1"}, {"f", "1"}}));
  EXPECT_EQ(root->read_all(), mirror->read_all());
}

TEST_P(EngineConformance, a_step_back_moves_the_applied_lsn_and_nothing_else) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  const auto stood = position_of(mirror->mirror());
  auto ahead = stood;
  ahead.applied_lsn.value += 9;
  ahead.origin_lsn.value += 9;
  must(mirror->mirror().apply({{}, ahead}));
  const auto before = mirror->read_all();
  if (mirror->fail_next(1)) {
    EXPECT_EQ(refusal(mirror->mirror().step_back(stood.applied_lsn)), "Storage");
    EXPECT_EQ(position_of(mirror->mirror()), ahead);
  }
  for (const auto from : {Lsn{stood.applied_lsn.value + 4}, stood.applied_lsn}) {
    must(mirror->mirror().step_back(from));
    const auto state = mirror->mirror().mirror_state();
    EXPECT_EQ(state.position->applied_lsn, from);
    EXPECT_EQ(state.position->last_entry, stood.last_entry);
    EXPECT_EQ(state.position->incarnation, stood.incarnation);
    EXPECT_LE(state.durable, from);
    EXPECT_EQ(mirror->read_all(), before);
  }
  must(root->commit(workload().front()));
  follow(*mirror, *root);
  EXPECT_EQ(mirror->read_all(), root->read_all());
}

TEST_P(EngineConformance, after_a_sync_everything_applied_is_durable) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  write(*root, workload());
  follow(*mirror, *root);
  const auto applied = position_of(mirror->mirror()).applied_lsn;
  EXPECT_LE(mirror->mirror().mirror_state().durable, applied);
  if (mirror->fail_next_on_disk()) {
    EXPECT_EQ(refusal(mirror->mirror().sync()), "Storage");
  }
  EXPECT_EQ(must(mirror->mirror().sync()), applied);
  EXPECT_EQ(mirror->mirror().mirror_state().durable, applied);
}

// --- a mirror as a source
// -------------------------------------------------------------------------------------------------

TEST_P(EngineConformance, a_mirrors_own_log_replays_to_its_contents) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  const auto base = mirror->read_all();
  const auto start = mirror->source().source_state();
  std::vector<Lsn> told;
  mirror->source().watch_log([&](const CommittedLog& log) { told.push_back(log.last_lsn); });
  write(*root, workload());
  must(root->commit(std::array{Operation::put("last", "1")}));
  follow(*mirror, *root);
  mirror->source().watch_log({});
  const auto state = mirror->source().source_state();
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back(), state.head);
  EXPECT_EQ(state.history, start.history);
  EXPECT_EQ(state.origin_lsn, root->source().source_state().head);
  const auto entries = read_log_to_head(mirror->source(), start.head, 300);
  ASSERT_FALSE(entries.empty());
  EXPECT_EQ(replay(base, entries), root->read_all());
  for (const auto& entry : entries) {
    EXPECT_EQ(must(mirror->source().prove(entry.id, entry.id.lsn)), PositionProof::same);
    EXPECT_EQ(must(mirror->source().prove(with_other_hash(entry.id), entry.id.lsn)), PositionProof::diverged);
  }
}

TEST_P(EngineConformance, a_mirrors_log_before_its_bootstrap_is_refused) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  must(root->commit(workload().front()));
  bootstrap(*mirror, *root);
  const auto state = mirror->source().source_state();
  EXPECT_EQ(must(mirror->source().read_log(state.head, 100)).count, 0u);
  ASSERT_GT(state.oldest, Lsn{0});
  EXPECT_EQ(refusal(mirror->source().read_log(Lsn{state.oldest.value - 1}, 100)), "LogWindowExceeded");
}

TEST_P(EngineConformance, a_mirror_of_a_mirror_holds_the_same_and_knows_the_root) {
  const auto root = written_root();
  const auto middle = mirror_of(*root);
  const auto last = mirror_of(*middle);
  EXPECT_EQ(last->read_all(), root->read_all());
  EXPECT_EQ(position_of(last->mirror()).origin_lsn, root->source().source_state().head);
  for (const auto& operations : workload()) {
    must(root->commit(operations));
    follow(*middle, *root);
    follow(*last, *middle);
    const auto position = position_of(last->mirror());
    EXPECT_EQ(position.origin, root->source().source_state().origin);
    EXPECT_EQ(position.incarnation, middle->source().source_state().history.newest().incarnation);
    EXPECT_EQ(position.applied_lsn, middle->source().source_state().head);
    EXPECT_EQ(position.origin_lsn, root->source().source_state().head);
    EXPECT_EQ(last->source().source_state().origin_lsn, root->source().source_state().head);
  }
  EXPECT_EQ(last->read_all(), root->read_all());
  EXPECT_EQ(last->source().source_state().origin, root->source().source_state().origin);
}

TEST_P(EngineConformance, a_root_that_moved_on_without_entries_is_known_to_a_mirrors_readers) {
  const auto root = written_root();
  const auto middle = mirror_of(*root);
  auto moved = position_of(middle->mirror());
  moved.applied_lsn.value += 3;
  moved.origin_lsn.value += 3;
  must(middle->mirror().apply({{}, moved}));
  const auto state = middle->source().source_state();
  EXPECT_EQ(state.origin_lsn, moved.origin_lsn);
  EXPECT_EQ(must(middle->source().read_log(state.oldest, 100)).origin_lsn, moved.origin_lsn);
  EXPECT_EQ(open_kv(middle->source())->facts().origin_lsn, moved.origin_lsn);
}

TEST_P(EngineConformance, an_earlier_snapshot_does_not_hide_that_the_root_moved_on_without_entries) {
  const auto root = written_root();
  const auto middle = mirror_of(*root);
  const auto earlier = open_kv(middle->source())->facts();
  auto moved = position_of(middle->mirror());
  moved.applied_lsn.value += 3;
  moved.origin_lsn.value += 3;
  must(middle->mirror().apply({{}, moved}));
  EXPECT_EQ(open_kv(middle->source(), earlier.id)->facts(), earlier);
  EXPECT_EQ(open_kv(middle->source())->facts().origin_lsn, moved.origin_lsn);
}

// --- promotion
// -------------------------------------------------------------------------------------------------

TEST_P(EngineConformance, a_mirror_takes_no_writes_until_it_is_promoted) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  if (!mirror->mirror().traits().enforces_read_only) GTEST_SKIP() << "this engine cannot keep others from writing";
  const auto before = standing_of(*mirror);
  EXPECT_NE(refusal(mirror->commit(workload().front())), "done");
  EXPECT_EQ(standing_of(*mirror), before);
  must(mirror->mirror().promote("cluster", "database"));
  const auto lsn = must(mirror->commit(std::array{Operation::put("own", "1")}));
  EXPECT_GT(lsn, before.head);
  EXPECT_EQ(mirror->read_all().at("own"), "1");
}

TEST_P(EngineConformance, a_promotion_is_recorded_and_the_second_gives_the_first_result) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  write(*root, workload());
  follow(*mirror, *root);
  const auto position = position_of(mirror->mirror());
  if (mirror->fail_next(1)) {
    EXPECT_EQ(refusal(mirror->mirror().promote("cluster", "database")), "Storage");
    EXPECT_EQ(mirror->mirror().mirror_state().role, DatabaseRole::mirror);
  }
  const PromotedFrom expected{"cluster", "database", position};
  EXPECT_EQ(must(mirror->mirror().promote("cluster", "database")), expected);
  EXPECT_EQ(mirror->source().source_state().origin_lsn, mirror->source().source_state().head);
  must(mirror->commit(workload().front()));
  EXPECT_EQ(must(mirror->mirror().promote("other", "names")), expected);
  const auto state = mirror->mirror().mirror_state();
  EXPECT_EQ(state.role, DatabaseRole::promoted);
  EXPECT_EQ(state.promoted_from, expected);
  EXPECT_EQ(state.durable, position.applied_lsn);
  const auto source = mirror->source().source_state();
  EXPECT_EQ(source.role, DatabaseRole::promoted);
  EXPECT_EQ(source.promoted_from, expected);
  EXPECT_EQ(source.origin_lsn, source.head);
  EXPECT_EQ(source.origin, position.origin);
}

TEST_P(EngineConformance, a_promoted_database_follows_no_source) {
  const auto root = written_root();
  const auto mirror = mirror_of(*root);
  const auto reader = open_kv(root->source());
  receive(mirror->mirror(), *reader, 1000);
  must(mirror->mirror().promote("cluster", "database"));
  EXPECT_EQ(mirror->read_all(), root->read_all());
  must(root->commit(std::array{Operation::put("late", "1")}));
  const auto before = standing_of(*mirror);
  auto& engine = mirror->mirror();
  const auto slice = must(root->source().read_log(before.position->applied_lsn, 1000));
  EXPECT_EQ(refusal(engine.apply({{*slice.entries}, position_after(slice, root->source(), *before.position)})),
            "MirrorPromoted");
  EXPECT_EQ(refusal(engine.step_back(Lsn{1})), "MirrorPromoted");
  EXPECT_EQ(refusal(engine.begin_snapshot(reader->facts())), "MirrorPromoted");
  EXPECT_EQ(refusal(engine.switch_snapshot()), "MirrorPromoted");
  EXPECT_EQ(standing_of(*mirror), before);
}

TEST_P(EngineConformance, a_mirror_goes_on_behind_a_source_that_is_promoted) {
  const auto root = written_root();
  const auto middle = mirror_of(*root);
  const auto last = mirror_of(*middle);
  must(root->commit(std::array{Operation::put("before", "1")}));
  follow(*middle, *root);
  must(middle->mirror().promote("cluster", "database"));
  must(middle->commit(std::array{Operation::put("after", "1")}));
  const auto position = position_of(last->mirror());
  EXPECT_EQ(must(middle->source().prove(position.last_entry, position.applied_lsn)), PositionProof::same);
  follow(*last, *middle);
  EXPECT_EQ(last->read_all(), middle->read_all());
  EXPECT_EQ(last->read_all().at("after"), "1");
}

// --- what survives
// -------------------------------------------------------------------------------------------------

TEST_P(EngineConformance, what_was_synced_survives_a_stop) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  write(*root, workload());
  follow(*mirror, *root);
  must(mirror->mirror().sync());
  must(root->make_durable());
  const auto before = standing_of(*mirror);
  const auto root_contents = root->read_all();
  const auto root_head = root->source().source_state().head;
  if (!mirror->reopen()) GTEST_SKIP() << "this engine keeps nothing";
  // An opening may begin an incarnation of its own, whose record may take LSNs.
  auto after = standing_of(*mirror);
  EXPECT_TRUE(after.history.empty() || after.history.contains(before.history.newest().incarnation));
  EXPECT_GE(after.head, before.head);
  after.history = before.history;
  after.head = before.head;
  EXPECT_EQ(after, before);
  EXPECT_EQ(mirror->mirror().mirror_state().durable, before.position->applied_lsn);
  ASSERT_TRUE(root->reopen());
  EXPECT_EQ(root->read_all(), root_contents);
  EXPECT_GE(root->source().source_state().head, root_head);
  must(root->commit(std::array{Operation::put("next", "1")}));
  follow(*mirror, *root);
  EXPECT_EQ(mirror->read_all(), root->read_all());
}

TEST_P(EngineConformance, a_stop_between_syncs_leaves_contents_and_position_of_one_moment) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  std::map<Lsn, Contents> at{{Lsn{0}, {}}};
  Lsn durable;
  for (const auto& operations : workload()) {
    const auto lsn = must(root->commit(operations));
    at[lsn] = root->read_all();
    follow(*mirror, *root);
    if (at.size() == 4) durable = must(mirror->mirror().sync());
  }
  if (!mirror->reopen()) GTEST_SKIP() << "this engine keeps nothing";
  const auto position = position_of(mirror->mirror());
  EXPECT_GE(position.applied_lsn, durable);
  ASSERT_TRUE(at.contains(position.applied_lsn));
  EXPECT_EQ(mirror->read_all(), at[position.applied_lsn]);
  follow(*mirror, *root);
  EXPECT_EQ(mirror->read_all(), root->read_all());
}

TEST_P(EngineConformance, stored_chunks_survive_a_stop) {
  const auto root = written_root();
  const auto reader = open_kv(root->source());
  const auto mirror = empty_mirror();
  must(mirror->mirror().begin_snapshot(reader->facts()));
  const auto bytes = must(reader->read(0, 1000)).bytes;
  const StoredChunk chunk{0, static_cast<std::uint32_t>(bytes->size()), crc32c(*bytes)};
  must(mirror->mirror().store_chunk(chunk, *bytes));
  if (!mirror->reopen()) GTEST_SKIP() << "this engine keeps nothing";
  const auto partial = mirror->mirror().mirror_state().partial;
  ASSERT_TRUE(partial);
  EXPECT_EQ(partial->facts, reader->facts());
  EXPECT_EQ(partial->chunks, std::vector{chunk});
  store_rest(mirror->mirror(), *reader, 1000);
  EXPECT_FALSE(must(mirror->mirror().check_snapshot()).cut_back_to);
  must(mirror->mirror().switch_snapshot());
  const auto before = standing_of(*mirror);
  mirror->reopen();
  EXPECT_EQ(standing_of(*mirror), before);
  EXPECT_EQ(mirror->read_all(), root->read_all());
}

TEST_P(EngineConformance, a_promotion_survives_a_stop) {
  const auto root = empty_root();
  const auto mirror = mirror_of(*root);
  write(*root, workload());
  follow(*mirror, *root);
  const auto promoted = must(mirror->mirror().promote("cluster", "database"));
  if (!mirror->reopen()) GTEST_SKIP() << "this engine keeps nothing";
  EXPECT_EQ(mirror->mirror().mirror_state().role, DatabaseRole::promoted);
  EXPECT_EQ(mirror->mirror().mirror_state().promoted_from, promoted);
  EXPECT_EQ(must(mirror->mirror().promote("other", "names")), promoted);
  EXPECT_EQ(mirror->read_all(), root->read_all());
}

}  // namespace crosslink::test
