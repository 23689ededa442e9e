// docs/protocol.md, "Statuses": the rows in their order, the hysteresis and the thresholds.
#include "session/mirror_status.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace crosslink::test {
namespace {

using namespace core;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// A row of the table: what makes it hold, added to facts of which it does not hold yet.
struct Row {
  StatusKind kind;
  std::string holds_by;
  std::function<void(StatusFacts&)> make_hold;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all{
      {StatusKind::Promoted, "promoted", [](StatusFacts& f) { f.promoted = true; }},
      {StatusKind::Halted, "halted", [](StatusFacts& f) { f.halted = "the source was emptied"; }},
      {StatusKind::Paused, "paused", [](StatusFacts& f) { f.paused = true; }},
      {StatusKind::Disconnected, "no link", [](StatusFacts& f) { f.session = false; }},
      {StatusKind::Disconnected, "silence", [](StatusFacts& f) { f.control_age = seconds(30); }},
      {StatusKind::Bootstrapping, "bootstrapping", [](StatusFacts& f) { f.bootstrapping = true; }},
      {StatusKind::Degraded, "storage", [](StatusFacts& f) { f.storage_error = "the disk is full"; }},
      {StatusKind::Degraded, "lag unknown", [](StatusFacts& f) { f.lag.reset(); }},
      {StatusKind::Degraded, "lag over", [](StatusFacts& f) { f.lag = f.threshold + Duration(1); }},
      {StatusKind::Following, "nothing else", [](StatusFacts&) {}},
  };
  return all;
}

StatusFacts following() {
  StatusFacts facts;
  facts.session = true;
  facts.link_reason = "the source is unreachable";
  facts.bootstrap_reason = "it has no data yet";
  facts.control_age = milliseconds(10);
  facts.lag = milliseconds(20);
  return facts;
}

StatusFacts of_row(const Row& row) {
  auto facts = following();
  row.make_hold(facts);
  return facts;
}

StatusFacts with_lag(Duration lag) {
  auto facts = following();
  facts.lag = lag;
  return facts;
}

TEST(MirrorStatus, every_status_follows_every_other_as_the_facts_change) {
  for (const auto& from : rows()) {
    for (const auto& to : rows()) {
      SCOPED_TRACE(from.holds_by + " to " + to.holds_by);
      StatusJudge judge;
      ASSERT_EQ(judge.judge(of_row(from), seconds(1)).kind, from.kind);
      const auto status = judge.judge(of_row(to), seconds(2));
      EXPECT_EQ(status.kind, to.kind);
      EXPECT_FALSE(status.reason.empty());
      EXPECT_EQ(status.lag, of_row(to).lag);
      EXPECT_EQ(judge.judge(of_row(from), seconds(3)).kind, from.kind) << "and back";
    }
  }
}

TEST(MirrorStatus, a_lag_that_is_the_source_s_own_is_told_as_such) {
  auto facts = with_lag(seconds(60));
  facts.upstream = UpstreamAge{milliseconds(300)};
  EXPECT_EQ(StatusJudge().judge(facts, seconds(1)).reason, "the lag of 60.000 s is over the limit of 5.000 s");
  facts.upstream = UpstreamAge{seconds(59)};
  EXPECT_EQ(StatusJudge().judge(facts, seconds(1)).reason,
            "the lag of 60.000 s is over the limit of 5.000 s; the source itself last heard what it follows or reads "
            "59.000 s ago");
  facts.lag.reset();
  facts.upstream = UpstreamAge{};
  EXPECT_EQ(StatusJudge().judge(facts, seconds(1)).reason,
            "the lag is not known yet; the source does not know how old its own data is: it does not hear what it "
            "follows or reads");
}

TEST(MirrorStatus, of_two_rows_that_hold_the_first_is_the_status) {
  for (std::size_t first = 0; first < rows().size(); ++first) {
    for (std::size_t second = first + 1; second < rows().size(); ++second) {
      SCOPED_TRACE(rows()[first].holds_by + " and " + rows()[second].holds_by);
      auto facts = of_row(rows()[second]);
      rows()[first].make_hold(facts);
      StatusJudge judge;
      const auto status = judge.judge(facts, seconds(1));
      EXPECT_EQ(status.kind, rows()[first].kind);
      EXPECT_FALSE(status.reason.empty());
    }
  }
}

TEST(MirrorStatus, is_that_of_the_first_row_while_all_rows_from_it_on_hold) {
  auto facts = following();
  for (auto row = rows().rbegin(); row != rows().rend(); ++row) {
    row->make_hold(facts);
    StatusJudge judge;
    EXPECT_EQ(judge.judge(facts, seconds(1)).kind, row->kind) << row->holds_by;
  }
}

TEST(MirrorStatus, reasons_are_those_of_the_facts) {
  const auto reason_of = [](const std::string& holds_by) {
    for (const auto& row : rows()) {
      StatusJudge judge;
      if (row.holds_by == holds_by) return judge.judge(of_row(row), seconds(1)).reason;
    }
    return std::string("no such row");
  };
  EXPECT_EQ(reason_of("halted"), "the source was emptied");
  EXPECT_EQ(reason_of("no link"), "the source is unreachable");
  EXPECT_EQ(reason_of("bootstrapping"), "it has no data yet");
  EXPECT_EQ(reason_of("storage"), "the disk is full");
  EXPECT_NE(reason_of("silence").find("30.000 s"), std::string::npos) << reason_of("silence");
  EXPECT_NE(reason_of("lag over").find("5.000 s"), std::string::npos) << reason_of("lag over");
}

TEST(MirrorStatus, control_silence_disconnects_at_30_s_and_not_before) {
  StatusJudge judge;
  auto facts = following();
  facts.control_age = seconds(30) - Duration(1);
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Following);
  facts.control_age = seconds(30);
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Disconnected);
  facts.control_age = milliseconds(1);
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Following) << "one frame ends it";
}

