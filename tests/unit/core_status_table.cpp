#include <gtest/gtest.h>

#include <array>

#include "core/mirror_status.hpp"

namespace crosslink::test {
namespace {

using namespace core;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::array every_kind{StatusKind::Promoted,     StatusKind::Halted,        StatusKind::Paused,
                                StatusKind::Disconnected, StatusKind::Bootstrapping, StatusKind::Degraded,
                                StatusKind::Following};

/// Facts of which exactly the rows below `kind` of the document's table do not hold either way.
StatusFacts facts_of(StatusKind kind) {
  StatusFacts facts;
  facts.session = kind != StatusKind::Disconnected;
  facts.link_reason = "the source is unreachable";
  facts.control_age = milliseconds(10);
  facts.lag = milliseconds(20);
  facts.promoted = kind == StatusKind::Promoted;
  if (kind == StatusKind::Halted) facts.halted = "the source was emptied";
  facts.paused = kind == StatusKind::Paused;
  facts.bootstrapping = kind == StatusKind::Bootstrapping;
  facts.bootstrap_reason = "it has no data yet";
  if (kind == StatusKind::Degraded) facts.lag = seconds(6);
  return facts;
}

TEST(StatusTable, goes_from_every_status_to_every_other_by_the_facts_alone) {
  for (const auto from : every_kind) {
    for (const auto to : every_kind) {
      StatusJudge judge;
      EXPECT_EQ(judge.judge(facts_of(from), seconds(1)).kind, from);
      const auto status = judge.judge(facts_of(to), seconds(2));
      EXPECT_EQ(status.kind, to) << to_string(from) << " to " << to_string(to);
      EXPECT_FALSE(status.reason.empty()) << to_string(to);
    }
  }
}

TEST(StatusTable, the_first_row_that_holds_is_the_status) {
  StatusJudge judge;
  auto facts = facts_of(StatusKind::Following);
  facts.storage_error = "the disk is full";
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Degraded);
  facts.bootstrapping = true;
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Bootstrapping);
  facts.control_age = seconds(30);
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Disconnected) << "nothing heard for 30 s";
  facts.paused = true;
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Paused);
  facts.halted = "why";
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Halted);
  facts.promoted = true;
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Promoted);
}

TEST(StatusTable, brings_bytes_of_a_bootstrap_and_its_trouble) {
  StatusJudge judge;
  auto facts = facts_of(StatusKind::Bootstrapping);
  facts.bytes_done = 7;
  facts.bytes_total = 9;
  facts.storage_error = "the disk is full";
  const auto status = judge.judge(facts, seconds(1));
  EXPECT_EQ(status.bytes_done, 7u);
  EXPECT_EQ(status.bytes_total, 9u);
  EXPECT_NE(status.reason.find("the disk is full"), std::string::npos) << status.reason;
}

TEST(StatusTable, an_unknown_lag_is_degraded) {
  StatusJudge judge;
  auto facts = facts_of(StatusKind::Following);
  facts.lag.reset();
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Degraded);
}

TEST(StatusTable, degraded_ends_at_half_of_the_threshold_at_once_and_just_under_it_after_three_seconds) {
  const auto with_lag = [](Duration lag) {
    auto facts = facts_of(StatusKind::Following);
    facts.lag = lag;
    return facts;
  };
  StatusJudge judge;
  EXPECT_EQ(judge.judge(with_lag(seconds(6)), seconds(1)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(milliseconds(2'501)), seconds(2)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(milliseconds(2'500)), seconds(3)).kind, StatusKind::Following);
  EXPECT_EQ(judge.judge(with_lag(seconds(5)), seconds(4)).kind, StatusKind::Following) << "at the threshold";
  EXPECT_EQ(judge.judge(with_lag(milliseconds(5'001)), seconds(5)).kind, StatusKind::Degraded) << "at once over it";
  EXPECT_EQ(judge.judge(with_lag(seconds(4)), seconds(6)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(seconds(6)), seconds(7)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(seconds(4)), seconds(8)).kind, StatusKind::Degraded) << "the three seconds began anew";
  EXPECT_EQ(judge.judge(with_lag(seconds(4)), milliseconds(10'999)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(seconds(4)), seconds(11)).kind, StatusKind::Following);
}

TEST(StatusTable, thresholds_are_five_seconds_and_in_sync_mode_three_round_trips_but_a_tenth_at_least) {
  EXPECT_EQ(lag_threshold(false, std::nullopt), seconds(5));
  EXPECT_EQ(lag_threshold(false, seconds(9)), seconds(5));
  EXPECT_EQ(lag_threshold(true, std::nullopt), milliseconds(100));
  EXPECT_EQ(lag_threshold(true, milliseconds(33)), milliseconds(100));
  EXPECT_EQ(lag_threshold(true, milliseconds(200)), milliseconds(600));
}

}  // namespace
}  // namespace crosslink::test
