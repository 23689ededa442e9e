#include "session/mirror/engine_calls.hpp"

#include <gtest/gtest.h>

#include "regress/mirror_driver.hpp"
#include "session/mirror/flow_control.hpp"
#include "session/mirror/promotion.hpp"

namespace crosslink::test {
namespace {

using namespace core::mirror;

constexpr core::Duration retry_base{1'000'000}, retry_cap{4'000'000}, sync_every{1'000'000};
const MirrorError full(ErrorKind::Storage, CausedBy::us, "the disk is full");

core::EngineMark at(std::uint64_t applied, std::uint64_t durable) {
  core::EngineMark mark;
  mark.position = Position{{}, {}, {}, Lsn{applied}, Lsn{applied}};
  mark.durable = Lsn{durable};
  return mark;
}

class EngineCallsTest : public ::testing::Test {
 protected:
  core::Instant now{1'000'000};
  Outbox out;
  EngineCalls engine{out, at(8, 8), {retry_base, retry_cap}, sync_every};
};

TEST_F(EngineCallsTest, one_call_is_under_way_until_it_answers) {
  EXPECT_FALSE(engine.busy());
  engine.start({call::Promote{}, action::Promote{}});
  EXPECT_TRUE(engine.is<call::Promote>());
  EXPECT_FALSE(engine.is<call::Sync>());
  EXPECT_TRUE(std::holds_alternative<call::Promote>(engine.take()));
  EXPECT_FALSE(engine.busy());
  EXPECT_EQ(count<action::Promote>(out.take()), 1u);
}

TEST_F(EngineCallsTest, a_failure_waits_twice_as_long_each_time_up_to_the_cap) {
  for (const auto wait : {retry_base, 2 * retry_base, retry_cap, retry_cap}) {
    engine.on_storage_error(full, now);
    EXPECT_FALSE(engine.may_call(now + wait - core::Duration(1)));
    now += wait;
    EXPECT_TRUE(engine.may_call(now));
  }
  EXPECT_FALSE(engine.on_answer(at(9, 8)));
  EXPECT_FALSE(engine.storage_error());
  engine.on_storage_error(full, now);
  EXPECT_TRUE(engine.may_call(now + retry_base));
}

TEST_F(EngineCallsTest, what_it_had_applied_and_lost_is_told) {
  EXPECT_FALSE(engine.on_answer(at(9, 8)));
  EXPECT_TRUE(engine.on_answer(at(8, 8)));
  EXPECT_FALSE(engine.on_answer({}));
}

TEST_F(EngineCallsTest, what_is_applied_becomes_durable_at_once_for_a_source_that_waits_and_else_after_a_while) {
  EXPECT_FALSE(engine.wants_sync(true, now));
  engine.on_answer(at(9, 8));
  EXPECT_TRUE(engine.wants_sync(true, now));
  EXPECT_FALSE(engine.wants_sync(false, now));
  EXPECT_TRUE(engine.wants_sync(false, now + sync_every));
  engine.on_answer(at(9, 9));
  EXPECT_FALSE(engine.wants_sync(true, now));
}

TEST_F(EngineCallsTest, where_it_stands_is_asked_once) {
  engine.reread();
  EXPECT_TRUE(engine.unknown());
  EXPECT_TRUE(engine.on_reread());
  EXPECT_FALSE(engine.on_reread());
  EXPECT_FALSE(engine.unknown());
}

// --- flow control --------------------------------------------------------------------------------------------------

TEST(MirrorFlowControl, reading_stops_at_the_cap_and_goes_on_at_three_quarters_of_it) {
  Outbox out;
  core::ThrottleAccount throttle(0);
  FlowControl flow(out, throttle);
  flow.on_session_begin(1'000'000);
  const auto said = [&](std::uint64_t units) {
    flow.advance({units, 0, 0}, true);
    std::vector<bool> allowed;
    for (const auto& one : out.take())
      allowed.push_back(std::get<action::ReadBulk>(one).allowed);
    return allowed;
  };
  EXPECT_EQ(said(999'999), std::vector<bool>{});
  EXPECT_EQ(said(1'000'000), std::vector<bool>{false});
  EXPECT_EQ(said(750'001), std::vector<bool>{});
  EXPECT_EQ(said(750'000), std::vector<bool>{true});
  EXPECT_EQ(said(750'000), std::vector<bool>{});
}

TEST(MirrorFlowControl, many_small_items_and_whole_entries_of_fragments_count_as_memory) {
  Outbox out;
  core::ThrottleAccount throttle(0);
  FlowControl flow(out, throttle);
  flow.on_session_begin(1'000'000);
  flow.advance({0, 0, 2000}, true);
  EXPECT_EQ(count<action::ReadBulk>(out.take()), 1u);
  flow.advance({0, 1'000'000, 0}, true);
  EXPECT_EQ(count<action::ReadBulk>(out.take()), 0u);
  flow.advance({}, true);
  EXPECT_EQ(count<action::ReadBulk>(out.take()), 1u);
}

TEST(MirrorFlowControl, a_source_that_goes_on_far_over_the_cap_breaks_it) {
  Outbox out;
  core::ThrottleAccount throttle(0);
  FlowControl flow(out, throttle);
  flow.on_session_begin(1'000'000);
  std::uint64_t held = 0;
  while (flow.take_in(1'000'000).ok())
    held += 1'000'000;
  EXPECT_EQ(held, 4'000'000u);  // the cap, and 2 MiB over it, and what crosses that
  EXPECT_EQ(flow.take_in(1).error().kind(), ErrorKind::BytesInFlightCapExceeded);
  EXPECT_EQ(flow.received_bytes(), held);
  flow.advance({}, true);
  EXPECT_TRUE(flow.take_in(1).ok());
}

// --- promotion -----------------------------------------------------------------------------------------------------

TEST(MirrorPromotion, one_that_is_given_up_during_the_call_waits_for_its_failure) {
  Promotion promotion;
  EXPECT_FALSE(promotion.give_up(MirrorError::cancelled("nothing"), false));
  promotion.begin({}, core::Instant{0});
  EXPECT_FALSE(promotion.give_up(MirrorError::cancelled("the promotion, by pause"), true));
  EXPECT_TRUE(promotion.active());
  ASSERT_TRUE(promotion.giving_up());
  EXPECT_FALSE(promotion.given_up());
  EXPECT_TRUE(promotion.give_up(*promotion.giving_up(), false));
  EXPECT_FALSE(promotion.active());
  EXPECT_EQ(promotion.given_up()->kind(), ErrorKind::Cancelled);
}

TEST(MirrorPromotion, the_deadline_names_what_kept_it) {
  Promotion promotion;
  Outbox out;
  promotion.begin({false, std::nullopt, core::Duration(30'000'000)}, core::Instant{0});
  EXPECT_FALSE(promotion.overdue(full, core::Instant{29'999'999}, out));
  EXPECT_EQ(count<action::Wake>(out.take()), 1u);
  const auto why = promotion.overdue(full, core::Instant{30'000'000}, out);
  ASSERT_TRUE(why);
  EXPECT_NE(why->message().find("not promoted within 30 s: "), std::string::npos);
  EXPECT_NE(why->message().find("the disk is full"), std::string::npos);
}

TEST(MirrorPromotion, data_that_is_too_old_or_of_unknown_age_is_not_promoted) {
  Promotion promotion;
  promotion.begin({false, core::Duration(5'000'000), std::nullopt}, core::Instant{0});
  EXPECT_FALSE(promotion.too_old(core::Duration(5'000'000)));
  EXPECT_FALSE(promotion.given_up_for_age());
  EXPECT_TRUE(promotion.too_old(core::Duration(5'000'001)));
  EXPECT_TRUE(promotion.given_up_for_age());
  promotion.forget_outcome();
  EXPECT_TRUE(promotion.too_old(std::nullopt));
  Promotion any;
  any.begin({}, core::Instant{0});
  EXPECT_FALSE(any.too_old(std::nullopt));
}

TEST(MirrorPromotion, each_one_is_counted_and_done_forgets_why_an_earlier_one_was_not) {
  Promotion promotion;
  promotion.begin({}, core::Instant{0});
  promotion.give_up(MirrorError::cancelled("it"), false);
  promotion.begin({}, core::Instant{0});
  EXPECT_EQ(promotion.begun(), 2u);
  promotion.on_promoted(core::Duration(3));
  EXPECT_FALSE(promotion.given_up());
  EXPECT_EQ(promotion.age_at_promotion(), core::Duration(3));
}

}  // namespace
}  // namespace crosslink::test
