// The table "Which log goes on" of docs/protocol.md, row by row.
#include <gtest/gtest.h>

#include "core/history_judge.hpp"

namespace crosslink::test {
namespace {

using namespace core;

Incarnation incarnation(int number) {
  Incarnation made;
  made.bytes[0] = static_cast<std::byte>(number);
  return made;
}

/// A root whose incarnation 1 ended at LSN 50, at 90 now, with its log after 20.
SourceState root() {
  SourceState source;
  source.origin = incarnation(1);
  source.history = History::from_records({{incarnation(1), Lsn{1}, HistoryCause::created},
                                          {incarnation(2), Lsn{51}, HistoryCause::unclean_stop}})
                       .value();
  source.head = Lsn{90};
  source.oldest = Lsn{20};
  source.origin_lsn = Lsn{90};
  return source;
}

Position request(int of, std::uint64_t last_entry, std::uint64_t applied) {
  return {incarnation(1), incarnation(of), {Lsn{last_entry}, {}}, Lsn{applied}, Lsn{applied}};
}

ErrorKind kind_of(const SourceState& source, const Position& position) {
  const auto judged = judge_request(source, position);
  const auto* error = std::get_if<MirrorError>(&judged);
  EXPECT_NE(error, nullptr) << "the log would go on";
  return error == nullptr ? ErrorKind::Cancelled : error->kind();
}
Lsn from(const SourceState& source, const Position& position) {
  const auto judged = judge_request(source, position);
  const auto* proof = std::get_if<NeedsProof>(&judged);
  EXPECT_NE(proof, nullptr) << std::get<MirrorError>(judged).message();
  return proof == nullptr ? Lsn{} : proof->from;
}

TEST(LogRequestTable, row_1_another_origin) {
  auto position = request(1, 30, 30);
  position.origin = incarnation(9);
  EXPECT_EQ(kind_of(root(), position), ErrorKind::OriginChanged);
  auto mirror_of_both = request(7, 30, 30);
  mirror_of_both.origin = incarnation(9);
  EXPECT_EQ(kind_of(root(), mirror_of_both), ErrorKind::OriginChanged) << "before anything else";
}

TEST(LogRequestTable, row_2a_an_incarnation_that_was_replaced_or_trimmed) {
  for (const auto cause : {HistoryCause::bootstrap, HistoryCause::unlogged_change}) {
    auto source = root();
    source.history = History::from_records({{incarnation(3), Lsn{60}, cause}}).value();
    EXPECT_EQ(kind_of(source, request(1, 30, 30)), ErrorKind::LogWindowExceeded);
  }
  auto trimmed = root();
  trimmed.history = History::from_records({{incarnation(2), Lsn{51}, HistoryCause::restamp}}, {incarnation(1)}).value();
  EXPECT_EQ(kind_of(trimmed, request(1, 30, 30)), ErrorKind::LogWindowExceeded);
}

TEST(LogRequestTable, row_2b_an_incarnation_nobody_knows) {
  EXPECT_EQ(kind_of(root(), request(7, 30, 30)), ErrorKind::HistoriesParted);
}

TEST(LogRequestTable, row_3_past_the_end_of_its_incarnation) {
  EXPECT_EQ(kind_of(root(), request(1, 51, 51)), ErrorKind::SourceBehind);
  EXPECT_EQ(kind_of(root(), request(2, 91, 91)), ErrorKind::SourceBehind);
  auto promoted = root();
  promoted.role = DatabaseRole::promoted;
  EXPECT_EQ(kind_of(promoted, request(2, 91, 91)), ErrorKind::SourceBehind);
  auto mirror = root();
  mirror.role = DatabaseRole::mirror;
  mirror.origin_lsn = Lsn{900};
  auto position = request(2, 91, 91);
  position.origin_lsn = Lsn{901};
  EXPECT_EQ(kind_of(mirror, position), ErrorKind::Busy);
  position.origin_lsn = Lsn{900};
  EXPECT_EQ(kind_of(mirror, position), ErrorKind::LogWindowExceeded);
}

TEST(LogRequestTable, row_4_the_log_is_no_longer_held) {
  EXPECT_EQ(kind_of(root(), request(1, 19, 19)), ErrorKind::LogWindowExceeded);
  EXPECT_EQ(from(root(), request(1, 20, 20)), Lsn{20});
}

TEST(LogRequestTable, otherwise_it_goes_on_from_what_is_applied_or_the_end_of_the_incarnation) {
  EXPECT_EQ(from(root(), request(1, 30, 40)), Lsn{40});
  EXPECT_EQ(from(root(), request(1, 50, 60)), Lsn{50}) << "only empty moves lie between";
  EXPECT_EQ(from(root(), request(2, 60, 90)), Lsn{90});
  EXPECT_EQ(from(root(), request(2, 60, 95)), Lsn{90});
}

TEST(LogRequestTable, row_5_another_entry_at_the_last_lsn) {
  const auto parted = judge_proof(PositionProof::parted, request(1, 30, 40));
  ASSERT_TRUE(parted.has_value());
  EXPECT_EQ(parted->kind(), ErrorKind::HistoriesParted);
  EXPECT_EQ(std::get<AtLsn>(parted->data()).lsn, Lsn{30});
  EXPECT_FALSE(judge_proof(PositionProof::same, request(1, 30, 40)).has_value());
  EXPECT_FALSE(judge_proof(PositionProof::unproven, request(1, 30, 40)).has_value());
}

}  // namespace
}  // namespace crosslink::test
