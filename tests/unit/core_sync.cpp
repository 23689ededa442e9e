#include <gtest/gtest.h>

#include "core/sync_rule.hpp"

namespace crosslink::test {
namespace {

using namespace core;
using Answer = SyncRule::Answer;

SyncConfig config(OnSyncLoss on_loss, std::vector<std::string> mirrors = {"eu-1"}) {
  return {std::move(mirrors), Duration(1'000), on_loss};
}

std::vector<std::pair<std::uint64_t, Answer>> decided(SyncRule& rule, std::int64_t now) {
  std::vector<std::pair<std::uint64_t, Answer>> all;
  for (const auto& one : rule.decide(Instant(now)))
    all.emplace_back(one.lsn.value, one.answer);
  return all;
}
using Decisions = std::vector<std::pair<std::uint64_t, Answer>>;

TEST(SyncMode, confirms_what_is_durable_here_and_at_every_named_mirror_and_nothing_before) {
  SyncRule rule(config(OnSyncLoss::error, {"eu-1", "eu-2"}));
  rule.on_commit(Lsn{1}, Instant(0));
  rule.on_commit(Lsn{2}, Instant(1));
  rule.on_mirror_durable("eu-1", Lsn{2});
  rule.on_mirror_durable("eu-2", Lsn{2});
  EXPECT_EQ(decided(rule, 2), Decisions{}) << "not durable at the source";
  rule.on_source_durable(Lsn{1});
  EXPECT_EQ(decided(rule, 3), (Decisions{{1, Answer::confirmed}}));
  rule.on_source_durable(Lsn{2});
  EXPECT_EQ(decided(rule, 4), (Decisions{{2, Answer::confirmed}}));
  EXPECT_FALSE(rule.next_deadline().has_value());
}

TEST(SyncMode, a_mirror_that_is_not_named_confirms_nothing) {
  SyncRule rule(config(OnSyncLoss::error));
  rule.on_commit(Lsn{1}, Instant(0));
  rule.on_source_durable(Lsn{1});
  rule.on_mirror_durable("other", Lsn{9});
  EXPECT_EQ(decided(rule, 10), Decisions{});
  EXPECT_TRUE(rule.names("eu-1"));
  EXPECT_FALSE(rule.names("other"));
}

TEST(SyncMode, with_error_a_writer_learns_after_the_timeout_who_is_missing) {
  SyncRule rule(config(OnSyncLoss::error, {"eu-1", "eu-2"}));
  rule.on_commit(Lsn{1}, Instant(500));
  rule.on_source_durable(Lsn{1});
  rule.on_mirror_durable("eu-1", Lsn{1});
  EXPECT_EQ(rule.next_deadline(), Instant(1'500));
  EXPECT_EQ(decided(rule, 1'499), Decisions{});
  const auto answers = rule.decide(Instant(1'500));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers.front().answer, Answer::unconfirmed);
  EXPECT_EQ(answers.front().missing, "eu-2");
  EXPECT_FALSE(rule.suspended());
  rule.on_commit(Lsn{2}, Instant(2'000));
  rule.on_source_durable(Lsn{2});
  EXPECT_EQ(decided(rule, 2'999), Decisions{}) << "the next one waits its own time";
}

TEST(SyncMode, with_async_it_is_suspended_until_the_mirror_has_caught_up) {
  SyncRule rule(config(OnSyncLoss::async));
  rule.on_commit(Lsn{1}, Instant(0));
  rule.on_source_durable(Lsn{3});
  EXPECT_EQ(decided(rule, 1'000), (Decisions{{1, Answer::async}}));
  EXPECT_TRUE(rule.suspended());
  rule.on_commit(Lsn{2}, Instant(1'001));
  EXPECT_EQ(decided(rule, 1'001), (Decisions{{2, Answer::async}})) << "nobody waits any more";
  rule.on_mirror_durable("eu-1", Lsn{2});
  rule.on_mirror_caught_up("eu-1");
  EXPECT_FALSE(rule.suspended());
  rule.on_commit(Lsn{3}, Instant(1'002));
  EXPECT_EQ(decided(rule, 1'003), Decisions{});
  rule.on_mirror_durable("eu-1", Lsn{3});
  EXPECT_EQ(decided(rule, 1'004), (Decisions{{3, Answer::confirmed}}));
}

TEST(SyncMode, what_mirrors_said_before_a_change_of_history_counts_no_more) {
  SyncRule rule(config(OnSyncLoss::error));
  rule.on_mirror_durable("eu-1", Lsn{9});
  rule.on_history_change();
  rule.on_commit(Lsn{5}, Instant(0));
  rule.on_source_durable(Lsn{5});
  EXPECT_EQ(decided(rule, 1), Decisions{});
}

TEST(SyncMode, a_mirror_that_lost_its_tail_confirms_less_than_before) {
  SyncRule rule(config(OnSyncLoss::error));
  rule.on_mirror_durable("eu-1", Lsn{9});
  rule.on_mirror_durable("eu-1", Lsn{4});
  rule.on_commit(Lsn{5}, Instant(0));
  rule.on_source_durable(Lsn{5});
  EXPECT_EQ(decided(rule, 1), Decisions{});
}

}  // namespace
}  // namespace crosslink::test
