#include <gtest/gtest.h>

#include "core/lag_tracker.hpp"

namespace crosslink::test {
namespace {

using namespace core;

constexpr Instant at(std::int64_t microseconds) { return Instant(microseconds); }

ProbeReply reply(const Probe& probe, std::uint64_t head, std::optional<std::uint64_t> upstream_us = 0) {
  return {probe.t0_us, Lsn{head}, upstream_us};
}

TEST(Lag, is_unknown_until_a_head_is_reached_and_then_counts_from_when_the_probe_left) {
  LagTracker lag;
  EXPECT_FALSE(lag.lag(at(0)).has_value());
  const auto probe = lag.probe(at(1'000));
  ASSERT_TRUE(lag.on_reply(reply(probe, 7), Lsn{5}, at(3'000)).ok());
  EXPECT_FALSE(lag.lag(at(3'000)).has_value()) << "LSN 7 is not applied yet";
  lag.on_applied(Lsn{6}, at(3'500));
  EXPECT_FALSE(lag.lag(at(3'500)).has_value());
  lag.on_applied(Lsn{7}, at(4'000));
  EXPECT_EQ(lag.lag(at(4'000)), Duration(3'000));
  EXPECT_EQ(lag.lag(at(9'000)), Duration(8'000)) << "it grows while nothing comes";
}

TEST(Lag, of_a_chain_is_counted_from_the_root) {
  LagTracker lag;
  const auto probe = lag.probe(at(10'000));
  ASSERT_TRUE(lag.on_reply(reply(probe, 3, 4'000), Lsn{3}, at(11'000)).ok());
  EXPECT_EQ(lag.lag(at(11'000)), Duration(5'000));
}

TEST(Lag, is_unknown_when_the_sources_own_is) {
  LagTracker lag;
  ASSERT_TRUE(lag.on_reply(reply(lag.probe(at(1)), 3), Lsn{3}, at(2)).ok());
  EXPECT_TRUE(lag.lag(at(2)).has_value());
  ASSERT_TRUE(lag.on_reply(reply(lag.probe(at(3)), 3, std::nullopt), Lsn{3}, at(4)).ok());
  EXPECT_FALSE(lag.lag(at(4)).has_value());
}

TEST(Lag, is_not_measured_while_the_applied_lsn_cannot_be_compared) {
  LagTracker lag;
  ASSERT_TRUE(lag.on_reply(reply(lag.probe(at(1)), 3), std::nullopt, at(2)).ok());
  lag.on_applied(Lsn{100}, at(3));
  EXPECT_FALSE(lag.lag(at(3)).has_value());
}

TEST(Lag, refuses_answers_to_probes_that_were_not_sent_or_were_answered) {
  LagTracker lag;
  const auto first = lag.probe(at(1));
  const auto second = lag.probe(at(2));
  ASSERT_TRUE(lag.on_reply(reply(second, 1), Lsn{1}, at(3)).ok());
  for (const auto& wrong : {first, second, Probe{77}}) {
    const auto refused = lag.on_reply(reply(wrong, 1), Lsn{1}, at(4));
    ASSERT_FALSE(refused.ok()) << wrong.t0_us;
    EXPECT_EQ(refused.error().kind(), ErrorKind::ProtocolViolation);
  }
}

TEST(Lag, probes_of_one_instant_differ_and_as_many_as_may_be_are_under_way) {
  LagTracker lag;
  const auto first = lag.probe(at(5));
  const auto second = lag.probe(at(5));
  EXPECT_LT(first.t0_us, second.t0_us);
  for (std::size_t i = 2; i < LagTracker::pending_max; ++i) {
    EXPECT_FALSE(lag.full());
    static_cast<void>(lag.probe(at(6)));
  }
  EXPECT_TRUE(lag.full());
  lag.on_session_end();
  EXPECT_FALSE(lag.full());
}

TEST(Lag, drops_middle_heads_rather_than_understate) {
  LagTracker lag;
  constexpr std::uint64_t heads = 200;
  for (std::uint64_t i = 1; i <= heads; ++i) {
    const auto probe = lag.probe(at(static_cast<std::int64_t>(i) * 1'000));
    ASSERT_TRUE(lag.on_reply(reply(probe, i), Lsn{0}, at(static_cast<std::int64_t>(i) * 1'000)).ok());
  }
  for (std::uint64_t applied = 1; applied <= heads; ++applied) {
    const auto now = at(1'000'000);
    lag.on_applied(Lsn{applied}, now);
    const auto truth = now - at(static_cast<std::int64_t>(applied) * 1'000);
    ASSERT_TRUE(lag.lag(now).has_value());
    EXPECT_GE(*lag.lag(now), truth) << applied;
  }
  EXPECT_EQ(lag.lag(at(1'000'000)), Duration(800'000)) << "the newest head is kept";
}

TEST(Lag, is_forgotten_when_the_data_was_taken_back_and_kept_over_a_lost_session) {
  LagTracker lag;
  ASSERT_TRUE(lag.on_reply(reply(lag.probe(at(1'000)), 1), Lsn{1}, at(2'000)).ok());
  lag.on_session_end();
  EXPECT_EQ(lag.lag(at(2'000)), Duration(1'000));
  lag.forget();
  EXPECT_FALSE(lag.lag(at(2'000)).has_value());
}

}  // namespace
}  // namespace crosslink::test