TEST(MirrorStatus, bytes_are_shown_while_bootstrapping_only) {
  auto facts = following();
  facts.bytes_done = 7;
  facts.bytes_total = 9;
  StatusJudge judge;
  const auto without = judge.judge(facts, seconds(1));
  EXPECT_EQ(without.bytes_done, 0u);
  EXPECT_FALSE(without.bytes_total.has_value());
  facts.bootstrapping = true;
  const auto with = judge.judge(facts, seconds(1));
  EXPECT_EQ(with.bytes_done, 7u);
  EXPECT_EQ(with.bytes_total, 9u);
}

TEST(MirrorStatus, a_bootstrap_that_cannot_store_names_the_storage_error) {
  auto facts = following();
  facts.bootstrapping = true;
  facts.storage_error = "the disk is full";
  StatusJudge judge;
  const auto status = judge.judge(facts, seconds(1));
  EXPECT_EQ(status.kind, StatusKind::Bootstrapping);
  EXPECT_NE(status.reason.find("the disk is full"), std::string::npos) << status.reason;
}

TEST(MirrorStatus, an_unknown_lag_is_degraded_whatever_it_was_and_starts_the_hysteresis_anew) {
  auto unknown = following();
  unknown.lag.reset();
  StatusJudge judge;
  EXPECT_EQ(judge.judge(following(), seconds(1)).kind, StatusKind::Following);
  EXPECT_EQ(judge.judge(unknown, seconds(2)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(seconds(4)), seconds(3)).kind, StatusKind::Degraded) << "under it, not for 3 s yet";
  EXPECT_EQ(judge.judge(unknown, seconds(5)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(seconds(4)), seconds(6)).kind, StatusKind::Degraded) << "the 3 s begin anew";
  EXPECT_EQ(judge.judge(with_lag(seconds(4)), seconds(9)).kind, StatusKind::Following);
}

TEST(MirrorStatus, a_mirror_after_its_bootstrap_is_degraded_until_its_lag_is_known) {
  auto facts = following();
  facts.bootstrapping = true;
  facts.lag.reset();
  StatusJudge judge;
  EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Bootstrapping);
  facts.bootstrapping = false;
  EXPECT_EQ(judge.judge(facts, seconds(100)).kind, StatusKind::Degraded);
  facts.lag = milliseconds(20);
  EXPECT_EQ(judge.judge(facts, seconds(101)).kind, StatusKind::Following);
}

