// docs/protocol.md, "Which log goes on": a test or more for each row.
#include "session/history_judge.hpp"

#include <gtest/gtest.h>

namespace crosslink::test {
namespace {

using namespace core;

Incarnation incarnation(int number) {
  Incarnation made;
  made.bytes[0] = static_cast<std::byte>(number);
  return made;
}

/// A root: incarnation 1 ended at LSN 50, incarnation 2 goes on to 90; the log is held after 20.
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

/// The same as a mirror that has come to LSN 900 of its root.
SourceState mirror() {
  auto source = root();
  source.role = DatabaseRole::mirror;
  source.origin_lsn = Lsn{900};
  return source;
}

SourceState beginning_with(HistoryCause cause, std::vector<Incarnation> trimmed = {}) {
  auto source = root();
  source.history = History::from_records({{incarnation(2), Lsn{51}, cause}}, std::move(trimmed)).value();
  return source;
}

Position request(int of, std::uint64_t last_entry, std::uint64_t applied, std::uint64_t origin_lsn = 0) {
  return {incarnation(1), incarnation(of), {Lsn{last_entry}, {}}, Lsn{applied}, Lsn{origin_lsn}};
}

std::optional<MirrorError> refused(const SourceState& source, const Position& position) {
  const auto judged = judge_request(source, position);
  const auto* error = std::get_if<MirrorError>(&judged);
  if (error == nullptr) return std::nullopt;
  EXPECT_EQ(error->caused_by(), CausedBy::peer);
  EXPECT_FALSE(error->message().empty());
  return *error;
}

void expect_refused(const SourceState& source, const Position& position, ErrorKind kind) {
  const auto error = refused(source, position);
  ASSERT_TRUE(error.has_value()) << "the log would go on";
  EXPECT_EQ(error->kind(), kind) << error->message();
}

void expect_refused_at(const SourceState& source, const Position& position, ErrorKind kind, Lsn lsn) {
  const auto error = refused(source, position);
  ASSERT_TRUE(error.has_value()) << "the log would go on";
  EXPECT_EQ(error->kind(), kind) << error->message();
  const auto* data = std::get_if<AtLsn>(&error->data());
  ASSERT_NE(data, nullptr);
  EXPECT_EQ(data->lsn, lsn);
}

void expect_window(const SourceState& source, const Position& position) {
  const auto error = refused(source, position);
  ASSERT_TRUE(error.has_value()) << "the log would go on";
  EXPECT_EQ(error->kind(), ErrorKind::LogWindowExceeded) << error->message();
  const auto* window = std::get_if<LogWindow>(&error->data());
  ASSERT_NE(window, nullptr);
  EXPECT_EQ(window->oldest, source.oldest);
  EXPECT_EQ(window->head, source.head);
}

void expect_from(const SourceState& source, const Position& position, Lsn from) {
  const auto judged = judge_request(source, position);
  const auto* proof = std::get_if<NeedsProof>(&judged);
  ASSERT_NE(proof, nullptr) << std::get<MirrorError>(judged).message();
  EXPECT_EQ(proof->from, from);
}

TEST(HistoryJudge, row_1_another_origin_is_origin_changed) {
  auto position = request(1, 30, 30);
  position.origin = incarnation(9);
  const auto error = refused(root(), position);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->kind(), ErrorKind::OriginChanged);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(error->data()));
}

TEST(HistoryJudge, row_1_comes_before_all_others) {
  for (auto position : {request(7, 30, 30), request(1, 51, 51), request(1, 5, 5)}) {
    position.origin = incarnation(9);
    expect_refused(root(), position, ErrorKind::OriginChanged);
    expect_refused(beginning_with(HistoryCause::bootstrap), position, ErrorKind::OriginChanged);
  }
}

TEST(HistoryJudge, row_2a_an_unknown_incarnation_of_a_source_that_was_bootstrapped_has_passed_the_window) {
  expect_window(beginning_with(HistoryCause::bootstrap), request(1, 30, 30));
}

TEST(HistoryJudge, row_2a_an_unknown_incarnation_of_a_source_changed_past_its_log_has_passed_the_window) {
  expect_window(beginning_with(HistoryCause::unlogged_change), request(1, 30, 30));
}

TEST(HistoryJudge, row_2a_a_trimmed_incarnation_has_passed_the_window_and_no_other_has) {
  const auto source = beginning_with(HistoryCause::restamp, {incarnation(1), incarnation(3)});
  expect_window(source, request(1, 30, 30));
  expect_window(source, request(3, 30, 30));
  expect_refused(source, request(7, 30, 30), ErrorKind::HistoriesParted);
}

TEST(HistoryJudge, row_2a_a_promoted_source_that_was_bootstrapped_lets_go_only_of_what_came_before) {
  auto source = beginning_with(HistoryCause::bootstrap);  // at LSN 51
  source.role = DatabaseRole::promoted;
  expect_window(source, request(7, 30, 50));
  expect_refused_at(source, request(7, 30, 51), ErrorKind::HistoriesParted, Lsn{30});  // restored since
}

TEST(HistoryJudge, row_2a_a_mirror_never_halts_its_own_mirror_for_an_incarnation_it_does_not_know) {
  expect_window(mirror(), request(7, 30, 30));
  expect_window(mirror(), request(7, 500, 500));
}

TEST(HistoryJudge, row_2a_an_incarnation_so_old_that_its_name_is_forgotten_has_passed_the_window) {
  std::vector<Incarnation> trimmed;
  for (std::size_t i = 0; i < history_records_max; ++i)
    trimmed.push_back(incarnation(static_cast<int>(100 + i)));
  const auto source = beginning_with(HistoryCause::restamp, trimmed);  // from LSN 51 on
  expect_window(source, request(7, 30, 50));
  expect_refused(source, request(7, 30, 51), ErrorKind::HistoriesParted);
  trimmed.pop_back();
  expect_refused(beginning_with(HistoryCause::restamp, trimmed), request(7, 30, 50), ErrorKind::HistoriesParted);
}

