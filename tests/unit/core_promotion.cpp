// A promotion that does not come about at once: what ends it, and that the data's age is judged when it takes writes.
#include "session/mirror/mirror_machine.hpp"

#include <gtest/gtest.h>

#include "regress/mirror_driver.hpp"

namespace crosslink::test {
namespace {

using namespace std::chrono_literals;

/// A mirror that follows and whose lag is known, as of now.
class Promotion : public ::testing::Test {
 protected:
  Promotion() : mirror(true) {
    mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{8}, Lsn{1}, Lsn{8}});
    static_cast<void>(mirror.take());
    mirror.pass(1s);
    for (const auto& one : mirror.take()) {
      const auto* send = std::get_if<action::Send>(&one);
      if (send == nullptr) continue;
      const auto decoded = core::decode_message(std::to_integer<std::uint8_t>(send->frame[0]),
                                                std::span(send->frame).subspan(frame_header_bytes));
      if (!decoded) continue;
      if (const auto* probe = std::get_if<core::Probe>(&decoded->message))
        mirror.hear(mirror.control, core::ProbeReply{probe->t0_us, Lsn{8}, 0});
    }
    EXPECT_TRUE(mirror.machine->lag(mirror.now()).has_value());
    static_cast<void>(mirror.take());
  }
  /// The link is down; the engine is asked to promote.
  void begin(const core::PromotionRequest& request) {
    ASSERT_TRUE(mirror.machine->promote(mirror.now(), request).ok());
    mirror.disconnect();
    ASSERT_EQ(count<action::Promote>(mirror.take()), 1u);
  }
  void expect_following_on() {
    EXPECT_FALSE(mirror.machine->promoted());
    std::size_t dials = 0;
    for (int i = 0; i < 60; ++i) {
      const auto after = mirror.take();
      EXPECT_EQ(count<action::Promote>(after), 0u);
      dials += count<action::Dial>(after);
      if (count<action::Sync>(after) > 0) mirror.engine_answers();  // where it stands after what failed
      mirror.pass(1s);
    }
    EXPECT_EQ(dials, 1u) << "it follows on";
  }
  MirrorDriver mirror;
};

TEST_F(Promotion, is_given_up_in_time_with_what_the_engine_said_and_the_mirror_follows_on) {
  begin({.within = 30s});
  mirror.engine_fails();
  for (int i = 0; i < 29; ++i) {
    mirror.pass(1s);
    EXPECT_FALSE(mirror.machine->given_up());
    if (count<action::Promote>(mirror.take()) > 0) mirror.engine_fails();
  }
  mirror.pass(1s);
  ASSERT_TRUE(mirror.machine->given_up());
  EXPECT_EQ(mirror.machine->given_up()->kind(), ErrorKind::Timeout);
  EXPECT_NE(mirror.machine->given_up()->message().find("the disk is full"), std::string::npos);
  EXPECT_FALSE(mirror.machine->given_up_for_age());
  mirror.pass(30s);
  ASSERT_EQ(count<action::Sync>(mirror.take()), 1u) << "nothing else may be due for long: its error would stay";
  mirror.engine_answers();
  EXPECT_EQ(mirror.machine->status(mirror.now()).reason.find("the disk is full"), std::string::npos);
}

TEST_F(Promotion, judges_the_age_when_it_would_take_writes_and_not_when_it_was_asked_for) {
  begin({.age_max = 10s});
  mirror.engine_fails();
  bool tried = true;
  while (tried && !mirror.machine->given_up()) {
    mirror.pass(5s);
    const auto taken = mirror.take();
    tried = count<action::Promote>(taken) > 0;
    if (tried) mirror.engine_fails();
    if (count<action::Sync>(taken) > 0) mirror.engine_answers();
  }
  ASSERT_TRUE(mirror.machine->given_up()) << "data of 10 s and more would have taken writes";
  EXPECT_TRUE(mirror.machine->given_up_for_age());
  expect_following_on();
}

TEST_F(Promotion, says_how_old_the_data_was_when_it_took_writes) {
  begin({});
  mirror.engine_fails();
  mirror.pass(31s);
  ASSERT_EQ(count<action::Promote>(mirror.take()), 1u);
  mirror.engine_answers();
  ASSERT_TRUE(mirror.machine->promoted());
  ASSERT_TRUE(mirror.machine->age_at_promotion());
  EXPECT_GE(*mirror.machine->age_at_promotion(), 31s);
}

