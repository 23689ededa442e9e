// Symptom: the mirror of a mirror that had no data yet was "Disconnected: a SessionBegin cannot be read: a history is
// empty or too long", a ProtocolViolation caused by the peer, until the middle had its data.
// Cause: the source began a session although it had no history to tell.
#include <gtest/gtest.h>

#include "session/source/source_session.hpp"

namespace crosslink::test {
namespace {

using namespace core;

TEST(SourceWithoutData, is_busy_and_says_why) {
  constexpr StreamToken control = 1;
  constexpr Instant now{1};
  SourceSession session({}, [] { return SourceNow{}; }, control, now);
  SessionBegin begin;
  begin.bulk_data_bytes_max = bulk_data_bytes_max;
  begin.entry_bytes_max = entry_bytes_max_default;
  begin.in_flight_bytes_max = 64ull * 1024 * 1024;
  const auto frame = encode_message(begin);
  session.on_frame(control, kind_of(SessionMessage(begin)), std::span(frame).subspan(frame_header_bytes), now);
  std::optional<MirrorError> told;
  for (const auto& one : session.take_actions()) {
    if (const auto* sent = std::get_if<source_action::Send>(&one)) {
      const auto message = decode_message(std::to_integer<std::uint8_t>(sent->head[0]),
                                          std::span(sent->head).subspan(frame_header_bytes));
      ASSERT_TRUE(message.ok());
      told = to_error(std::get<SessionFailure>(message->message));
    }
  }
  ASSERT_TRUE(told);
  EXPECT_EQ(told->kind(), ErrorKind::Busy);
  EXPECT_NE(told->message().find("has no data yet"), std::string::npos) << told->message();
  EXPECT_TRUE(session.closed());
}

}  // namespace
}  // namespace crosslink::test
