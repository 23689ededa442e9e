// Notice: a mirror that is behind is told when the log it needs will be dropped. docs/protocol.md, "0x0c Notice".
#include <gtest/gtest.h>

#include "session/mirror/mirror_machine.hpp"
#include "session/source/source_session.hpp"

namespace crosslink::test {
namespace {

using namespace core;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr StreamToken control = 1, log_stream = 2;

class WindowNotice : public ::testing::Test {
 public:
  WindowNotice() {
    state.origin.bytes[0] = std::byte{7};
    state.history = History::beginning({state.origin, Lsn{1}, HistoryCause::created});
    state.head = state.origin_lsn = Lsn{10};
    SessionBegin begin;
    begin.features = feature_verify | feature_limit;
    begin.software = "crosslink 1.0";
    begin.bulk_data_bytes_max = bulk_data_bytes_max;
    begin.entry_bytes_max = entry_bytes_max_default;
    begin.in_flight_bytes_max = 64ull * 1024 * 1024;
    hear(control, begin, seconds(0));
    Position position;
    position.origin = position.incarnation = state.origin;
    hear(log_stream, LogRequest{position, {}}, seconds(0));
    static_cast<void>(notices());
    session->on_proof(question, PositionProof::same, seconds(0));
    static_cast<void>(notices());
  }
  void hear(StreamToken stream, const SessionMessage& message, Instant now) {
    const auto frame = encode_message(message);
    session->on_frame(stream, kind_of(message), std::span(frame).subspan(frame_header_bytes), now);
  }
  std::vector<Notice> notices() {
    std::vector<Notice> said;
    for (const auto& action : session->take_actions()) {
      if (const auto* wake = std::get_if<source_action::Wake>(&action)) wake_at = wake->at;
      if (const auto* prove = std::get_if<source_action::Prove>(&action)) question = prove->question;
      const auto* send = std::get_if<source_action::Send>(&action);
      if (send == nullptr || send->stream != control) continue;
      const auto message = decode_message(std::to_integer<std::uint8_t>(send->head[0]),
                                          std::span(send->head).subspan(frame_header_bytes));
      if (const auto* notice = std::get_if<Notice>(&message.value().message)) said.push_back(*notice);
    }
    return said;
  }
  std::vector<Notice> after_waking(std::optional<WindowLeft> engine_says) {
    left = engine_says;
    session->on_time(wake_at);
    return notices();
  }

  SourceState state;
  std::optional<WindowLeft> left;
  Lsn asked_for;
  Question question = 0;
  Instant wake_at{0};
  std::unique_ptr<SourceSession> session = make();

 private:
  std::unique_ptr<SourceSession> make() {
    SourceSessionConfig config;
    config.window_left = [this](Lsn after) {
      asked_for = after;
      return left;
    };
    return std::make_unique<SourceSession>(
        config, [this] { return SourceNow{state, Duration(0)}; }, control, Instant(0));
  }
};

TEST_F(WindowNotice, a_mirror_that_is_behind_is_told_the_bytes_and_from_the_second_time_on_the_time_by_their_rate) {
  EXPECT_EQ(wake_at, seconds(5));
  EXPECT_EQ(after_waking(WindowLeft{10'000, {}}), (std::vector<Notice>{{{}, {}, 10'000}}));
  EXPECT_EQ(asked_for, Lsn{0}) << "what it has acknowledged";
  EXPECT_EQ(wake_at, seconds(10));
  // 2,000 bytes in 5 s: 8,000 bytes last 20 s.
  EXPECT_EQ(after_waking(WindowLeft{8'000, {}}), (std::vector<Notice>{{{}, 20'000, 8'000}}));
  EXPECT_EQ(after_waking(WindowLeft{9'000, {}}), (std::vector<Notice>{{{}, {}, 9'000}})) << "it catches up";
  EXPECT_EQ(after_waking(WindowLeft{0, {}}), (std::vector<Notice>{{{}, 0, 0}}));
}

TEST_F(WindowNotice, of_the_engines_time_and_the_rate_the_shorter_is_told) {
  EXPECT_EQ(after_waking(WindowLeft{10'000, milliseconds(900)}), (std::vector<Notice>{{{}, 900, 10'000}}));
  EXPECT_EQ(after_waking(WindowLeft{8'000, milliseconds(900)}), (std::vector<Notice>{{{}, 900, 8'000}}));
  EXPECT_EQ(after_waking(WindowLeft{4'000, milliseconds(90'000)}), (std::vector<Notice>{{{}, 5'000, 4'000}}));
}