TEST_F(Promotion, ends_by_pause) {
  begin({});
  mirror.engine_fails();
  ASSERT_TRUE(mirror.machine->pause(mirror.now()).ok());
  ASSERT_TRUE(mirror.machine->given_up());
  EXPECT_EQ(mirror.machine->given_up()->kind(), ErrorKind::Cancelled);
  expect_following_on();
  EXPECT_EQ(mirror.machine->status(mirror.now()).kind, StatusKind::Paused);
}

TEST_F(Promotion, ends_by_resume) {
  begin({});
  mirror.engine_fails();
  ASSERT_TRUE(mirror.machine->resume(mirror.now()).ok());
  ASSERT_TRUE(mirror.machine->given_up());
  expect_following_on();
}

TEST_F(Promotion, that_is_under_way_in_the_engine_is_given_up_once_that_has_failed) {
  begin({});
  const auto early = mirror.machine->pause(mirror.now());
  ASSERT_FALSE(early.ok());
  EXPECT_EQ(early.error().kind(), ErrorKind::Busy);
  EXPECT_FALSE(mirror.machine->given_up());
  mirror.engine_fails();
  ASSERT_TRUE(mirror.machine->given_up());
  EXPECT_EQ(mirror.machine->given_up()->kind(), ErrorKind::Cancelled);
  EXPECT_NE(mirror.machine->given_up()->message().find("by pause"), std::string::npos);
  expect_following_on();
}

TEST_F(Promotion, that_was_given_up_and_had_come_about_all_the_same_is_found_when_the_engine_is_asked) {
  begin({});
  EXPECT_FALSE(mirror.machine->pause(mirror.now()).ok());
  mirror.engine_fails();
  mirror.pass(5s);
  ASSERT_EQ(count<action::Sync>(mirror.take()), 1u);
  mirror.mark.promoted_from = PromotedFrom{"prod-us", "orders", *mirror.mark.position};
  mirror.engine_answers();
  EXPECT_TRUE(mirror.machine->promoted());
  EXPECT_EQ(mirror.machine->status(mirror.now()).kind, StatusKind::Promoted);
}

TEST_F(Promotion, wakes_for_its_deadline_whatever_woke_before) {
  ASSERT_TRUE(mirror.machine->promote(mirror.now(), {.within = 2s}).ok());
  mirror.disconnect();
  static_cast<void>(mirror.machine->take_actions());
  mirror.engine_fails();
  bool wakes = false;
  for (const auto& one : mirror.machine->take_actions()) {
    const auto* wake = std::get_if<action::Wake>(&one);
    wakes = wakes || (wake != nullptr && wake->at <= mirror.now() + 2s && wake->at > mirror.now());
  }
  EXPECT_TRUE(wakes) << "a driver keeps the earliest wake only";
}

TEST_F(Promotion, a_stopped_mirror_is_not_promoted) {
  mirror.machine->stop(mirror.now());
  EXPECT_FALSE(mirror.machine->promote(mirror.now()).ok());
}

TEST_F(Promotion, that_is_under_way_in_the_engine_stands_if_that_succeeds) {
  begin({});
  EXPECT_FALSE(mirror.machine->pause(mirror.now()).ok());
  mirror.engine_answers();
  EXPECT_TRUE(mirror.machine->promoted());
  EXPECT_FALSE(mirror.machine->given_up());
}

TEST_F(Promotion, is_given_up_for_age_while_the_engine_cannot_even_say_where_it_stands) {
  begin({.age_max = 10s, .within = 600s});
  mirror.engine_fails();
  mirror.machine->on_position_moved(mirror.now());
  for (int i = 0; i < 10 && !mirror.machine->given_up(); ++i) {
    mirror.pass(5s);
    if (count<action::Sync>(mirror.take()) > 0) mirror.engine_fails();
  }
  ASSERT_TRUE(mirror.machine->given_up());
  EXPECT_TRUE(mirror.machine->given_up_for_age());
  EXPECT_LT(mirror.now(), 60s);
}

TEST_F(Promotion, a_second_one_meanwhile_is_refused) {
  begin({.age_max = 10s});
  const auto second = mirror.machine->promote(mirror.now());
  ASSERT_FALSE(second.ok()) << "it would go on without what the first demands";
  EXPECT_EQ(second.error().kind(), ErrorKind::Busy);
}

}  // namespace
}  // namespace crosslink::test
