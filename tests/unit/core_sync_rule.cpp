// docs/protocol.md, "Sync mode": when a commit is confirmed, and what its writer is told otherwise.
#include "session/sync_rule.hpp"

#include <gtest/gtest.h>

#include <tuple>

namespace crosslink::test {
namespace {

using namespace core;
using Answer = SyncRule::Answer;
using Answers = std::vector<std::tuple<std::uint64_t, Answer, std::string>>;

/// Times out after 1000.
SyncRule rule_of(std::vector<std::string> mirrors, OnSyncLoss on_loss = OnSyncLoss::error) {
  return SyncRule({std::move(mirrors), Duration(1'000), on_loss});
}

/// In the history that all is about unless said otherwise.
SyncPoint at(std::uint64_t lsn, std::uint8_t history = 1) { return {Incarnation{{std::byte{history}}}, Lsn{lsn}}; }

Answers decided(SyncRule& rule, std::int64_t now) {
  Answers all;
  for (const auto& one : rule.decide(Instant(now)))
    all.emplace_back(one.commit.lsn.value, one.answer, one.missing);
  return all;
}

Answers confirmed(std::initializer_list<std::uint64_t> lsns) {
  Answers all;
  for (const auto lsn : lsns)
    all.emplace_back(lsn, Answer::confirmed, "");
  return all;
}

const Answers nothing;

/// A commit that is durable at the source at once.
void commit(SyncRule& rule, std::uint64_t lsn, std::int64_t now, std::uint8_t history = 1) {
  rule.on_commit(at(lsn, history), Instant(now));
  rule.on_source_durable(at(lsn, history));
}

TEST(SyncRule, confirms_what_is_durable_at_the_source_and_at_every_named_mirror) {
  // Each of the three in each order comes last once; until then nothing is confirmed.
  for (const int last : {0, 1, 2}) {
    auto rule = rule_of({"eu-1", "eu-2"});
    rule.on_commit(at(5), Instant(0));
    const auto report = [&](int who) {
      if (who == 0) rule.on_source_durable(at(5));
      if (who == 1) rule.on_mirror_durable("eu-1", at(5));
      if (who == 2) rule.on_mirror_durable("eu-2", at(5));
    };
    report((last + 1) % 3);
    EXPECT_EQ(decided(rule, 1), nothing) << last;
    report((last + 2) % 3);
    EXPECT_EQ(decided(rule, 2), nothing) << last;
    report(last);
    EXPECT_EQ(decided(rule, 3), confirmed({5})) << last;
    EXPECT_EQ(decided(rule, 4), nothing) << "answered once";
  }
}

TEST(SyncRule, confirms_up_to_the_lsn_that_is_durable_and_no_further) {
  auto rule = rule_of({"eu-1"});
  for (const std::uint64_t lsn : {4u, 7u, 9u})
    commit(rule, lsn, 0);
  rule.on_mirror_durable("eu-1", at(8));
  EXPECT_EQ(decided(rule, 1), confirmed({4, 7})) << "in the order of their LSNs";
  rule.on_mirror_durable("eu-1", at(9));
  EXPECT_EQ(decided(rule, 1), confirmed({9}));
}

TEST(SyncRule, without_named_mirrors_only_the_source_counts) {
  auto rule = rule_of({});
  rule.on_commit(at(1), Instant(0));
  EXPECT_EQ(decided(rule, 5'000), nothing);
  rule.on_source_durable(at(1));
  EXPECT_EQ(decided(rule, 5'000), confirmed({1}));
}

TEST(SyncRule, holds_before_a_named_mirror_ever_connected) {
  auto rule = rule_of({"eu-1"});
  commit(rule, 1, 0);
  EXPECT_EQ(decided(rule, 999), nothing);
  EXPECT_EQ(decided(rule, 1'000), (Answers{{1, Answer::unconfirmed, "eu-1"}}));
}

TEST(SyncRule, a_mirror_that_is_not_named_changes_nothing) {
  auto rule = rule_of({"eu-1"}, OnSyncLoss::async);
  EXPECT_TRUE(rule.names("eu-1"));
  EXPECT_FALSE(rule.names("other"));
  rule.on_mirror_durable("other", at(9));
  EXPECT_FALSE(rule.names("other"));
  commit(rule, 1, 0);
  EXPECT_EQ(decided(rule, 1), nothing);
  EXPECT_EQ(decided(rule, 1'000), (Answers{{1, Answer::async, "eu-1"}}));
  rule.on_mirror_caught_up("other");
  EXPECT_TRUE(rule.suspended());
}

TEST(SyncRule, with_error_the_writer_is_told_which_mirror_is_missing) {
  auto rule = rule_of({"eu-1", "eu-2"});
  commit(rule, 1, 500);
  rule.on_mirror_durable("eu-1", at(1));
  EXPECT_EQ(decided(rule, 1'499), nothing);
  EXPECT_EQ(decided(rule, 1'500), (Answers{{1, Answer::unconfirmed, "eu-2"}}));
  EXPECT_FALSE(rule.suspended());
}

TEST(SyncRule, with_error_each_commit_waits_its_own_time) {
  auto rule = rule_of({"eu-1"});
  commit(rule, 1, 0);
  commit(rule, 2, 400);
  EXPECT_EQ(decided(rule, 1'000), (Answers{{1, Answer::unconfirmed, "eu-1"}}));
  EXPECT_EQ(decided(rule, 1'399), nothing);
  EXPECT_EQ(decided(rule, 1'400), (Answers{{2, Answer::unconfirmed, "eu-1"}}));
  commit(rule, 3, 2'000);
  rule.on_mirror_durable("eu-1", at(3));
  EXPECT_EQ(decided(rule, 2'001), confirmed({3})) << "the mirror is back";
}

TEST(SyncRule, what_was_answered_unconfirmed_is_not_answered_again) {
  auto rule = rule_of({"eu-1"});
  commit(rule, 1, 0);
  EXPECT_EQ(decided(rule, 1'000).size(), 1u);
  rule.on_mirror_durable("eu-1", at(1));
  EXPECT_EQ(decided(rule, 1'001), nothing);
}

TEST(SyncRule, nothing_is_answered_that_is_not_durable_at_the_source_even_after_the_timeout) {
  for (const auto on_loss : {OnSyncLoss::error, OnSyncLoss::async}) {
    auto rule = rule_of({"eu-1"}, on_loss);
    rule.on_commit(at(1), Instant(0));
    EXPECT_EQ(decided(rule, 9'000), nothing);
    rule.on_mirror_durable("eu-1", at(1));
    EXPECT_EQ(decided(rule, 9'000), nothing);
    rule.on_source_durable(at(1));
    EXPECT_EQ(decided(rule, 9'000), confirmed({1}));
  }
}

TEST(SyncRule, with_async_nobody_waits_after_the_loss_until_the_mirror_has_caught_up) {
  auto rule = rule_of({"eu-1"}, OnSyncLoss::async);
  commit(rule, 1, 0);
  commit(rule, 2, 900);
  EXPECT_EQ(decided(rule, 999), nothing);
  EXPECT_FALSE(rule.suspended());
  EXPECT_EQ(decided(rule, 1'000), (Answers{{1, Answer::async, "eu-1"}, {2, Answer::async, "eu-1"}}));
  EXPECT_TRUE(rule.suspended());
  rule.on_mirror_durable("eu-1", at(1));
  EXPECT_TRUE(rule.suspended()) << "it is back, but has not caught up";
  commit(rule, 3, 1'100);
  EXPECT_EQ(decided(rule, 1'100), (Answers{{3, Answer::async, "eu-1"}}));
  rule.on_mirror_durable("eu-1", at(3));
  rule.on_mirror_caught_up("eu-1");
  EXPECT_FALSE(rule.suspended());
  commit(rule, 4, 1'200);
  EXPECT_EQ(decided(rule, 1'200), nothing) << "sync is back";
  rule.on_mirror_durable("eu-1", at(4));
  EXPECT_EQ(decided(rule, 1'201), confirmed({4}));
}

TEST(SyncRule, while_suspended_what_every_mirror_has_is_confirmed_all_the_same) {
  auto rule = rule_of({"eu-1"}, OnSyncLoss::async);
  commit(rule, 1, 0);
  ASSERT_EQ(decided(rule, 1'000).size(), 1u);
  rule.on_mirror_durable("eu-1", at(2));
  commit(rule, 2, 1'001);
  commit(rule, 3, 1'001);
  EXPECT_EQ(decided(rule, 1'001), (Answers{{2, Answer::confirmed, ""}, {3, Answer::async, "eu-1"}}));
}

TEST(SyncRule, one_call_answers_confirmed_and_timed_out_commits_in_the_order_of_their_lsns) {
  auto rule = rule_of({"eu-1"});
  commit(rule, 1, 0);
  commit(rule, 2, 100);
  commit(rule, 3, 900);
  rule.on_mirror_durable("eu-1", at(1));
  EXPECT_EQ(decided(rule, 1'100), (Answers{{1, Answer::confirmed, ""}, {2, Answer::unconfirmed, "eu-1"}}));
  rule.on_mirror_durable("eu-1", at(3));
  EXPECT_EQ(decided(rule, 1'100), confirmed({3}));
}

TEST(SyncRule, what_a_mirror_said_of_another_history_confirms_nothing) {
  // As after a failed sync: the source is back at LSN 4, and the rule was not told.
  for (const bool told : {true, false}) {
    auto rule = rule_of({"eu-1", "eu-2"});
    rule.on_mirror_durable("eu-1", at(9, 1));
    rule.on_mirror_durable("eu-2", at(4, 1));
    if (told) rule.on_history_change();
    commit(rule, 5, 0, 2);
    rule.on_mirror_durable("eu-2", at(9, 2));
    EXPECT_EQ(decided(rule, 1), nothing) << "eu-1 has another commit of that LSN";
    EXPECT_TRUE(rule.names("eu-1"));
    rule.on_mirror_durable("eu-1", at(5, 2));
    EXPECT_EQ(decided(rule, 2), confirmed({5}));
  }
}

TEST(SyncRule, after_a_restore_nothing_said_before_counts_though_the_incarnation_is_the_same) {
  auto rule = rule_of({"eu-1"});
  rule.on_mirror_durable("eu-1", at(9));
  rule.on_history_change();
  commit(rule, 5, 0);
  EXPECT_EQ(decided(rule, 1), nothing);
}

TEST(SyncRule, a_mirror_may_say_so_before_the_source_has_a_commit_of_the_new_history) {
  auto rule = rule_of({"eu-1"});
  commit(rule, 5, 0, 1);
  rule.on_mirror_durable("eu-1", at(6, 2));
  EXPECT_EQ(decided(rule, 1), nothing) << "LSN 5 of the first history may not be in the second";
  commit(rule, 6, 2, 2);
  EXPECT_EQ(decided(rule, 3), (Answers{{5, Answer::unconfirmed, "eu-1"}, {6, Answer::confirmed, ""}}));
}

TEST(SyncRule, what_was_durable_at_the_source_in_another_history_confirms_nothing) {
  auto rule = rule_of({"eu-1"});
  commit(rule, 9, 0, 1);
  rule.on_mirror_durable("eu-1", at(9, 1));
  ASSERT_EQ(decided(rule, 1), confirmed({9}));
  rule.on_history_change();  // restored to LSN 4
  rule.on_commit(at(5, 2), Instant(2));
  rule.on_mirror_durable("eu-1", at(5, 2));
  EXPECT_EQ(decided(rule, 3), nothing) << "the source had synced another commit of that LSN";
  rule.on_source_durable(at(5, 2));
  EXPECT_EQ(decided(rule, 4), confirmed({5}));
}

TEST(SyncRule, who_waits_while_the_history_changes_is_never_confirmed) {
  for (const auto on_loss : {OnSyncLoss::error, OnSyncLoss::async}) {
    auto rule = rule_of({"eu-1"}, on_loss);
    commit(rule, 5, 0);
    rule.on_commit(at(6), Instant(0));
    rule.on_history_change();
    // Another history comes as far; its LSN 6 is another commit.
    rule.on_source_durable(at(8, 2));
    rule.on_mirror_durable("eu-1", at(8, 2));
    EXPECT_EQ(decided(rule, 1), (Answers{{5, Answer::unconfirmed, "eu-1"}, {6, Answer::unconfirmed, "eu-1"}}));
    EXPECT_EQ(decided(rule, 2), nothing) << "answered once";
    EXPECT_FALSE(rule.next_deadline().has_value());
  }
}

TEST(SyncRule, a_mirror_that_lost_its_tail_confirms_less_than_before) {
  auto rule = rule_of({"eu-1"});
  rule.on_mirror_durable("eu-1", at(9));
  rule.on_mirror_durable("eu-1", at(4));
  commit(rule, 5, 0);
  EXPECT_EQ(decided(rule, 1), nothing);
}

TEST(SyncRule, the_next_deadline_is_that_of_the_oldest_commit_that_waits) {
  auto rule = rule_of({"eu-1"});
  EXPECT_FALSE(rule.next_deadline().has_value());
  commit(rule, 1, 100);
  commit(rule, 2, 300);
  EXPECT_EQ(rule.next_deadline(), Instant(1'100));
  rule.on_mirror_durable("eu-1", at(1));
  ASSERT_EQ(decided(rule, 400), confirmed({1}));
  EXPECT_EQ(rule.next_deadline(), Instant(1'300));
  ASSERT_EQ(decided(rule, 1'300).size(), 1u) << "due exactly then";
  EXPECT_FALSE(rule.next_deadline().has_value());
}

// --- who has a commit (WAIT)

TEST(SyncPoint, a_mirror_has_a_commit_when_both_are_of_the_history_that_there_is) {
  // LSN 5 of the first history is lost; 6 to 9 are of the second, from 10 on it is the third's.
  auto history = History::beginning({at(0, 1).incarnation, Lsn{1}});
  history.append({at(0, 2).incarnation, Lsn{5}, HistoryCause::unclean_stop});
  history.append({at(0, 3).incarnation, Lsn{10}, HistoryCause::restamp});
  const auto has = [&history](const SyncPoint& said, const SyncPoint& commit) {
    return has_commit(history, Lsn{12}, said, commit);
  };
  EXPECT_TRUE(has(at(12, 3), at(11, 3)));
  EXPECT_FALSE(has(at(10, 3), at(11, 3))) << "not there yet";
  EXPECT_TRUE(has(at(12, 3), at(9, 2))) << "the later history goes on from it";
  EXPECT_TRUE(has(at(4, 2), at(4, 1)));
  EXPECT_FALSE(has(at(12, 3), at(5, 1))) << "that commit is gone; LSN 5 is another one";
  EXPECT_FALSE(has(at(9, 1), at(7, 2))) << "what it has of an earlier history is not that";
  EXPECT_FALSE(has(at(12, 3), at(13, 3))) << "beyond the head there is nothing";
  EXPECT_FALSE(has(at(12, 4), at(4, 1))) << "a history that this one is not of";
  EXPECT_FALSE(has(at(12, 3), at(4, 4)));
  EXPECT_TRUE(is_in(history, Lsn{12}, at(4, 1)));
  EXPECT_FALSE(is_in(history, Lsn{12}, at(5, 1)));
}

}  // namespace
}  // namespace crosslink::test
