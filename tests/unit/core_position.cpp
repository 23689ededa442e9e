#include <gtest/gtest.h>

#include <algorithm>

#include "crosslink/position.hpp"

namespace crosslink::test {
namespace {

Incarnation incarnation_of(unsigned number) {
  Incarnation incarnation;
  incarnation.bytes[0] = static_cast<std::byte>(number);
  return incarnation;
}

HistoryRecord record_of(unsigned number, std::uint64_t first_lsn) {
  return {incarnation_of(number), {first_lsn}, HistoryCause::restamp};
}

/// Incarnation i begins at LSN 10 * i.
std::vector<HistoryRecord> records_of(unsigned count) {
  std::vector<HistoryRecord> records;
  for (unsigned i = 0; i < count; ++i)
    records.push_back(record_of(i, 10ULL * i));
  return records;
}

void expect_refused(const Result<History>& history) {
  ASSERT_FALSE(history);
  EXPECT_EQ(history.error().kind(), ErrorKind::ProtocolViolation);
  EXPECT_EQ(history.error().caused_by(), CausedBy::peer);
}

TEST(PositionIds, are_32_lower_case_digits_high_half_of_each_byte_first) {
  Incarnation id;
  for (std::size_t i = 0; i < id.bytes.size(); ++i)
    id.bytes[i] = static_cast<std::byte>(i * 0x11);
  EXPECT_EQ(to_string(id), "00112233445566778899aabbccddeeff");
  EXPECT_EQ(to_string(EntryHash()), std::string(32, '0'));
}

TEST(PositionIds, come_back_from_their_digits_for_every_byte_value) {
  for (unsigned value = 0; value < 256; ++value) {
    Incarnation id;
    id.bytes[value % 16] = static_cast<std::byte>(value);
    const auto bytes = detail::from_hex(to_string(id));
    ASSERT_TRUE(bytes) << value;
    EXPECT_EQ(*bytes, id.bytes);
  }
}

TEST(PositionIds, are_read_from_nothing_but_32_lower_case_digits) {
  const std::string good = "00112233445566778899aabbccddeeff";
  ASSERT_TRUE(detail::from_hex(good));
  EXPECT_FALSE(detail::from_hex(""));
  EXPECT_FALSE(detail::from_hex(good.substr(1)));
  EXPECT_FALSE(detail::from_hex(good.substr(2)));
  EXPECT_FALSE(detail::from_hex(good + "0"));
  EXPECT_FALSE(detail::from_hex(good + "00"));
  for (const char wrong : {'A', 'F', 'g', '/', ':', '`', ' ', '-', '\0', '\xb0'}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{17}, std::size_t{31}}) {
      auto text = good;
      text[at] = wrong;
      EXPECT_FALSE(detail::from_hex(text)) << text;
    }
  }
}

TEST(PositionIds, are_ordered_as_their_bytes) {
  EXPECT_LT(incarnation_of(1), incarnation_of(2));
  EXPECT_LT(incarnation_of(0x7f), incarnation_of(0x80));
  EXPECT_EQ(incarnation_of(3), incarnation_of(3));
}

TEST(HistoryCauses, are_spelled_as_in_the_document) {
  EXPECT_EQ(to_string(HistoryCause::created), "created");
  EXPECT_EQ(to_string(HistoryCause::unclean_stop), "unclean_stop");
  EXPECT_EQ(to_string(HistoryCause::restamp), "restamp");
  EXPECT_EQ(to_string(HistoryCause::bootstrap), "bootstrap");
  EXPECT_EQ(to_string(HistoryCause::unlogged_change), "unlogged_change");
}

TEST(History, keeps_the_records_and_the_trimmed_it_was_made_from) {
  const auto history = History::from_records(records_of(3), {incarnation_of(7)});
  ASSERT_TRUE(history) << history.error().message();
  EXPECT_TRUE(std::ranges::equal(history->records(), records_of(3)));
  ASSERT_EQ(history->trimmed().size(), 1U);
  EXPECT_EQ(history->trimmed()[0], incarnation_of(7));
  EXPECT_EQ(history->newest(), record_of(2, 20));
  EXPECT_FALSE(history->empty());
}

TEST(History, takes_64_records_and_as_many_trimmed_and_refuses_one_more_of_either) {
  ASSERT_EQ(history_records_max, 64U);
  std::vector<Incarnation> trimmed;
  for (unsigned i = 0; i < 64; ++i)
    trimmed.push_back(incarnation_of(100 + i));
  EXPECT_TRUE(History::from_records(records_of(64), trimmed));
  expect_refused(History::from_records(records_of(65)));
  trimmed.push_back(incarnation_of(200));
  expect_refused(History::from_records(records_of(1), trimmed));
}

TEST(History, without_records_is_refused) {
  expect_refused(History::from_records({}));
  expect_refused(History::from_records({}, {incarnation_of(1)}));
  EXPECT_TRUE(History().empty());
}

TEST(History, that_falls_is_refused_and_one_that_stands_still_is_not) {
  expect_refused(History::from_records({record_of(1, 10), record_of(2, 9)}));
  expect_refused(History::from_records({record_of(1, 10), record_of(2, 20), record_of(3, 19)}));
  EXPECT_TRUE(History::from_records({record_of(1, 10), record_of(2, 10)}));
}

