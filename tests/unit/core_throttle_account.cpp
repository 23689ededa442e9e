#include <gtest/gtest.h>

#include "crosslink/throttle.hpp"
#include "session/throttle_account.hpp"

namespace crosslink::test {
namespace {

using core::ThrottleAccount;

TEST(ThrottleAccount, counts_what_was_charged_and_not_yet_acked) {
  ThrottleAccount account(100);
  EXPECT_EQ(account.cap(), 100U);
  const auto first = account.charge(30);
  const auto second = account.charge(20);
  EXPECT_EQ(account.in_flight(), 50U);
  account.ack(first);
  EXPECT_EQ(account.in_flight(), 20U);
  account.ack(second);
  EXPECT_EQ(account.in_flight(), 0U);
}

TEST(ThrottleAccount, saturates_at_zero) {
  ThrottleAccount account(100);
  const auto ticket = account.charge(10);
  account.ack(11);
  EXPECT_EQ(account.in_flight(), 0U);
  account.ack(ticket);
  account.ack(UINT64_MAX);
  EXPECT_EQ(account.in_flight(), 0U);
  EXPECT_EQ(account.charge(5).bytes, 5U);
  EXPECT_EQ(account.in_flight(), 5U);
}

TEST(ThrottleAccount, forgets_on_reset_and_a_ticket_from_before_changes_nothing) {
  ThrottleAccount account(100);
  const auto old = account.charge(60);
  account.reset();
  EXPECT_EQ(account.in_flight(), 0U);
  const auto fresh = account.charge(60);
  account.ack(old);
  EXPECT_EQ(account.in_flight(), 60U);
  account.ack(fresh);
  EXPECT_EQ(account.in_flight(), 0U);
}

TEST(ThrottleAccount, takes_an_ack_in_bytes_for_the_current_stretch) {
  ThrottleAccount account(100);
  account.charge(60);
  account.reset();
  account.charge(50);
  account.ack(20);
  EXPECT_EQ(account.in_flight(), 30U);
}

TEST(ThrottleAccount, can_send_below_the_cap_only) {
  for (const std::uint64_t cap : {std::uint64_t{1}, std::uint64_t{100}, throttle_cap_bytes_default, UINT64_MAX}) {
    ThrottleAccount account(cap);
    account.charge(cap - 1);
    EXPECT_TRUE(account.can_send()) << cap;
    account.charge(1);
    EXPECT_EQ(account.in_flight(), cap);
    EXPECT_FALSE(account.can_send()) << cap;
    account.ack(1);
    EXPECT_TRUE(account.can_send()) << cap;
  }
}

TEST(ThrottleAccount, lets_a_frame_of_cap_minus_1_cap_or_cap_plus_1_go_and_is_idle_again_after_its_ack) {
  for (const std::uint64_t frame : {std::uint64_t{99}, std::uint64_t{100}, std::uint64_t{101}}) {
    ThrottleAccount account(100);
    EXPECT_TRUE(account.can_send());
    const auto ticket = account.charge(frame);
    EXPECT_EQ(account.in_flight(), frame);
    EXPECT_EQ(account.can_send(), frame < 100);
    account.ack(ticket);
    EXPECT_TRUE(account.can_send());
    EXPECT_TRUE(account.can_resume());
  }
}

TEST(ThrottleAccount, resumes_at_exactly_75_percent_and_not_one_byte_above) {
  struct Mark {
    std::uint64_t cap, mark;
  };
  for (const auto& [cap, mark] :
       {Mark{100, 75}, Mark{4, 3}, Mark{1, 0}, Mark{2, 1}, Mark{7, 5}, Mark{101, 75}, Mark{133, 99},
        Mark{throttle_cap_bytes_default, 48ULL * 1024 * 1024}, Mark{UINT64_MAX, UINT64_MAX / 4 * 3 + 2}}) {
    ThrottleAccount account(cap);
    account.charge(mark);
    EXPECT_TRUE(account.can_resume()) << cap;
    account.charge(1);
    EXPECT_FALSE(account.can_resume()) << cap;
  }
}

TEST(ThrottleAccount, is_64_mib_by_contract_with_its_mark_at_75_percent) {
  EXPECT_EQ(throttle_cap_bytes_default, 64ULL << 20);
  EXPECT_EQ(throttle_resume_percent, 75U);
}

TEST(ThrottleAccount, never_wraps_around_however_much_is_charged) {
  ThrottleAccount account(100);
  account.charge(UINT64_MAX);
  account.charge(UINT64_MAX);
  EXPECT_EQ(account.in_flight(), UINT64_MAX);
  EXPECT_FALSE(account.can_send());
  account.ack(UINT64_MAX);
  EXPECT_EQ(account.in_flight(), 0U);
}

TEST(ThrottleAccount, of_no_bytes_never_sends_but_charges_and_acks_nothing_harmlessly) {
  ThrottleAccount account(0);
  EXPECT_FALSE(account.can_send());
  EXPECT_TRUE(account.can_resume());
  account.ack(account.charge(0));
  EXPECT_EQ(account.in_flight(), 0U);
}

TEST(ThrottleAccount, goes_on_at_75_percent_once_it_was_held_back_and_not_before) {
  ThrottleAccount account(100);
  account.charge(99);
  EXPECT_TRUE(account.may_go_on());
  account.charge(1);
  EXPECT_FALSE(account.may_go_on());
  account.ack(24);
  EXPECT_TRUE(account.can_send());
  EXPECT_FALSE(account.may_go_on());
  account.ack(1);
  EXPECT_TRUE(account.may_go_on());
  account.charge(24);
  EXPECT_TRUE(account.may_go_on());
}

TEST(ThrottleAccount, what_is_held_takes_the_place_of_what_was_and_leaves_what_others_charged) {
  ThrottleAccount account(100);
  const auto other = account.charge(10);
  auto held = account.hold({}, 50);
  held = account.hold(held, 20);
  EXPECT_EQ(account.in_flight(), 30U);
  account.ack(other);
  EXPECT_EQ(account.in_flight(), 20U);
  account.reset();
  account.charge(10);
  held = account.hold(held, 5);
  EXPECT_EQ(account.in_flight(), 15U) << "what was held before the reset was taken off what came after it";
}

TEST(ThrottleAccount, keeps_to_what_a_session_agreed_on_until_it_is_reset) {
  ThrottleAccount account(100);
  account.agree(40);
  EXPECT_EQ(account.cap(), 40U);
  account.charge(40);
  EXPECT_FALSE(account.may_go_on());
  account.reset();
  EXPECT_EQ(account.cap(), 100U);
  EXPECT_TRUE(account.may_go_on());
}

}  // namespace
}  // namespace crosslink::test
