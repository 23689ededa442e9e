#include "crosslink/position.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "core_wire.hpp"
#include "wire/session_frames.hpp"

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

TEST(History, a_copy_takes_no_memory_of_its_own_until_one_of_both_is_appended_to) {
  const auto history = *History::from_records(records_of(64));
  auto copy = history;
  EXPECT_EQ(copy.records().data(), history.records().data());
  copy.append(record_of(64, 640));
  EXPECT_TRUE(std::ranges::equal(history.records(), records_of(64)));
  EXPECT_EQ(copy.newest(), record_of(64, 640));
  EXPECT_NE(copy, history);
  EXPECT_EQ(*History::from_records(records_of(64)), history) << "as values they are compared";
  EXPECT_EQ(History(), History());
  EXPECT_NE(History(), history);
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

// --- a history on the wire, in the SessionBegin of a source ----------------------------------------------------------

Bytes array_of(const std::vector<Bytes>& elements) {
  auto bytes = tagged(0xdc, elements.size(), 2);
  for (const auto& element : elements)
    bytes = std::move(bytes) + element;
  return bytes;
}
WireFields record(char incarnation, unsigned first_lsn, std::string_view cause) {
  return {{"incarnation", bin8(std::string(16, incarnation))}, {"first_lsn", fixint(first_lsn)}, {"cause", str(cause)}};
}
Result<core::Decoded> decode_with(const Bytes& history) {
  const WireFields fields{{"features", fixint(0)},        {"mode", str("async")},
                          {"software", str("x")},         {"bulk_data_bytes_max", fixint(1)},
                          {"entry_bytes_max", fixint(1)}, {"in_flight_bytes_max", fixint(1)},
                          {"chain", fixarray(0)},         {"origin", bin8(std::string(16, 'o'))},
                          {"history", history},           {"trimmed", fixarray(0)}};
  return core::decode_message(0x08, map_of(fields));
}
Result<core::Decoded> decode_with(const std::vector<WireFields>& records) {
  std::vector<Bytes> maps;
  for (const auto& one : records)
    maps.push_back(map_of(one));
  return decode_with(array_of(maps));
}
void expect_refused(const Result<core::Decoded>& decoded, const std::string& what) {
  ASSERT_FALSE(decoded) << what;
  EXPECT_EQ(decoded.error().kind(), ErrorKind::ProtocolViolation);
  EXPECT_EQ(decoded.error().caused_by(), CausedBy::peer);
}
HistoryCause cause_read(std::string_view cause) {
  const auto decoded = decode_with({record('a', 1, cause)});
  return std::get<core::SessionBegin>(decoded.value().message).source->history.newest().cause;
}

TEST(SessionHistory, holds_1_to_64_records) {
  std::vector<WireFields> records;
  expect_refused(decode_with(records), "an empty history");
  for (unsigned i = 0; i < 64; ++i)
    records.push_back(record(static_cast<char>(i), i, "created"));
  EXPECT_TRUE(decode_with(records));
  records.push_back(record('Z', 70, "created"));
  expect_refused(decode_with(records), "65 records");
}

TEST(SessionHistory, that_falls_or_names_an_incarnation_twice_or_lacks_a_field_is_refused) {
  ASSERT_TRUE(decode_with({record('a', 1, "created"), record('b', 1, "restamp")}));
  expect_refused(decode_with({record('a', 2, "created"), record('b', 1, "restamp")}), "a fall");
  expect_refused(decode_with({record('a', 1, "created"), record('a', 2, "restamp")}), "a double");
  expect_refused(decode_with(array_of({fixint(1)})), "a number in it");
  const auto good = record('a', 1, "created");
  for (const auto& field : good) {
    auto twice = good;
    twice.push_back(field);
    auto less = good;
    std::erase_if(less, [&](const WireField& other) { return other.name == field.name; });
    expect_refused(decode_with({twice}), "twice " + field.name);
    expect_refused(decode_with({less}), "no " + field.name);
    expect_refused(decode_with({with(good, field.name, nil())}), "nil as " + field.name);
  }
}

TEST(SessionHistory, takes_every_cause_and_an_unknown_one_as_restamp) {
  for (const auto cause : {HistoryCause::created, HistoryCause::unclean_stop, HistoryCause::restamp,
                           HistoryCause::bootstrap, HistoryCause::unlogged_change})
    EXPECT_EQ(cause_read(to_string(cause)), cause) << to_string(cause);
  EXPECT_EQ(cause_read("moved"), HistoryCause::restamp);
  EXPECT_EQ(cause_read(""), HistoryCause::restamp);
}

// --- positions and windows in failures
// ---------------------------------------------------------------------------------

using core::SessionFailure;
using core::to_error;
using core::to_failure;

Result<core::Decoded> decode_again(const core::SessionMessage& message) {
  return core::decode_message(core::kind_of(message),
                              std::span<const std::byte>(core::encode_message(message)).subspan(frame_header_bytes));
}

TEST(SessionFailures, carry_every_kind_that_a_peer_may_say_there_and_back) {
  for (const auto& rule : error_rules()) {
    const auto failure = to_failure({rule.kind, CausedBy::us, "why"});
    EXPECT_EQ(failure, (SessionFailure{std::string(rule.name), "why", {}, {}, {}, {}, {}, {}, {}}));
    const auto error = to_error(failure);
    const bool local = rule.kind == ErrorKind::Configuration || rule.kind == ErrorKind::MirrorPromoted ||
                       rule.kind == ErrorKind::NotConnected || rule.kind == ErrorKind::AlreadyConnected;
    EXPECT_EQ(error.kind(), local ? ErrorKind::ProtocolViolation : rule.kind) << rule.name;
    EXPECT_EQ(error.caused_by(), CausedBy::peer);
    EXPECT_NE(error.message().find("why"), std::string::npos);
    EXPECT_TRUE(std::holds_alternative<std::monostate>(error.data())) << rule.name;
  }
}

TEST(SessionFailures, of_a_kind_nobody_knows_become_protocol_violations) {
  for (const auto& kind : {"", "busy", "Newer"})
    EXPECT_EQ(to_error({kind, "why", 1, 2, 3, {}, {}, {}, {}}).kind(), ErrorKind::ProtocolViolation) << kind;
}

TEST(SessionFailures, have_their_detail_escaped_and_at_most_512_bytes) {
  EXPECT_EQ(to_failure({ErrorKind::Busy, CausedBy::us, "a\nb"}).detail, "a\\x0ab");
  EXPECT_EQ(to_failure({ErrorKind::Busy, CausedBy::us, std::string(600, 'x')}).detail, std::string(512, 'x'));
  EXPECT_EQ(to_error({"Busy", "a\x1b[2J", {}, {}, {}, {}, {}, {}, {}}).message().find('\x1b'), std::string::npos);
  EXPECT_TRUE(decode_again(SessionFailure{"Busy", std::string(600, 'x'), 1, {}, {}, {}, {}, {}, {}}));
  EXPECT_TRUE(decode_again(core::VerifyEnd{core::VerifyOutcome::equal, std::string(600, '\n')}));
}

/// There and back through the bytes of a frame.
MirrorError sent(ErrorKind kind, ErrorData data) {
  const auto decoded = decode_again(to_failure({kind, CausedBy::us, "why", std::move(data)}));
  return to_error(std::get<SessionFailure>(decoded.value().message));
}

TEST(SessionFailures, bring_the_lsn_of_a_diverged_history_and_the_window_of_a_log) {
  for (const auto kind : {ErrorKind::SourceBehind, ErrorKind::HistoriesParted}) {
    const auto error = sent(kind, AtLsn{{17}});
    ASSERT_TRUE(std::holds_alternative<AtLsn>(error.data()));
    EXPECT_EQ(std::get<AtLsn>(error.data()).lsn, Lsn{17});
  }
  const auto error = sent(ErrorKind::LogWindowExceeded, LogWindow{{3}, {UINT64_MAX}});
  ASSERT_TRUE(std::holds_alternative<LogWindow>(error.data()));
  EXPECT_EQ(std::get<LogWindow>(error.data()).oldest, Lsn{3});
  EXPECT_EQ(std::get<LogWindow>(error.data()).head, Lsn{UINT64_MAX});
}

TEST(SessionFailures, write_and_bring_the_numbers_of_offsets_checksums_and_caps) {
  const std::vector<std::tuple<ErrorKind, ErrorData, SessionFailure>> rows{
      {ErrorKind::SnapshotOffsetRegression, SnapshotOffsets{"d", 1, 2}, {"", "why", {}, {}, {}, 1, 2, {}, {}}},
      {ErrorKind::SnapshotCrcMismatch, SnapshotCrcs{"d", 3, 4}, {"", "why", {}, {}, {}, 3, 4, {}, {}}},
      {ErrorKind::BytesInFlightCapExceeded, CapExceeded{"d", 6, 5}, {"", "why", {}, {}, {}, {}, {}, 6, 5}}};
  for (auto [kind, data, expected] : rows) {
    expected.kind = to_string(kind);
    EXPECT_EQ(to_failure({kind, CausedBy::us, "why", data}), expected) << expected.kind;
    EXPECT_EQ(to_failure(sent(kind, data)), expected) << expected.kind << " after it was sent";
  }
}

TEST(SessionFailures, without_the_data_of_their_kind_carry_none) {
  EXPECT_EQ(to_error({"LogWindowExceeded", "", {}, 1, {}, {}, {}, {}, {}}).data().index(), 0U);
  EXPECT_EQ(to_error({"HistoriesParted", "", {}, 1, 2, {}, {}, {}, {}}).data().index(), 0U);
  EXPECT_EQ(to_error({"Busy", "", 1, 2, 3, {}, {}, {}, {}}).data().index(), 0U);
}

}  // namespace
}  // namespace crosslink::test
