#include "session/mirror/verify_run.hpp"

#include <gtest/gtest.h>

#include "regress/mirror_driver.hpp"

namespace crosslink::test {
namespace {

using core::mirror::Outbox;
using core::mirror::VerifyRun;

class VerifyRunTest : public ::testing::Test {
 protected:
  static constexpr core::StreamToken stream = 3;
  static constexpr core::Duration deadline{30'000'000};
  core::Instant now{1'000'000};
  Outbox out;
  VerifyRun verify{out, deadline};

  void advance(std::uint64_t applied = 8, bool busy = false) { verify.advance(Lsn{applied}, busy, true, now); }
  void hear(const core::SessionMessage& message, std::uint64_t applied = 8) {
    ASSERT_TRUE(verify.on_frame(message, Lsn{applied}, true, now).ok());
  }
  /// Both at LSN 8, the view open: the first question.
  core::Question compare() {
    verify.start(stream, now);
    advance();
    hear(core::VerifyAt{Lsn{8}});
    advance();
    EXPECT_TRUE(verify.wants_view());
    verify.view_asked();
    verify.on_view();
    out.take();
    advance();
    for (const auto& one : out.take())
      if (const auto* asked = std::get_if<action::DigestRange>(&one)) return asked->question;
    ADD_FAILURE() << "nothing was asked";
    return 0;
  }
};
const core::RangeDigest::Answer same{3, {}, {}};

TEST_F(VerifyRunTest, equal_digests_of_all_are_equal_data) {
  const auto question = compare();
  hear(core::RangeDigest{{}, same});
  verify.on_digest(question, same, true);
  EXPECT_FALSE(verify.running());
  EXPECT_TRUE(verify.take_equal());
  EXPECT_FALSE(verify.take_equal());
  EXPECT_EQ(verify.take_result()->outcome, VerifyResult::Outcome::equal);
  const auto said = out.take();
  EXPECT_EQ(sent<core::VerifyEnd>(said), 1u);
  EXPECT_EQ(count<action::CloseView>(said), 1u);
}

TEST_F(VerifyRunTest, the_log_is_held_until_both_sides_are_at_one_lsn) {
  EXPECT_FALSE(verify.apply_limit(Lsn{5}));
  verify.start(stream, now);
  EXPECT_EQ(verify.apply_limit(Lsn{5}), Lsn{5});
  advance(5);
  hear(core::VerifyAt{Lsn{8}}, 5);
  EXPECT_EQ(verify.apply_limit(Lsn{5}), Lsn{8});
  advance(7);
  EXPECT_FALSE(verify.wants_view());
  advance(8);
  EXPECT_TRUE(verify.wants_view());
}

TEST_F(VerifyRunTest, waits_while_the_engine_is_busy) {
  verify.start(stream, now);
  advance(8, true);
  EXPECT_EQ(sent<core::VerifyBegin>(out.take()), 0u);
  advance();
  EXPECT_EQ(sent<core::VerifyBegin>(out.take()), 1u);
}

TEST_F(VerifyRunTest, the_past_and_what_was_not_asked_are_refused) {
  verify.start(stream, now);
  advance();
  EXPECT_FALSE(verify.on_frame(core::VerifyAt{Lsn{7}}, Lsn{8}, true, now).ok());
  EXPECT_FALSE(verify.on_frame(core::RangeDigest{{}, same}, Lsn{8}, true, now).ok());
}

TEST_F(VerifyRunTest, ends_when_the_other_side_does_not_come_in_time) {
  verify.start(stream, now);
  advance();
  now += deadline;
  advance();
  EXPECT_FALSE(verify.running());
  EXPECT_FALSE(verify.take_equal());
  EXPECT_EQ(verify.take_result()->outcome, VerifyResult::Outcome::unknown);
}

TEST_F(VerifyRunTest, a_view_of_an_earlier_one_is_closed) {
  verify.start(stream, now);
  advance();
  hear(core::VerifyAt{Lsn{8}});
  advance();
  verify.view_asked();
  verify.break_off("the link was lost", false, false);
  verify.start(stream + 1, now);
  out.take();
  verify.on_view();
  EXPECT_EQ(count<action::CloseView>(out.take()), 1u);
}

TEST_F(VerifyRunTest, an_answer_to_an_earlier_one_is_none_to_this_one) {
  const auto first = compare();
  verify.break_off("the link was lost", false, false);
  const auto second = compare();
  EXPECT_NE(first, second);
  hear(core::RangeDigest{{}, same});
  verify.on_digest(first, same, true);
  EXPECT_TRUE(verify.running());
  verify.on_digest(second, same, true);
  EXPECT_FALSE(verify.running());
}

}  // namespace
}  // namespace crosslink::test
