// For whom the log is held, and for how long: docs/protocol.md, "0x10 SnapshotRequest".
#include "session/pin_keeper.hpp"

#include <gtest/gtest.h>

namespace crosslink::test {
namespace {

using core::Instant;
using core::PinKeeper;
using Holders = PinKeeper::Holders;

constexpr core::Duration away_max{1'000};
const Holders none;

TEST(PinKeeper, a_session_that_pins_nothing_leaves_nothing) {
  PinKeeper keeper(away_max);
  EXPECT_EQ(keeper.on_session_end("s1", Instant(0)), none);
  EXPECT_FALSE(keeper.next_deadline().has_value());
}

TEST(PinKeeper, a_mirror_that_is_away_keeps_its_pin_for_a_while_and_no_longer) {
  PinKeeper keeper(away_max);
  EXPECT_EQ(keeper.on_pin("eu", "s1", Lsn{5}), none);
  EXPECT_FALSE(keeper.next_deadline().has_value()) << "while it is here there is no end";
  EXPECT_EQ(keeper.on_session_end("s1", Instant(100)), none);
  EXPECT_EQ(keeper.next_deadline(), Instant(1'100));
  EXPECT_EQ(keeper.on_time(Instant(1'099)), none);
  EXPECT_EQ(keeper.on_time(Instant(1'100)), Holders{"s1"});
  EXPECT_EQ(keeper.on_time(Instant(9'999)), none) << "once";
}

TEST(PinKeeper, a_mirror_that_comes_back_takes_over_what_it_left) {
  PinKeeper keeper(away_max);
  static_cast<void>(keeper.on_pin("eu", "s1", Lsn{5}));
  static_cast<void>(keeper.on_session_end("s1", Instant(0)));
  EXPECT_EQ(keeper.on_pin("eu", "s2", Lsn{3}), Holders{"s1"}) << "the log after 3 holds the log after 5";
  EXPECT_EQ(keeper.on_pin("eu", "s2", Lsn{5}), none);
  EXPECT_EQ(keeper.on_unpin("eu", "s2"), Holders{"s2"});
}

TEST(PinKeeper, a_pin_further_on_does_not_stand_in_for_an_earlier_one) {
  PinKeeper keeper(away_max);
  static_cast<void>(keeper.on_pin("eu", "s1", Lsn{5}));
  static_cast<void>(keeper.on_session_end("s1", Instant(0)));
  EXPECT_EQ(keeper.on_pin("eu", "s2", Lsn{6}), none);
  EXPECT_EQ(keeper.on_unpin("eu", "s2"), (Holders{"s1", "s2"})) << "it has what it needs: whatever it left goes";
}

TEST(PinKeeper, other_mirrors_and_sessions_that_live_are_left_alone) {
  PinKeeper keeper(away_max);
  static_cast<void>(keeper.on_pin("eu", "s1", Lsn{5}));
  static_cast<void>(keeper.on_pin("us", "s2", Lsn{5}));
  static_cast<void>(keeper.on_pin("eu", "s3", Lsn{5}));
  static_cast<void>(keeper.on_session_end("s2", Instant(0)));
  EXPECT_EQ(keeper.on_pin("eu", "s4", Lsn{1}), none);
  EXPECT_EQ(keeper.on_unpin("eu", "s4"), Holders{"s4"});
  EXPECT_EQ(keeper.on_time(Instant(1'000)), Holders{"s2"});
  EXPECT_EQ(keeper.on_time(Instant(99'000)), none) << "s1 and s3 live";
}

TEST(PinKeeper, a_session_that_ends_leaves_nothing_that_its_successor_pins_as_well) {
  PinKeeper keeper(away_max);
  static_cast<void>(keeper.on_pin("eu", "s1", Lsn{5}));
  static_cast<void>(keeper.on_pin("eu", "s2", Lsn{5}));
  EXPECT_EQ(keeper.on_session_end("s1", Instant(0)), Holders{"s1"});
  static_cast<void>(keeper.on_pin("eu", "s3", Lsn{6}));
  EXPECT_EQ(keeper.on_session_end("s2", Instant(0)), none) << "s3 holds the log after 6 only";
  EXPECT_EQ(keeper.on_stop(), (Holders{"s3", "s2"}));
}

TEST(PinKeeper, what_one_mirror_leaves_behind_is_bounded) {
  PinKeeper keeper(away_max);
  for (std::size_t i = 0; i < 10; ++i) {
    const auto holder = "s" + std::to_string(i);
    EXPECT_EQ(keeper.on_pin("eu", holder, Lsn{5 + i}), none);
    const auto dropped = keeper.on_session_end(holder, Instant(static_cast<Instant::rep>(i)));
    const auto oldest = i < PinKeeper::left_behind_max ? none : Holders{"s" + std::to_string(i - 4)};
    EXPECT_EQ(dropped, oldest);
  }
  EXPECT_EQ(keeper.next_deadline(), Instant(1'006)) << "of the longest away";
}

}  // namespace
}  // namespace crosslink::test
