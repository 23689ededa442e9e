#include "session/request_rates.hpp"

#include <gtest/gtest.h>

namespace crosslink::test {
namespace {

using core::Instant;
constexpr Instant::rep second = 1'000'000;

TEST(RequestRates, one_name_has_its_share_within_any_minute) {
  core::RequestRates rates(2, 100);
  EXPECT_TRUE(rates.take("eu", Instant(0)));
  EXPECT_TRUE(rates.take("eu", Instant(30 * second)));
  EXPECT_FALSE(rates.take("eu", Instant(60 * second - 1)));
  EXPECT_TRUE(rates.take("us", Instant(60 * second - 1))) << "another has its own";
  EXPECT_TRUE(rates.take("eu", Instant(60 * second)));
  EXPECT_FALSE(rates.take("eu", Instant(60 * second)));
}

TEST(RequestRates, all_names_together_have_theirs) {
  core::RequestRates rates(2, 3);
  EXPECT_TRUE(rates.take("a", Instant(0)));
  EXPECT_TRUE(rates.take("b", Instant(1)));
  EXPECT_TRUE(rates.take("c", Instant(2)));
  EXPECT_FALSE(rates.take("d", Instant(3)));
  EXPECT_TRUE(rates.take("d", Instant(60 * second))) << "what was refused did not count";
}

}  // namespace
}  // namespace crosslink::test