TEST(HistoryJudge, row_2a_is_judged_by_the_first_record_alone) {
  auto source = root();
  source.history = History::from_records({{incarnation(1), Lsn{1}, HistoryCause::created},
                                          {incarnation(2), Lsn{51}, HistoryCause::bootstrap}})
                       .value();
  expect_refused(source, request(7, 30, 30), ErrorKind::HistoriesParted);
}

TEST(HistoryJudge, row_2b_an_unknown_incarnation_has_diverged) {
  for (const auto cause : {HistoryCause::created, HistoryCause::unclean_stop, HistoryCause::restamp})
    expect_refused_at(beginning_with(cause), request(7, 30, 40), ErrorKind::HistoriesParted, Lsn{30});
}

TEST(HistoryJudge, row_2_comes_before_rows_3_and_4) {
  expect_refused(root(), request(7, 500, 500), ErrorKind::HistoriesParted);
  expect_refused(root(), request(7, 5, 5), ErrorKind::HistoriesParted);
  expect_window(beginning_with(HistoryCause::unlogged_change), request(1, 500, 500));
}

TEST(HistoryJudge, row_3a_a_mirror_that_lags_behind_its_own_mirror_is_busy) {
  expect_refused(mirror(), request(2, 91, 91, 901), ErrorKind::Busy);
  expect_refused(mirror(), request(1, 51, 51, 901), ErrorKind::Busy);
}

TEST(HistoryJudge, row_3b_a_mirror_that_has_caught_up_with_its_own_mirror_sends_it_to_bootstrap) {
  expect_window(mirror(), request(2, 91, 91, 900));
  expect_window(mirror(), request(2, 91, 91, 1));
}

TEST(HistoryJudge, row_3c_a_root_past_whose_end_the_mirror_is_lies_behind) {
  expect_refused_at(root(), request(1, 51, 51), ErrorKind::SourceBehind, Lsn{50});
  expect_refused_at(root(), request(2, 91, 95), ErrorKind::SourceBehind, Lsn{90});
}

TEST(HistoryJudge, row_3c_holds_at_a_promoted_database_and_not_row_3a) {
  auto source = root();
  source.role = DatabaseRole::promoted;
  expect_refused_at(source, request(2, 91, 91, 901), ErrorKind::SourceBehind, Lsn{90});
}

TEST(HistoryJudge, row_3_is_judged_by_the_last_entry_and_not_by_what_is_applied) {
  expect_from(root(), request(1, 50, 60), Lsn{50});
  expect_from(root(), request(2, 90, 200), Lsn{90});
  expect_from(mirror(), request(2, 90, 200, 901), Lsn{90});
}

TEST(HistoryJudge, row_3_comes_before_row_4) {
  auto source = root();
  source.oldest = Lsn{60};
  expect_refused(source, request(1, 51, 51), ErrorKind::SourceBehind);
}

TEST(HistoryJudge, row_4_a_log_that_is_no_longer_held_has_passed_the_window) {
  expect_window(root(), request(1, 19, 19));
  expect_from(root(), request(1, 19, 20), Lsn{20});
  expect_from(root(), request(1, 20, 20), Lsn{20});
}

TEST(HistoryJudge, row_4_is_judged_by_the_end_of_the_incarnation_where_that_is_less) {
  auto source = root();
  source.oldest = Lsn{60};
  expect_window(source, request(1, 50, 70));
  source.oldest = Lsn{50};
  expect_from(source, request(1, 50, 70), Lsn{50});
}

TEST(HistoryJudge, the_log_goes_on_from_the_applied_lsn_or_from_the_end_of_its_incarnation) {
  expect_from(root(), request(1, 30, 40), Lsn{40});
  expect_from(root(), request(1, 30, 50), Lsn{50});
  expect_from(root(), request(1, 30, 51), Lsn{50});
  expect_from(root(), request(2, 60, 89), Lsn{89});
  expect_from(root(), request(2, 60, 95), Lsn{90});
}

TEST(HistoryJudge, a_source_without_an_entry_serves_a_mirror_without_one) {
  SourceState source;
  source.origin = incarnation(1);
  source.history = History::beginning({incarnation(1), Lsn{1}, HistoryCause::created});
  expect_from(source, request(1, 0, 0), Lsn{0});
  expect_refused_at(source, request(1, 1, 1), ErrorKind::SourceBehind, Lsn{0});
}

TEST(HistoryJudge, row_5_another_entry_at_the_last_lsn_has_diverged) {
  const auto diverged = judge_proof(PositionProof::diverged, request(1, 30, 40));
  ASSERT_TRUE(diverged.has_value());
  EXPECT_EQ(diverged->kind(), ErrorKind::HistoriesParted);
  EXPECT_EQ(diverged->caused_by(), CausedBy::peer);
  ASSERT_TRUE(std::holds_alternative<AtLsn>(diverged->data()));
  EXPECT_EQ(std::get<AtLsn>(diverged->data()).lsn, Lsn{30});
}

TEST(HistoryJudge, row_5_the_same_entry_goes_on) {
  EXPECT_FALSE(judge_proof(PositionProof::same, request(1, 30, 40)).has_value());
}

TEST(HistoryJudge, row_5_what_cannot_be_proven_goes_on) {
  EXPECT_FALSE(judge_proof(PositionProof::unverified, request(1, 30, 40)).has_value());
}

}  // namespace
}  // namespace crosslink::test