TEST_F(WindowNotice, nothing_is_said_to_a_mirror_at_the_head_nor_of_a_log_that_is_gone) {
  EXPECT_TRUE(after_waking(std::nullopt).empty());
  state.head = Lsn{0};
  EXPECT_TRUE(after_waking(WindowLeft{10'000, {}}).empty());
  state.head = Lsn{10};
  EXPECT_EQ(after_waking(WindowLeft{9'000, {}}).size(), 1u);
}

TEST_F(WindowNotice, between_two_notices_nothing_is_asked_however_often_it_is_woken) {
  left = WindowLeft{10'000, {}};
  for (int i = 0; i < 100; ++i)
    session->on_time(seconds(4) + Duration(i));
  EXPECT_TRUE(notices().empty());
  EXPECT_EQ(wake_at, seconds(5));
}

TEST_F(WindowNotice, a_session_that_has_closed_asks_to_be_woken_no_more) {
  session->end(seconds(1));
  static_cast<void>(session->take_actions());
  session->on_time(seconds(6));
  EXPECT_TRUE(session->take_actions().empty());
}

class NoticedMirror : public ::testing::Test {
 public:
  NoticedMirror() {
    machine.on_time(Instant(0));
    machine.on_connected(Instant(1));
    SessionBegin begin;
    begin.features = feature_verify | feature_limit;
    begin.bulk_data_bytes_max = bulk_data_bytes_max;
    begin.entry_bytes_max = entry_bytes_max_default;
    begin.in_flight_bytes_max = 64ull * 1024 * 1024;
    Incarnation origin;
    origin.bytes[0] = std::byte{7};
    begin.source = SessionBegin::Source{
        {"prod-us/orders"}, origin, History::beginning({origin, Lsn{1}, HistoryCause::created}), {}};
    hear(begin);
  }
  void hear(const SessionMessage& message) {
    const auto kept = std::make_shared<const std::vector<std::byte>>(encode_message(message));
    machine.on_frame(control, kind_of(message), kept, std::span(*kept).subspan(frame_header_bytes), Instant(2));
  }
  MemoryFragmentStore fragments;
  ThrottleAccount throttle{64u << 20};
  MirrorMachine machine{{}, {}, {"memory", true, true, {std::string(kv_format)}}, fragments, throttle, Instant(0)};
};

TEST_F(NoticedMirror, shows_the_queue_and_the_window_in_its_reason_until_the_link_is_lost) {
  hear(Notice{1, {}, {}});
  hear(Notice{{}, 12'500, 4096});
  EXPECT_EQ(machine.notice(), (Notice{1, 12'500, 4096})) << "each speaks of what it names only";
  const auto status = machine.status(Instant(3));
  EXPECT_EQ(status.kind, StatusKind::Bootstrapping);
  EXPECT_NE(status.reason.find("1 other snapshot"), std::string::npos) << status.reason;
  EXPECT_NE(status.reason.find("drops the log it needs in 12.500 s"), std::string::npos) << status.reason;
  machine.on_disconnected(MirrorError::not_connected("the link"), Instant(4));
  EXPECT_EQ(machine.notice(), Notice{});
}

TEST_F(NoticedMirror, bounds_a_time_that_no_clock_can_hold) {
  hear(Notice{{}, std::numeric_limits<std::uint64_t>::max(), 1});
  EXPECT_LE(*machine.notice().window_left_ms, 1000ull * 3600 * 24 * 365);
  EXPECT_GT(*machine.notice().window_left_ms, 0u);
}

}  // namespace
}  // namespace crosslink::test