TEST(History, with_an_incarnation_twice_is_refused_wherever_the_two_stand) {
  expect_refused(History::from_records({record_of(1, 10), record_of(1, 20)}));
  expect_refused(History::from_records({record_of(1, 10), record_of(2, 20), record_of(1, 30)}));
  expect_refused(History::from_records({record_of(1, 10), record_of(2, 20), record_of(2, 20)}));
}

TEST(History, that_begins_has_one_record) {
  const auto history = History::beginning({incarnation_of(1), {5}, HistoryCause::created});
  ASSERT_EQ(history.records().size(), 1U);
  EXPECT_EQ(history.newest().cause, HistoryCause::created);
  EXPECT_TRUE(history.contains(incarnation_of(1)));
  EXPECT_FALSE(history.contains(incarnation_of(2)));
  EXPECT_TRUE(history.trimmed().empty());
}

TEST(HistoryEnds, are_one_before_the_next_record_and_the_head_for_the_newest) {
  const auto history = History::from_records({record_of(1, 1), record_of(2, 10), record_of(3, 30)}).value();
  EXPECT_EQ(history.end_of(incarnation_of(1), {99}), Lsn{9});
  EXPECT_EQ(history.end_of(incarnation_of(2), {99}), Lsn{29});
  EXPECT_EQ(history.end_of(incarnation_of(3), {99}), Lsn{99});
}

TEST(HistoryEnds, are_absent_for_incarnations_unknown_or_trimmed) {
  const auto history = History::from_records({record_of(1, 1)}, {incarnation_of(2)}).value();
  EXPECT_FALSE(history.end_of(incarnation_of(2), {99}));
  EXPECT_FALSE(history.end_of(incarnation_of(3), {99}));
}

TEST(HistoryEnds, do_not_go_below_zero) {
  const auto history = History::from_records({record_of(1, 0), record_of(2, 0), record_of(3, 1)}).value();
  EXPECT_EQ(history.end_of(incarnation_of(1), {99}), Lsn{0});
  EXPECT_EQ(history.end_of(incarnation_of(2), {99}), Lsn{0});
}

TEST(HistoryAt, is_the_newest_incarnation_that_begins_at_or_before_the_lsn) {
  const auto history =
      History::from_records({record_of(1, 5), record_of(2, 10), record_of(3, 10), record_of(4, 20)}).value();
  EXPECT_EQ(history.incarnation_at({5}), incarnation_of(1));
  EXPECT_EQ(history.incarnation_at({9}), incarnation_of(1));
  EXPECT_EQ(history.incarnation_at({10}), incarnation_of(3));
  EXPECT_EQ(history.incarnation_at({19}), incarnation_of(3));
  EXPECT_EQ(history.incarnation_at({20}), incarnation_of(4));
  EXPECT_EQ(history.incarnation_at({UINT64_MAX}), incarnation_of(4));
}

TEST(HistoryAt, is_the_oldest_below_all_of_them) {
  const auto history = History::from_records({record_of(1, 5), record_of(2, 10)}).value();
  EXPECT_EQ(history.incarnation_at({0}), incarnation_of(1));
  EXPECT_EQ(history.incarnation_at({4}), incarnation_of(1));
}

TEST(HistoryAppend, adds_the_newest_and_ends_the_one_before) {
  auto history = History::beginning(record_of(1, 1));
  history.append({incarnation_of(2), {8}, HistoryCause::bootstrap});
  ASSERT_EQ(history.records().size(), 2U);
  EXPECT_EQ(history.newest(), (HistoryRecord{incarnation_of(2), {8}, HistoryCause::bootstrap}));
  EXPECT_EQ(history.end_of(incarnation_of(1), {9}), Lsn{7});
}

TEST(HistoryAppend, keeps_64_and_moves_the_oldest_into_trimmed) {
  auto history = History::from_records(records_of(63)).value();
  history.append(record_of(63, 630));
  EXPECT_EQ(history.records().size(), 64U);
  EXPECT_TRUE(history.trimmed().empty());
  history.append(record_of(64, 640));
  history.append(record_of(65, 650));
  ASSERT_EQ(history.records().size(), 64U);
  EXPECT_EQ(history.records().front(), record_of(2, 20));
  EXPECT_EQ(history.newest(), record_of(65, 650));
  ASSERT_EQ(history.trimmed().size(), 2U);
  EXPECT_EQ(history.trimmed()[0], incarnation_of(0));
  EXPECT_EQ(history.trimmed()[1], incarnation_of(1));
  EXPECT_FALSE(history.contains(incarnation_of(0)));
}

TEST(HistoryAppend, forgets_the_oldest_trimmed_beyond_64_and_stays_a_history_others_take) {
  auto history = History::from_records(records_of(64)).value();
  for (unsigned i = 64; i < 64 + 70; ++i)
    history.append(record_of(i, 10ULL * i));
  ASSERT_EQ(history.trimmed().size(), 64U);
  EXPECT_EQ(history.trimmed().front(), incarnation_of(6));
  EXPECT_EQ(history.trimmed().back(), incarnation_of(69));
  const std::vector<HistoryRecord> records(history.records().begin(), history.records().end());
  const std::vector<Incarnation> trimmed(history.trimmed().begin(), history.trimmed().end());
  const auto again = History::from_records(records, trimmed);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, history);
}

}  // namespace
}  // namespace crosslink::test