TEST(MirrorStatus, degraded_becomes_following_at_once_at_half_of_the_threshold_and_not_above_it) {
  for (const bool sync : {false, true}) {
    StatusJudge judge;
    auto facts = following();
    facts.threshold = lag_threshold(sync, std::nullopt);
    facts.lag = facts.threshold + Duration(1);
    EXPECT_EQ(judge.judge(facts, seconds(1)).kind, StatusKind::Degraded);
    facts.lag = facts.threshold / 2 + Duration(1);
    EXPECT_EQ(judge.judge(facts, seconds(2)).kind, StatusKind::Degraded);
    facts.lag = facts.threshold / 2;
    EXPECT_EQ(judge.judge(facts, seconds(2)).kind, StatusKind::Following);
  }
}

TEST(MirrorStatus, degraded_becomes_following_after_3_s_without_a_break_just_under_the_threshold) {
  const Duration under = seconds(5) - Duration(1);
  const Duration over = seconds(5) + Duration(1);
  StatusJudge judge;
  EXPECT_EQ(judge.judge(with_lag(over), seconds(1)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(under), seconds(2)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(over), seconds(4)).kind, StatusKind::Degraded) << "a break";
  EXPECT_EQ(judge.judge(with_lag(under), seconds(5)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(under), seconds(8) - Duration(1)).kind, StatusKind::Degraded);
  EXPECT_EQ(judge.judge(with_lag(under), seconds(8)).kind, StatusKind::Following);
}

TEST(MirrorStatus, following_becomes_degraded_at_once_over_the_threshold_and_not_at_it) {
  StatusJudge judge;
  EXPECT_EQ(judge.judge(with_lag(seconds(1)), seconds(1)).kind, StatusKind::Following);
  EXPECT_EQ(judge.judge(with_lag(seconds(4)), seconds(1)).kind, StatusKind::Following) << "more than half";
  EXPECT_EQ(judge.judge(with_lag(seconds(5)), seconds(1)).kind, StatusKind::Following);
  EXPECT_EQ(judge.judge(with_lag(seconds(5) + Duration(1)), seconds(1)).kind, StatusKind::Degraded);
}

TEST(MirrorStatus, a_storage_error_that_is_over_leaves_no_hysteresis) {
  auto facts = with_lag(seconds(4));
  StatusJudge judge;
  EXPECT_EQ(judge.judge(following(), seconds(1)).kind, StatusKind::Following);
  facts.storage_error = "the disk is full";
  EXPECT_EQ(judge.judge(facts, seconds(2)).kind, StatusKind::Degraded);
  facts.storage_error.reset();
  EXPECT_EQ(judge.judge(facts, seconds(3)).kind, StatusKind::Following) << "the lag was never over";
}

TEST(MirrorStatus, the_threshold_is_5_s_for_async_whatever_the_round_trip) {
  EXPECT_EQ(lag_threshold(false, std::nullopt), seconds(5));
  EXPECT_EQ(lag_threshold(false, seconds(9)), seconds(5));
}

TEST(MirrorStatus, the_threshold_for_sync_is_three_round_trips_and_a_tenth_of_a_second_at_least) {
  EXPECT_EQ(lag_threshold(true, std::nullopt), milliseconds(100));
  EXPECT_EQ(lag_threshold(true, milliseconds(33)), milliseconds(100));
  EXPECT_EQ(lag_threshold(true, milliseconds(34)), milliseconds(102));
  EXPECT_EQ(lag_threshold(true, seconds(2)), seconds(6));
}

TEST(MirrorStatus, a_sync_mirror_of_an_idle_mirror_stayed_degraded_over_the_age_of_that_ones_last_probe) {
  EXPECT_EQ(lag_threshold(true, std::nullopt, 1), milliseconds(100)) << "of a root";
  EXPECT_EQ(lag_threshold(true, std::nullopt, 2), milliseconds(600));
  EXPECT_EQ(lag_threshold(true, milliseconds(40), 3), milliseconds(1120));
  EXPECT_EQ(lag_threshold(true, std::nullopt, 0), milliseconds(100)) << "its chain is not known yet";
  EXPECT_EQ(lag_threshold(false, std::nullopt, 3), seconds(5));
}

}  // namespace
}  // namespace crosslink::test
