#include "session/mirror/link.hpp"

#include <gtest/gtest.h>

#include "regress/mirror_driver.hpp"
#include "session/mirror/probe.hpp"
#include "session/mirror/source_facts.hpp"

namespace crosslink::test {
namespace {

using namespace core::mirror;

class MirrorLinkTest : public ::testing::Test {
 protected:
  static constexpr core::Duration deadline{5'000'000}, cap{30'000'000};
  core::Instant now{1'000'000};
  Outbox out;
  Link link{out, deadline, {core::Duration(1'000'000), cap}};

  void advance(bool wanted = true, bool settled = true) { link.advance(wanted, settled, Lsn{8}, now); }
  void dial() {
    advance();
    ASSERT_EQ(count<action::Dial>(out.take()), 1u);
  }
  void come_up() {
    dial();
    link.on_connected(now);
    link.on_begun();
    out.take();
  }
};

TEST_F(MirrorLinkTest, is_dialed_when_wanted_and_nothing_of_the_last_session_is_left) {
  advance(false);
  advance(true, false);
  EXPECT_EQ(count<action::Dial>(out.take()), 0u);
  dial();
  advance();
  EXPECT_EQ(count<action::Dial>(out.take()), 0u);
}

TEST_F(MirrorLinkTest, the_first_dial_is_no_reconnect) {
  for (const bool again : {false, true}) {
    advance();
    const auto said = out.take();
    ASSERT_EQ(said.size(), 1u);
    EXPECT_EQ(std::get<action::Dial>(said[0]).reconnect, again);
    link.on_connected(now);
    EXPECT_TRUE(link.on_disconnected(MirrorError::not_connected("the peer left")));
    EXPECT_EQ(link.reason(), link.last_error()->message());
    out.take();
  }
  EXPECT_FALSE(link.on_disconnected(MirrorError::not_connected("twice")));
}

TEST_F(MirrorLinkTest, a_source_that_does_not_begin_is_left) {
  dial();
  link.on_connected(now);
  out.take();
  now += deadline;
  advance();
  EXPECT_EQ(count<action::CloseLink>(out.take()), 1u);
  EXPECT_EQ(link.last_error()->kind(), ErrorKind::Timeout);
  // Closed by this side: what the transport says of it is no news.
  EXPECT_TRUE(link.on_disconnected(MirrorError::not_connected("closed")));
  EXPECT_EQ(link.last_error()->kind(), ErrorKind::Timeout);
}

TEST_F(MirrorLinkTest, a_hard_rejection_waits_long_and_an_operator_ends_that) {
  dial();
  link.on_dial_failed({ErrorKind::UnknownDatabase, CausedBy::peer, "there is none"}, now);
  out.take();
  advance();
  EXPECT_EQ(count<action::Dial>(out.take()), 0u);
  link.retry_at_once();
  dial();
  link.on_dial_failed({ErrorKind::UnknownDatabase, CausedBy::peer, "there is none"}, now);
  now += cap;
  dial();
}

TEST_F(MirrorLinkTest, a_dial_that_was_cancelled_is_no_error_of_the_source) {
  dial();
  link.on_dial_failed(MirrorError::cancelled("the dial"), now);
  EXPECT_FALSE(link.last_error());
  EXPECT_TRUE(link.down());
}

TEST_F(MirrorLinkTest, a_session_that_was_ended_here_was_said_to_stand) {
  come_up();
  link.close();
  EXPECT_EQ(link.reason(), "the session was ended here, and is begun anew");
  link.on_disconnected(MirrorError::not_connected("closed"));
  come_up();
  advance(false);
  EXPECT_EQ(link.reason(), "the session was ended here, and is begun anew");
  link.on_disconnected(MirrorError::not_connected("closed"));
  come_up();
  link.note(MirrorError::timeout("the source was silent"), true);
  link.close();
  EXPECT_EQ(link.reason(), "the source was silent") << "why it was ended goes before that it was";
}

TEST_F(MirrorLinkTest, closes_once) {
  come_up();
  advance(false);
  advance(false);
  link.close();
  EXPECT_EQ(count<action::CloseLink>(out.take()), 1u);
  EXPECT_FALSE(link.open());
}

// --- what the source says of itself --------------------------------------------------------------------------------

core::SessionBegin a_begin() {
  core::SessionBegin begin;
  begin.features = core::feature_verify;
  begin.in_flight_bytes_max = 4 * 1024 * 1024;
  Incarnation incarnation;
  incarnation.bytes.fill(std::byte{1});
  begin.source = core::SessionBegin::Source{
      {"prod-us/orders"}, incarnation, History::beginning({incarnation, Lsn{1}, HistoryCause::created}), {}};
  return begin;
}

TEST(SourceFacts, the_smaller_cap_and_the_common_features_count) {
  SourceFacts facts;
  auto begin = a_begin();
  begin.features |= 1ull << 40;
  ASSERT_TRUE(facts.on_begin(begin, "eu-1/orders", 64 * 1024 * 1024).ok());
  EXPECT_EQ(facts.cap_bytes(), 4u * 1024 * 1024);
  EXPECT_TRUE(facts.can_verify());
  EXPECT_FALSE(facts.can_limit());
  ASSERT_TRUE(facts.on_begin(begin, "eu-1/orders", 2 * 1024 * 1024).ok());
  EXPECT_EQ(facts.cap_bytes(), 2u * 1024 * 1024);
}

TEST(SourceFacts, a_loop_and_a_long_chain_need_an_operator) {
  SourceFacts facts;
  EXPECT_EQ(facts.on_begin(a_begin(), "prod-us/orders", 1 << 24).error().kind(), ErrorKind::UnsupportedOperation);
  auto begin = a_begin();
  begin.source->chain.assign(core::chain_max, "another/one");
  EXPECT_EQ(facts.on_begin(begin, "eu-1/orders", 1 << 24).error().kind(), ErrorKind::UnsupportedOperation);
  EXPECT_FALSE(facts.source());
}

TEST(SourceFacts, a_session_begin_without_its_history_is_refused) {
  SourceFacts facts;
  auto begin = a_begin();
  begin.source.reset();
  EXPECT_EQ(facts.on_begin(begin, "eu-1/orders", 1 << 24).error().kind(), ErrorKind::ProtocolViolation);
  begin = a_begin();
  begin.in_flight_bytes_max = core::in_flight_bytes_min - 1;
  EXPECT_EQ(facts.on_begin(begin, "eu-1/orders", 1 << 24).error().kind(), ErrorKind::ProtocolViolation);
}

TEST(SourceFacts, the_head_rises_with_entries_and_is_what_a_reply_says) {
  SourceFacts facts;
  facts.on_entry(Lsn{5});
  facts.on_entry(Lsn{4});
  EXPECT_EQ(facts.head(), Lsn{5});
  facts.on_reply({1, Lsn{3}, 0});
  EXPECT_EQ(facts.head(), Lsn{3});
}

// --- the probe -----------------------------------------------------------------------------------------------------

class LagProbeTest : public ::testing::Test {
 protected:
  static constexpr core::Duration threshold{400'000};
  core::Instant now{1'000'000};
  Outbox out;
  LagProbe probe{out};

  std::size_t probes(std::optional<core::Duration> max_lag = {}) {
    probe.advance(MirrorDriver::control, threshold, max_lag, now);
    return sent<core::Probe>(out.take());
  }
};

TEST_F(LagProbeTest, asks_four_times_within_what_is_to_be_seen) {
  EXPECT_EQ(probes(), 1u);
  now += threshold / 4 - core::Duration(1);
  EXPECT_EQ(probes(), 0u);
  now += core::Duration(1);
  EXPECT_EQ(probes(), 1u);
  now += core::Duration(10'000);
  EXPECT_EQ(probes(core::Duration(40'000)), 1u);
}

TEST_F(LagProbeTest, never_has_more_on_the_way_than_it_may) {
  std::size_t asked = 0;
  for (std::size_t i = 0; i < 3 * core::LagTracker::pending_max; ++i, now += threshold)
    asked += probes();
  EXPECT_EQ(asked, core::LagTracker::pending_max);
  probe.on_session_end();
  EXPECT_EQ(probes(), 1u);
}

TEST_F(LagProbeTest, a_mirror_that_is_caught_up_for_a_while_makes_progress) {
  std::size_t progress = 0;
  for (int i = 0; i < 400; ++i, now += threshold / 4) {
    const auto t0 = static_cast<std::uint64_t>(now.count());
    probe.advance(MirrorDriver::control, threshold, {}, now);
    ASSERT_TRUE(probe.on_reply({t0, Lsn{8}, 0}, Lsn{8}, now).ok());
    progress += count<action::Progress>(out.take());
  }
  EXPECT_EQ(progress, 1u);
  EXPECT_EQ(probe.lag(now), threshold / 4);
}

}  // namespace
}  // namespace crosslink::test
