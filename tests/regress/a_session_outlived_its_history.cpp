// Symptom: after a restamp of a database a mirror that had reconnected at that moment kept the old incarnation with the
// new one's LSNs: at its next reconnect it was told SourceBehind and halted.
// Cause: sessions are ended before a history changes, but one could begin between the two; it went on, under the
// history it had told its mirror.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "session/source/source_session.hpp"

namespace crosslink::test {
namespace {

using namespace core;

constexpr StreamToken control = 1, log_stream = 2;
constexpr Instant now{1};

class OutlivedSession : public ::testing::Test {
 public:
  OutlivedSession() {
    state.origin.bytes[0] = std::byte{7};
    state.history = History::beginning({state.origin, Lsn{1}, HistoryCause::created});
    state.head = state.origin_lsn = Lsn{10};
    SessionBegin begin;
    begin.features = feature_verify | feature_limit;
    begin.bulk_data_bytes_max = bulk_data_bytes_max;
    begin.entry_bytes_max = entry_bytes_max_default;
    begin.in_flight_bytes_max = 64ull * 1024 * 1024;
    hear(control, begin);
    position.origin = position.incarnation = state.origin;
    position.applied_lsn = position.origin_lsn = Lsn{8};
  }
  void hear(StreamToken stream, const SessionMessage& message) {
    const auto frame = encode_message(message);
    session.on_frame(stream, kind_of(message), std::span(frame).subspan(frame_header_bytes), now);
  }
  void restamp() {
    Incarnation another;
    another.bytes[0] = std::byte{8};
    state.history.append({another, Lsn{11}, HistoryCause::restamp});
  }
  template <class Action>
  std::optional<Action> one() {
    for (auto& action : session.take_actions()) {
      if (auto* found = std::get_if<Action>(&action)) return *found;
    }
    return std::nullopt;
  }
  Question asked_log() {
    hear(log_stream, LogRequest{position, {}});
    session.on_proof(one<source_action::Prove>().value().question, PositionProof::same, now);
    return one<source_action::ReadLog>().value().question;
  }
  /// Nothing but the close is said.
  void expect_end_alone() {
    const auto actions = session.take_actions();
    ASSERT_EQ(actions.size(), 1u);
    ASSERT_TRUE(std::holds_alternative<source_action::Close>(actions.front()));
    EXPECT_EQ(std::get<source_action::Close>(actions.front()).code, 0u);
    EXPECT_TRUE(session.closed());
  }

  SourceState state;
  Position position;
  SourceSession session{{}, [this] { return SourceNow{state, Duration(0)}; }, control, now};
};

TEST_F(OutlivedSession, sends_no_log_that_was_read_after_the_change) {
  const auto question = asked_log();
  restamp();
  LogPiece piece;
  piece.slice = {Lsn{8}, Lsn{12}, 0, std::make_shared<const std::vector<std::byte>>(), Lsn{12}};
  piece.data = piece.slice.entries;
  session.on_log(question, piece, now);
  expect_end_alone();
}

TEST_F(OutlivedSession, begins_no_log_and_no_snapshot) {
  hear(log_stream, LogRequest{position, {}});
  const auto proof = one<source_action::Prove>().value().question;
  restamp();
  session.on_proof(proof, PositionProof::same, now);
  expect_end_alone();
}

TEST_F(OutlivedSession, believes_no_acknowledgement_and_answers_no_probe) {
  static_cast<void>(asked_log());
  restamp();
  hear(log_stream, LogAck{Lsn{8}, Lsn{8}, 0});
  expect_end_alone();
}

TEST_F(OutlivedSession, takes_a_source_that_went_back_for_no_window_that_passed) {
  const auto question = asked_log();
  state.head = state.origin_lsn = state.oldest = Lsn{5};
  ++state.times_gone_back;
  session.on_log(
      question,
      MirrorError(ErrorKind::LogWindowExceeded, CausedBy::us, "no longer held", LogWindow{state.oldest, state.head}),
      now);
  expect_end_alone();
}

TEST_F(OutlivedSession, is_none_while_the_history_stays) {
  const auto question = asked_log();
  LogPiece piece;
  piece.slice = {Lsn{8}, Lsn{10}, 0, std::make_shared<const std::vector<std::byte>>(), Lsn{10}};
  piece.data = piece.slice.entries;
  session.on_log(question, piece, now);
  hear(log_stream, LogAck{Lsn{8}, Lsn{8}, 0});
  EXPECT_FALSE(session.closed());
  EXPECT_TRUE(one<source_action::MirrorAt>().has_value());
}

}  // namespace
}  // namespace crosslink::test
