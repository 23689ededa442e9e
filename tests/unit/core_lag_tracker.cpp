// docs/protocol.md, "0x09 Probe": lag without comparing clocks.
#include "session/lag_tracker.hpp"

#include <gtest/gtest.h>

namespace crosslink::test {
namespace {

using namespace core;

constexpr Instant at(std::int64_t microseconds) { return Instant(microseconds); }

ProbeReply reply(const Probe& probe, std::uint64_t head, std::optional<std::uint64_t> upstream_us = 0) {
  return {probe.t0_us, Lsn{head}, upstream_us};
}

/// A probe sent at `t0` and answered at once.
void measure(LagTracker& lag, std::int64_t t0, std::uint64_t head, std::uint64_t applied,
             std::optional<std::uint64_t> upstream_us = 0) {
  ASSERT_TRUE(lag.on_reply(reply(lag.probe(at(t0)), head, upstream_us), Lsn{applied}, at(t0)).ok());
}

void expect_violation(LagTracker& lag, const ProbeReply& wrong) {
  const auto refused = lag.on_reply(wrong, Lsn{100}, at(1'000));
  ASSERT_FALSE(refused.ok()) << wrong.t0_us;
  EXPECT_EQ(refused.error().kind(), ErrorKind::ProtocolViolation);
  EXPECT_EQ(refused.error().caused_by(), CausedBy::peer);
}

TEST(LagTracker, is_unknown_until_a_head_is_reached) {
  LagTracker lag;
  EXPECT_FALSE(lag.lag(at(0)).has_value());
  lag.on_applied(Lsn{6}, at(1));
  EXPECT_FALSE(lag.lag(at(1)).has_value()) << "entries alone measure nothing";
  const auto probe = lag.probe(at(1'000));
  EXPECT_FALSE(lag.lag(at(2'000)).has_value()) << "not answered";
  ASSERT_TRUE(lag.on_reply(reply(probe, 7), Lsn{6}, at(3'000)).ok());
  EXPECT_FALSE(lag.lag(at(3'000)).has_value()) << "answered, LSN 7 is not applied";
  lag.on_applied(Lsn{7}, at(4'000));
  EXPECT_EQ(lag.lag(at(4'000)), Duration(3'000)) << "counted from when the probe left";
}

TEST(LagTracker, is_measured_by_the_reply_itself_when_the_head_is_already_applied) {
  LagTracker lag;
  const auto probe = lag.probe(at(1'000));
  ASSERT_TRUE(lag.on_reply(reply(probe, 7), Lsn{7}, at(1'300)).ok());
  EXPECT_EQ(lag.lag(at(1'300)), Duration(300));
}

TEST(LagTracker, grows_with_time_and_is_set_back_by_the_next_head_only) {
  LagTracker lag;
  measure(lag, 1'000, 7, 7);
  EXPECT_EQ(lag.lag(at(1'000)), Duration(0));
  EXPECT_EQ(lag.lag(at(9'000)), Duration(8'000));
  lag.on_applied(Lsn{9}, at(9'500));
  EXPECT_EQ(lag.lag(at(9'500)), Duration(8'500)) << "entries without a probe prove nothing new";
  measure(lag, 9'600, 9, 9);
  EXPECT_EQ(lag.lag(at(9'700)), Duration(100));
}

TEST(LagTracker, what_a_late_reply_said_is_as_old_as_its_probe) {
  LagTracker lag;
  EXPECT_FALSE(lag.answered_probe_at().has_value());
  const auto first = lag.probe(at(1'000));
  const auto second = lag.probe(at(2'000));
  EXPECT_FALSE(lag.answered_probe_at().has_value()) << "not answered";
  // The process was stopped: replies of the time before are read minutes later.
  ASSERT_TRUE(lag.on_reply(reply(first, 7), Lsn{7}, at(90'000'000)).ok());
  EXPECT_EQ(lag.answered_probe_at(), at(1'000));
  ASSERT_TRUE(lag.on_reply(reply(second, 7), std::nullopt, at(90'000'001)).ok());
  EXPECT_EQ(lag.answered_probe_at(), at(2'000)) << "also while LSNs cannot be compared";
  lag.on_session_end();
  EXPECT_EQ(lag.answered_probe_at(), at(2'000)) << "what it said then is still what is known";
}

TEST(LagTracker, is_never_below_zero) {
  LagTracker lag;
  measure(lag, 1'000, 1, 1);
  EXPECT_EQ(lag.lag(at(900)), Duration(0));
}

TEST(LagTracker, counts_the_lag_of_the_source_itself) {
  LagTracker lag;
  measure(lag, 10'000, 3, 3, 4'000);
  EXPECT_EQ(lag.lag(at(11'000)), Duration(5'000));
}

TEST(LagTracker, caught_up_never_falls_when_the_source_lags_more) {
  LagTracker lag;
  measure(lag, 10'000, 3, 3, 1'000);
  measure(lag, 11'000, 3, 3, 9'000);
  EXPECT_EQ(lag.lag(at(12'000)), Duration(3'000)) << "from 9000, not from 2000";
}

TEST(LagTracker, bears_an_upstream_lag_of_any_size) {
  LagTracker lag;
  measure(lag, 10'000, 3, 3, UINT64_MAX);
  ASSERT_TRUE(lag.lag(at(20'000)).has_value());
  EXPECT_GT(*lag.lag(at(20'000)), std::chrono::hours(24 * 365));
}

TEST(LagTracker, is_unknown_when_the_sources_own_is_and_known_again_with_it) {
  LagTracker lag;
  measure(lag, 1'000, 3, 3);
  EXPECT_TRUE(lag.lag(at(1'000)).has_value());
  measure(lag, 2'000, 3, 3, std::nullopt);
  EXPECT_FALSE(lag.lag(at(2'000)).has_value());
  measure(lag, 3'000, 3, 3, 500);
  EXPECT_EQ(lag.lag(at(3'000)), Duration(500));
}

TEST(LagTracker, is_unknown_when_a_head_reached_later_came_with_an_unknown_upstream) {
  LagTracker lag;
  measure(lag, 1'000, 3, 3);
  measure(lag, 2'000, 5, 3, std::nullopt);
  lag.on_applied(Lsn{5}, at(3'000));
  EXPECT_FALSE(lag.lag(at(3'000)).has_value());
}

TEST(LagTracker, each_head_counts_when_it_is_reached) {
  LagTracker lag;
  measure(lag, 1'000, 10, 0);
  measure(lag, 2'000, 20, 0);
  measure(lag, 3'000, 30, 0);
  lag.on_applied(Lsn{9}, at(5'000));
  EXPECT_FALSE(lag.lag(at(5'000)).has_value());
  lag.on_applied(Lsn{10}, at(5'000));
  EXPECT_EQ(lag.lag(at(5'000)), Duration(4'000));
  lag.on_applied(Lsn{19}, at(5'000));
  EXPECT_EQ(lag.lag(at(5'000)), Duration(4'000));
  lag.on_applied(Lsn{35}, at(5'000));
  EXPECT_EQ(lag.lag(at(5'000)), Duration(2'000)) << "two heads at once: the newer counts";
}

TEST(LagTracker, refuses_a_reply_to_a_probe_that_was_never_sent) {
  LagTracker lag;
  expect_violation(lag, {5, Lsn{1}, 0});
  static_cast<void>(lag.probe(at(5)));
  expect_violation(lag, {6, Lsn{1}, 0});
  expect_violation(lag, {UINT64_MAX, Lsn{1}, 0});
  EXPECT_FALSE(lag.lag(at(10)).has_value()) << "nothing was measured by them";
}

TEST(LagTracker, refuses_a_second_reply_to_the_same_probe) {
  LagTracker lag;
  const auto probe = lag.probe(at(5));
  ASSERT_TRUE(lag.on_reply(reply(probe, 1), Lsn{1}, at(6)).ok());
  expect_violation(lag, reply(probe, 1));
}

TEST(LagTracker, refuses_a_reply_that_falls_and_takes_one_that_leaves_probes_out) {
  LagTracker lag;
  const auto first = lag.probe(at(1));
  const auto second = lag.probe(at(2));
  const auto third = lag.probe(at(3));
  ASSERT_TRUE(lag.on_reply(reply(second, 1), Lsn{1}, at(4)).ok());
  expect_violation(lag, reply(first, 1));
  EXPECT_TRUE(lag.on_reply(reply(third, 1), Lsn{1}, at(5)).ok());
}

TEST(LagTracker, refuses_a_reply_that_was_sent_for_in_an_earlier_session) {
  LagTracker lag;
  const auto probe = lag.probe(at(5));
  lag.on_session_end();
  expect_violation(lag, reply(probe, 1));
}

TEST(LagTracker, probes_rise_even_within_one_instant_and_over_sessions) {
  LagTracker lag;
  const auto first = lag.probe(at(5));
  EXPECT_EQ(first.t0_us, 5u);
  const auto second = lag.probe(at(5));
  EXPECT_GT(second.t0_us, first.t0_us);
  lag.on_session_end();
  EXPECT_GT(lag.probe(at(5)).t0_us, second.t0_us);
}

TEST(LagTracker, is_full_at_64_probes_without_an_answer) {
  LagTracker lag;
  Probe last;
  for (int i = 0; i < 64; ++i) {
    EXPECT_FALSE(lag.full()) << i;
    last = lag.probe(at(i));
  }
  EXPECT_TRUE(lag.full());
  ASSERT_TRUE(lag.on_reply(reply(last, 1), Lsn{0}, at(100)).ok());
  EXPECT_FALSE(lag.full()) << "an answer whose head is not reached makes room as well";
}

TEST(LagTracker, is_not_full_in_a_new_session) {
  LagTracker lag;
  while (!lag.full())
    static_cast<void>(lag.probe(at(1)));
  lag.on_session_end();
  EXPECT_FALSE(lag.full());
}

TEST(LagTracker, a_reply_without_a_comparable_applied_lsn_measures_nothing) {
  LagTracker lag;
  const auto probe = lag.probe(at(1));
  ASSERT_TRUE(lag.on_reply(reply(probe, 3), std::nullopt, at(2)).ok());
  lag.on_applied(Lsn{100}, at(3));
  EXPECT_FALSE(lag.lag(at(3)).has_value());
  expect_violation(lag, reply(probe, 3));
}

TEST(LagTracker, forgets_what_was_measured_and_the_heads_still_to_be_reached) {
  LagTracker lag;
  measure(lag, 1'000, 1, 1);
  measure(lag, 2'000, 5, 1);
  lag.forget();
  EXPECT_FALSE(lag.lag(at(3'000)).has_value());
  lag.on_applied(Lsn{5}, at(3'000));
  EXPECT_FALSE(lag.lag(at(3'000)).has_value());
  measure(lag, 4'000, 5, 5);
  EXPECT_EQ(lag.lag(at(4'100)), Duration(100)) << "and measures anew";
}

TEST(LagTracker, keeps_what_was_measured_when_the_session_ends_and_not_what_was_not) {
  LagTracker lag;
  measure(lag, 1'000, 1, 1);
  measure(lag, 2'000, 5, 1);
  lag.on_session_end();
  EXPECT_EQ(lag.lag(at(3'000)), Duration(2'000));
  lag.on_applied(Lsn{5}, at(3'000));
  EXPECT_EQ(lag.lag(at(3'000)), Duration(2'000)) << "head 5 was of the session that ended";
}

constexpr std::int64_t step = 1'000;

/// Probe i leaves at i * step and says that the head is i.
LagTracker with_heads(std::int64_t heads) {
  LagTracker lag;
  for (std::int64_t i = 1; i <= heads; ++i)
    measure(lag, i * step, static_cast<std::uint64_t>(i), 0);
  return lag;
}

TEST(LagTracker, keeps_all_of_64_heads_to_be_reached) {
  auto lag = with_heads(64);
  const auto now = at(1'000'000);
  for (std::int64_t applied = 1; applied <= 64; ++applied) {
    lag.on_applied(Lsn{static_cast<std::uint64_t>(applied)}, now);
    EXPECT_EQ(lag.lag(now), now - at(applied * step)) << applied;
  }
}

TEST(LagTracker, drops_a_middle_head_of_65_and_keeps_the_oldest_and_the_newest) {
  auto lag = with_heads(65);
  const auto now = at(1'000'000);
  int dropped = 0;
  for (std::int64_t applied = 1; applied <= 65; ++applied) {
    lag.on_applied(Lsn{static_cast<std::uint64_t>(applied)}, now);
    ASSERT_TRUE(lag.lag(now).has_value()) << "the oldest is kept";
    if (*lag.lag(now) == now - at(applied * step)) continue;
    EXPECT_EQ(*lag.lag(now), now - at((applied - 1) * step)) << "the head before it counts";
    EXPECT_GT(applied, 16);
    EXPECT_LT(applied, 50);
    ++dropped;
  }
  EXPECT_EQ(dropped, 1);
}

TEST(LagTracker, never_understates_however_many_heads_were_dropped) {
  for (const std::int64_t heads : {66, 128, 1'000}) {
    auto lag = with_heads(heads);
    const auto now = at(heads * step);
    for (std::int64_t applied = 1; applied <= heads; ++applied) {
      lag.on_applied(Lsn{static_cast<std::uint64_t>(applied)}, now);
      ASSERT_TRUE(lag.lag(now).has_value());
      EXPECT_GE(*lag.lag(now), now - at(applied * step)) << applied << " of " << heads;
    }
    EXPECT_EQ(lag.lag(now), Duration(0)) << "the newest head is kept";
  }
}

}  // namespace
}  // namespace crosslink::test
