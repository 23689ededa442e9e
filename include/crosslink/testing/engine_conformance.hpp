// The conformance suite: what every storage engine must do, whatever it is made of. It is GoogleTest's, some sixty cases,
// each of which names one claim.
//
// An engine is named in it by an EngineUnderTest (engine_steps.hpp) and an INSTANTIATE_TEST_SUITE_P of EngineConformance,
// in one file of the test program, in the namespace crosslink::test; only that file may include this header. CMake:
// find_package(crosslink COMPONENTS testing), link crosslink::testing and GTest::gtest_main. The whole way, with an
// example that is compiled: docs/engines.md.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crosslink/testing/engine_conformance_follow.hpp"
#include "crosslink/testing/engine_conformance_mirror.hpp"
#include "crosslink/testing/engine_steps.hpp"

namespace crosslink::test {

// --- the database as a source: state and log
// -------------------------------------------------------------------------------------------------

TEST_P(EngineConformance, an_empty_root_has_one_incarnation_and_nothing_in_it) {
  const auto root = empty_root();
  const auto state = root->source().source_state();
  EXPECT_EQ(state.role, DatabaseRole::root);
  ASSERT_EQ(state.history.records().size(), 1u);
  EXPECT_EQ(state.history.newest().cause, HistoryCause::created);
  EXPECT_EQ(state.history.newest().incarnation, state.origin);
  EXPECT_NE(state.origin, Incarnation{});
  EXPECT_EQ(state.oldest, Lsn{0});
  EXPECT_EQ(state.origin_lsn, state.head);  // above 0 where the engine logs records of its own
  EXPECT_FALSE(state.promoted_from);
  EXPECT_EQ(root->read_all(), Contents{});
  const auto slice = must(root->source().read_log(Lsn{0}, 1000));
  EXPECT_EQ(slice.last_lsn, state.head);
  EXPECT_EQ(slice.count, 0u);
  ASSERT_NE(slice.entries, nullptr);
  EXPECT_TRUE(slice.entries->empty());
  EXPECT_EQ(must(root->source().prove(EntryId{}, Lsn{0})), PositionProof::same);
}

TEST_P(EngineConformance, two_roots_are_never_of_one_origin) {
  EXPECT_NE(empty_root()->source().source_state().origin, empty_root()->source().source_state().origin);
}

TEST_P(EngineConformance, each_commit_moves_the_head_to_its_own_higher_lsn) {
  const auto root = empty_root();
  Lsn before;
  for (const auto& operations : workload()) {
    const auto lsn = must(root->commit(operations));
    EXPECT_GT(lsn, before);
    EXPECT_EQ(root->source().source_state().head, lsn);
    EXPECT_EQ(root->source().source_state().origin_lsn, lsn);
    const auto entries = read_log_to_head(root->source(), before, 1'000'000);
    ASSERT_EQ(entries.size(), 1u);
    EXPECT_EQ(entries[0].id.lsn, lsn);
    before = lsn;
  }
  EXPECT_EQ(root->read_all(), expected_of(workload()));
}

TEST_P(EngineConformance, what_a_watcher_is_handed_is_what_the_log_says) {
  const auto root = empty_root();
  const auto before = root->source().head();
  auto end = before;
  bool all = true;  // nothing was left to be read
  std::vector<std::byte> handed;
  std::uint64_t count = 0;
  root->source().watch_log([&](const CommittedLog& log) {
    all = all && log.prev_lsn == end && log.origin_lsn == log.last_lsn;
    handed.insert(handed.end(), log.entries.begin(), log.entries.end());
    count += log.count;
    end = log.last_lsn;
  });
  write(*root, workload());
  root->source().watch_log({});
  const auto logged = must(root->source().read_log(before, 1'000'000));
  EXPECT_EQ(logged.last_lsn, end);
  if (!all) {
    EXPECT_EQ(count, 0u) << "an engine hands over each entry, or none";
    return;
  }
  EXPECT_EQ(handed, *logged.entries);
  EXPECT_EQ(count, logged.count);
}

TEST_P(EngineConformance, role_and_head_are_those_of_the_state) {
  const auto root = empty_root();
  for (const auto& operations : workload()) {
    must(root->commit(operations));
    EXPECT_EQ(root->source().head(), root->source().source_state().head);
  }
  EXPECT_EQ(root->source().role(), DatabaseRole::root);
  const auto mirror = mirror_of(*root);
  EXPECT_EQ(mirror->source().role(), DatabaseRole::mirror);
  EXPECT_EQ(mirror->source().head(), mirror->source().source_state().head);
}

TEST_P(EngineConformance, a_watcher_is_told_of_each_commit_until_it_is_taken_away) {
  const auto root = empty_root();
  std::vector<Lsn> told;
  root->source().watch_log([&](const CommittedLog& log) { told.push_back(log.last_lsn); });
  const auto committed = write(*root, workload());
  EXPECT_EQ(told, committed);
  root->source().watch_log({});
  must(root->commit(workload().front()));
  EXPECT_EQ(told, committed);
}

TEST_P(EngineConformance, the_log_can_be_read_from_every_lsn_to_the_head) {
  const auto root = empty_root();
  const auto committed = write(*root, workload());
  for (std::uint64_t after = 0; after <= committed.back().value; ++after) {
    std::vector<Lsn> expected;
    for (const auto lsn : committed) {
      if (lsn.value > after) expected.push_back(lsn);
    }
    EXPECT_EQ(lsns_of(read_log_to_head(root->source(), Lsn{after}, 1'000'000)), expected) << "after " << after;
  }
}

TEST_P(EngineConformance, every_byte_limit_gives_the_same_entries) {
  const auto root = written_root();
  const auto whole = read_log_to_head(root->source(), Lsn{0}, 1'000'000);
  ASSERT_EQ(whole.size(), workload().size());
  for (const auto bytes_max : {1uz, 20uz, 64uz, 100uz, 700uz, 7000uz})
    EXPECT_EQ(read_log_to_head(root->source(), Lsn{0}, bytes_max), whole) << bytes_max;
}

TEST_P(EngineConformance, the_log_is_read_by_at_least_one_entry_and_about_the_limit) {
  const auto root = written_root();
  const auto whole = read_log_to_head(root->source(), Lsn{0}, 1'000'000);
  Lsn after;
  for (const auto& entry : whole) {
    const auto one = must(root->source().read_log(after, 1));
    EXPECT_EQ(one.count, 1u);
    EXPECT_EQ(*one.entries, entry.encoding);
    // "About": the last entry may pass the limit, none may begin after it.
    const auto limit = entry.encoding.size() + 1;
    const auto entries = read_entries(must(root->source().read_log(after, limit)));
    ASSERT_GE(entries.size(), 1u);
    EXPECT_LE(entries.size(), 2u);
    after = entry.id.lsn;
  }
}

TEST_P(EngineConformance, at_the_head_the_log_answers_with_no_entries) {
  const auto root = written_root();
  const auto head = root->source().source_state().head;
  for (const auto bytes_max : {1uz, 1000uz}) {
    const auto slice = must(root->source().read_log(head, bytes_max));
    EXPECT_EQ(slice.prev_lsn, head);
    EXPECT_EQ(slice.last_lsn, head);
    EXPECT_EQ(slice.count, 0u);
    EXPECT_EQ(slice.origin_lsn, head);
    ASSERT_NE(slice.entries, nullptr);
    EXPECT_TRUE(slice.entries->empty());
  }
}

TEST_P(EngineConformance, a_roots_log_stands_for_itself) {
  const auto root = written_root();
  Lsn after;
  while (after < root->source().source_state().head) {
    const auto slice = must(root->source().read_log(after, 1));
    EXPECT_EQ(slice.origin_lsn, slice.last_lsn);
    ASSERT_GT(slice.last_lsn, after);
    after = slice.last_lsn;
  }
}

TEST_P(EngineConformance, entries_replay_to_the_same_contents) {
  const auto root = written_root();
  const auto entries = read_log_to_head(root->source(), Lsn{0}, 500);
  EXPECT_EQ(replay({}, entries), expected_of(workload()));
  EXPECT_EQ(root->read_all(), expected_of(workload()));
}

TEST_P(EngineConformance, what_is_left_of_the_window_shrinks_as_the_log_grows_and_is_absent_once_the_log_is_gone) {
  const auto root = empty_root();
  const auto from = root->source().source_state().head;
  const auto all = root->source().window_left(from);
  ASSERT_TRUE(all);
  write(*root, workload());
  const auto behind = root->source().window_left(from);
  ASSERT_TRUE(behind);
  EXPECT_LT(behind->bytes, all->bytes);
  const auto at_head = root->source().window_left(root->source().source_state().head);
  ASSERT_TRUE(at_head);
  EXPECT_GT(at_head->bytes, behind->bytes);
  if (!root->trim_log()) GTEST_SKIP() << "this engine's log cannot be trimmed by order";
  EXPECT_FALSE(root->source().window_left(from));
}

TEST_P(EngineConformance, the_log_before_the_oldest_lsn_is_refused_with_its_window) {
  const auto root = written_root();
  if (!root->trim_log()) GTEST_SKIP() << "this engine's log cannot be trimmed by order";
  const auto state = root->source().source_state();
  ASSERT_GT(state.oldest, Lsn{0});
  EXPECT_EQ(must(root->source().read_log(state.oldest, 1000)).prev_lsn, state.oldest);
  for (const auto after : {Lsn{0}, Lsn{state.oldest.value - 1}}) {
    const auto refused = root->source().read_log(after, 1000);
    ASSERT_EQ(refusal(refused), "LogWindowExceeded");
    const auto* window = std::get_if<LogWindow>(&refused.error().data());
    ASSERT_NE(window, nullptr);
    EXPECT_EQ(window->oldest, state.oldest);
    EXPECT_EQ(window->head, state.head);
  }
  EXPECT_EQ(root->read_all(), expected_of(workload()));
}

// --- proofs
// -------------------------------------------------------------------------------------------------

TEST_P(EngineConformance, at_each_lsn_exactly_the_last_entry_before_it_is_proven) {
  const auto root = written_root();
  auto& source = root->source();
  const auto entries = read_log_to_head(source, Lsn{0}, 1'000'000);
  ASSERT_EQ(entries.size(), workload().size());
  for (auto at = entries.front().id.lsn; at <= source.source_state().head; ++at.value) {
    std::optional<EntryId> last;
    for (const auto& entry : entries) {
      if (entry.id.lsn <= at) last = entry.id;
    }
    for (const auto& entry : entries) {
      if (entry.id.lsn > at) break;
      const auto expected = entry.id == *last ? PositionProof::same : PositionProof::diverged;
      EXPECT_EQ(must(source.prove(entry.id, at)), expected) << entry.id.lsn.value << " at " << at.value;
    }
    EXPECT_EQ(must(source.prove(with_other_hash(*last), at)), PositionProof::diverged) << at.value;
    EXPECT_EQ(must(source.prove(EntryId{}, at)), PositionProof::diverged) << at.value;
  }
  EXPECT_EQ(must(source.prove(EntryId{}, Lsn{0})), PositionProof::same);
}

TEST_P(EngineConformance, the_last_entry_is_proven_after_the_log_was_trimmed_up_to_it) {
  const auto root = written_root();
  auto& source = root->source();
  const auto entries = read_log_to_head(source, Lsn{0}, 1'000'000);
  if (!root->trim_log()) GTEST_SKIP() << "this engine's log cannot be trimmed by order";
  const auto head = source.source_state().head;
  const auto last = entries.back().id;
  ASSERT_GE(source.source_state().oldest, last.lsn);
  EXPECT_EQ(must(source.prove(last, head)), PositionProof::same);
  EXPECT_EQ(must(source.prove(with_other_hash(last), head)), PositionProof::diverged);
  EXPECT_EQ(must(source.prove(entries.front().id, head)), PositionProof::diverged);
  EXPECT_EQ(must(source.prove(EntryId{}, head)), PositionProof::diverged);

  const auto next = must(root->commit(workload().front()));
  EXPECT_EQ(must(source.prove(last, head)), PositionProof::same);
  EXPECT_EQ(must(source.prove(last, next)), PositionProof::diverged);
}

TEST_P(EngineConformance, a_fork_with_the_same_numbers_has_other_hashes) {
  const auto root = empty_root();
  const auto other = empty_root();
  const std::array ours{Operation::put("k", "ours")}, theirs{Operation::put("k", "theirs")};
  const auto lsn = must(root->commit(ours));
  must(other->commit(theirs));
  const auto entries = read_log_to_head(other->source(), Lsn{0}, 1000);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(must(root->source().prove({lsn, entries[0].id.hash}, lsn)), PositionProof::diverged);
}

// --- snapshots
// -------------------------------------------------------------------------------------------------

TEST_P(EngineConformance, a_snapshot_says_what_it_is_of) {
  const auto root = written_root();
  const auto state = root->source().source_state();
  const auto reader = open_kv(root->source());
  const auto facts = reader->facts();
  EXPECT_NE(facts.id, SnapshotId{});
  EXPECT_EQ(facts.format, kv_format);
  EXPECT_EQ(facts.snapshot_lsn, state.head);
  EXPECT_EQ(facts.origin_lsn, state.origin_lsn);
  EXPECT_EQ(facts.origin, state.origin);
  EXPECT_EQ(facts.incarnation, state.history.incarnation_at(state.head));
  EXPECT_GE(facts.consistent_lsn, facts.snapshot_lsn);
  EXPECT_EQ(facts.last_entry, read_log_to_head(root->source(), Lsn{0}, 1000).back().id);
  const auto bytes = read_snapshot(*reader, 1000);
  if (facts.total_bytes) {
    EXPECT_EQ(*facts.total_bytes, bytes.size());
  }
  EXPECT_EQ(contents_of_kv(bytes), root->read_all());
}

TEST_P(EngineConformance, a_snapshot_of_nothing_is_done_at_once) {
  const auto root = empty_root();
  const auto reader = open_kv(root->source());
  EXPECT_EQ(reader->facts().snapshot_lsn, root->source().source_state().head);
  EXPECT_EQ(reader->facts().last_entry, EntryId{});
  const auto piece = must(reader->read(0, 100));
  ASSERT_NE(piece.bytes, nullptr);
  EXPECT_TRUE(piece.bytes->empty());
  EXPECT_TRUE(piece.done);
}

TEST_P(EngineConformance, any_piece_size_gives_the_same_snapshot) {
  const auto root = written_root();
  const auto reader = open_kv(root->source());
  const auto whole = read_snapshot(*reader, 1'000'000);
  ASSERT_GT(whole.size(), 1000u);
  for (const auto piece_max : {1uz, 7uz, 64uz, 1000uz, 4096uz})
    EXPECT_EQ(read_snapshot(*reader, piece_max), whole) << piece_max;
}

TEST_P(EngineConformance, a_snapshot_can_be_read_at_any_offset_but_not_past_its_end) {
  const auto root = written_root();
  const auto reader = open_kv(root->source());
  const auto whole = read_snapshot(*reader, 1'000'000);
  for (const std::size_t offset : {std::size_t{0}, std::size_t{1}, whole.size() / 2, whole.size() - 1, whole.size()}) {
    const std::vector<std::byte> rest(whole.begin() + static_cast<std::ptrdiff_t>(offset), whole.end());
    EXPECT_EQ(read_snapshot(*reader, 100, offset), rest) << offset;
  }
  EXPECT_EQ(refusal(reader->read(whole.size() + 1, 100)), "Configuration");
}

TEST_P(EngineConformance, a_snapshot_does_not_see_later_commits) {
  const auto root = written_root();
  const auto before = root->read_all();
  const auto reader = open_kv(root->source());
  const std::array change{Operation::put("later", "1"), Operation::erase("b")};
  must(root->commit(change));
  EXPECT_EQ(contents_of_kv(read_snapshot(*reader, 100)), before);
  EXPECT_EQ(contents_of_kv(read_snapshot(*open_kv(root->source()), 100)), root->read_all());
}

TEST_P(EngineConformance, a_snapshot_is_taken_up_again_by_its_id) {
  const auto root = written_root();
  const auto reader = open_kv(root->source());
  const auto whole = read_snapshot(*reader, 1'000'000);
  must(root->commit(workload().front()));
  const auto again = open_kv(root->source(), reader->facts().id);
  EXPECT_EQ(again->facts(), reader->facts());
  EXPECT_EQ(read_snapshot(*again, 50), whole);
}

TEST_P(EngineConformance, an_unknown_snapshot_is_answered_with_one_of_the_state_now) {
  const auto root = written_root();
  SnapshotId unknown;
  unknown.bytes.fill(std::byte{0x5a});
  const auto reader = open_kv(root->source(), unknown);
  EXPECT_NE(reader->facts().id, unknown);
  EXPECT_EQ(reader->facts().snapshot_lsn, root->source().source_state().head);
  EXPECT_EQ(contents_of_kv(read_snapshot(*reader, 100)), root->read_all());
}

TEST_P(EngineConformance, a_snapshot_comes_in_a_format_that_was_offered) {
  const auto root = written_root();
  const std::array<std::string, 2> offered{"no-such-format", std::string(kv_format)};
  EXPECT_EQ(must(root->source().open_snapshot(offered, std::nullopt))->facts().format, kv_format);
  const std::array<std::string, 1> unusable{"no-such-format"};
  EXPECT_EQ(refusal(root->source().open_snapshot(unusable, std::nullopt)), "UnsupportedOperation");
}

TEST_P(EngineConformance, one_snapshot_too_many_is_busy_until_another_is_let_go) {
  const auto root = written_root();
  if (GetParam().snapshots_max == 0) GTEST_SKIP() << "this engine has no limit";
  std::vector<std::shared_ptr<SnapshotReader>> open;
  while (open.size() < GetParam().snapshots_max) {
    open.push_back(open_kv(root->source()));
    must(root->commit(workload().front()));
  }
  const std::array<std::string, 1> formats{std::string(kv_format)};
  EXPECT_EQ(refusal(root->source().open_snapshot(formats, std::nullopt)), "Busy");
  EXPECT_EQ(open_kv(root->source(), open.front()->facts().id)->facts(), open.front()->facts());
  open.pop_back();
  EXPECT_EQ(open_kv(root->source())->facts().snapshot_lsn, root->source().source_state().head);
}

// --- views
// -------------------------------------------------------------------------------------------------

TEST_P(EngineConformance, a_view_has_all_pairs_in_key_order_at_the_head) {
  const auto root = written_root();
  const auto view = must(root->verifiable().view());
  EXPECT_EQ(view->lsn(), root->source().source_state().head);
  const auto pairs = scan(*view, "", std::nullopt);
  const auto expected = expected_of(workload());
  EXPECT_EQ(pairs, Pairs(expected.begin(), expected.end()));
}

TEST_P(EngineConformance, a_view_is_scanned_from_begin_up_to_but_without_end) {
  const auto root = written_root();
  const auto view = must(root->verifiable().view());
  const auto all = expected_of(workload());
  for (const auto& [begin, ignored] : all) {
    for (const auto& [end, also_ignored] : all) {
      if (end < begin) continue;
      EXPECT_EQ(scan(*view, begin, end), Pairs(all.find(begin), all.find(end)));
    }
    EXPECT_EQ(scan(*view, begin, std::nullopt), Pairs(all.find(begin), all.end()));
    EXPECT_EQ(scan(*view, begin + '\0', std::nullopt), Pairs(all.upper_bound(begin), all.end()));
  }
}

TEST_P(EngineConformance, a_scan_ends_when_its_visitor_has_enough) {
  const auto root = written_root();
  const auto view = must(root->verifiable().view());
  std::vector<std::string> keys;
  must(view->scan("", std::nullopt, [&](const KeyValue& pair) {
    keys.emplace_back(pair.key);
    return keys.size() < 2;
  }));
  EXPECT_EQ(keys.size(), 2u);
}

TEST_P(EngineConformance, a_view_does_not_see_later_commits) {
  const auto root = written_root();
  const auto lsn = root->source().source_state().head;
  const auto before = root->read_all();
  const auto view = must(root->verifiable().view());
  const std::array change{Operation::put("later", "1"), Operation::erase_range("a", "c")};
  must(root->commit(change));
  ASSERT_NE(root->read_all(), before);
  EXPECT_EQ(view->lsn(), lsn);
  EXPECT_EQ(scan(*view, "", std::nullopt), Pairs(before.begin(), before.end()));
}

}  // namespace crosslink::test
