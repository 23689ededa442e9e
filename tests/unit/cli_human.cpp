#include "cli/human.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace crosslink::cli {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Human, numbers_are_grouped_by_thousands) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1 000");
  EXPECT_EQ(grouped(1482003), "1 482 003");
  EXPECT_EQ(grouped(18446744073709551615ull), "18 446 744 073 709 551 615");
}

TEST(Human, sizes_take_the_unit_that_keeps_them_short) {
  EXPECT_EQ(size_text(0), "0 B");
  EXPECT_EQ(size_text(1023), "1023 B");
  EXPECT_EQ(size_text(1024), "1.0 KiB");
  EXPECT_EQ(size_text(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(size_text(11'596'411'699ull), "10.8 GiB");
  EXPECT_EQ(size_text(18446744073709551615ull), "16777216.0 TiB");
}

TEST(Human, a_part_is_shown_in_the_unit_of_the_whole) {
  EXPECT_EQ(part_text(4'402'341'478ull, 11'596'411'699ull), "4.1/10.8 GiB");
  EXPECT_EQ(part_text(0, 64 * 1024 * 1024), "0.0/64.0 MiB");
  EXPECT_EQ(part_text(3, 10), "3/10 B");
}

TEST(Human, times_have_two_parts_at_most) {
  EXPECT_EQ(duration_text(microseconds(0)), "0us");
  EXPECT_EQ(duration_text(microseconds(250)), "250us");
  EXPECT_EQ(duration_text(microseconds(1500)), "1.5ms");
  EXPECT_EQ(duration_text(milliseconds(210)), "0.21s");
  EXPECT_EQ(duration_text(milliseconds(6800)), "6.8s");
  EXPECT_EQ(duration_text(milliseconds(59'970)), "1m00s");
  EXPECT_EQ(duration_text(seconds(168)), "2m48s");
  EXPECT_EQ(duration_text(hours(11) + seconds(1200)), "11h20m");
  EXPECT_EQ(duration_text(hours(74)), "3d02h");
}

TEST(Human, columns_are_aligned_by_characters_not_bytes) {
  EXPECT_EQ(table_text({{"A", "B"}, {"größe", "x"}, {"xx", ""}}), "A      B\ngröße  x\nxx");
  EXPECT_EQ(table_text({}), "");
}

TEST(Human, a_bar_is_never_longer_than_full) {
  EXPECT_EQ(bar(0, 10, 4), "[    ]");
  EXPECT_EQ(bar(5, 10, 4), "[##  ]");
  EXPECT_EQ(bar(9, 10, 4), "[### ]");
  EXPECT_EQ(bar(20, 10, 4), "[####]");
  EXPECT_EQ(bar(0, 0, 4), "[####]");
}

}  // namespace
}  // namespace crosslink::cli
