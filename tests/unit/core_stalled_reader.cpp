// A snapshot or a verify that its mirror does not go on with gives its place to others.
#include <gtest/gtest.h>

#include "session/source/source_session.hpp"

namespace crosslink::test {
namespace {

using namespace core;
using std::chrono::seconds;

constexpr StreamToken control = 1, bulk = 2;

class StalledReader : public ::testing::Test {
 public:
  StalledReader() {
    state.origin.bytes[0] = std::byte{7};
    state.history = History::beginning({state.origin, Lsn{1}, HistoryCause::created});
    state.head = state.origin_lsn = Lsn{10};
    SourceSessionConfig config;
    config.stall_max = seconds(60);
    config.on_stall = [this] { ++stalls; };
    session = std::make_unique<SourceSession>(
        std::move(config), [this] { return SourceNow{state, Duration(0)}; }, control, Instant(0));
    SessionBegin begin;
    begin.features = feature_verify | feature_limit;
    begin.bulk_data_bytes_max = bulk_data_bytes_max;
    begin.entry_bytes_max = entry_bytes_max_default;
    begin.in_flight_bytes_max = 64ull * 1024 * 1024;
    hear(control, begin, seconds(0));
  }
  void hear(StreamToken stream, const SessionMessage& message, Instant now) {
    const auto frame = encode_message(message);
    session->on_frame(stream, kind_of(message), std::span(frame).subspan(frame_header_bytes), now);
    look();
  }
  void look() {
    for (const auto& action : session->take_actions()) {
      if (const auto* open = std::get_if<source_action::OpenSnapshot>(&action)) opened = open->question;
      if (const auto* read = std::get_if<source_action::ReadSnapshot>(&action)) reads = read->question;
      if (const auto* view = std::get_if<source_action::OpenView>(&action)) opened = view->question;
      if (std::holds_alternative<source_action::CloseSnapshot>(action)) closed = true;
      if (std::holds_alternative<source_action::CloseView>(action)) closed = true;
      if (const auto* wake = std::get_if<source_action::Wake>(&action)) wake_at = wake->at;
      const auto* send = std::get_if<source_action::Send>(&action);
      if (send == nullptr || send->data) continue;
      const auto message = decode_message(std::to_integer<std::uint8_t>(send->head[0]),
                                          std::span(send->head).subspan(frame_header_bytes));
      if (const auto* failure = std::get_if<SessionFailure>(&message.value().message)) failed = to_error(*failure);
    }
  }
  void open_snapshot(Instant now) {
    hear(bulk, SnapshotRequest{{std::string(kv_format)}, {}, 0}, now);
    ASSERT_TRUE(opened);
    SnapshotFacts facts;
    facts.format = std::string(kv_format);
    facts.snapshot_lsn = facts.consistent_lsn = Lsn{10};
    facts.origin = facts.incarnation = state.origin;
    EXPECT_TRUE(session->on_snapshot(*opened, facts, now));
    look();
  }
  void at(Instant now) {
    session->on_time(now);
    look();
  }

  SourceState state;
  int stalls = 0;
  bool closed = false;
  std::optional<Question> opened, reads;
  std::optional<MirrorError> failed;
  Instant wake_at{0};
  std::unique_ptr<SourceSession> session;
};

TEST_F(StalledReader, of_a_paused_snapshot_is_closed_after_a_while_and_the_mirror_is_told_to_come_again) {
  open_snapshot(seconds(0));
  hear(control, Limit{0, true}, seconds(1));
  // What was asked for before the pause still comes.
  session->on_snapshot_piece(*reads, SnapshotReader::Piece{std::make_shared<std::vector<std::byte>>(100), false},
                             seconds(1));
  look();
  at(seconds(60));
  EXPECT_FALSE(closed);
  at(seconds(62));
  EXPECT_TRUE(closed);
  EXPECT_EQ(stalls, 1);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->kind(), ErrorKind::Busy);
}

TEST_F(StalledReader, of_a_paused_mirror_is_not_opened_before_it_resumes) {
  hear(control, Limit{0, true}, seconds(0));
  hear(bulk, SnapshotRequest{{std::string(kv_format)}, {}, 0}, seconds(1));
  at(seconds(100));
  EXPECT_FALSE(opened) << "it would keep another from being read";
  hear(control, Limit{0, false}, seconds(101));
  EXPECT_TRUE(opened);
}

TEST_F(StalledReader, is_not_one_whose_mirror_acknowledges_or_whose_bandwidth_is_small) {
  open_snapshot(seconds(0));
  hear(control, Limit{1, false}, seconds(0));
  session->on_snapshot_piece(*reads, SnapshotReader::Piece{std::make_shared<std::vector<std::byte>>(100), false},
                             seconds(0));
  look();
  session->on_written(bulk, seconds(1));
  look();
  at(seconds(100));
  EXPECT_FALSE(closed) << "at a byte a second the source itself waits";
  hear(control, Limit{0, false}, seconds(100));
  hear(bulk, SnapshotAck{50}, seconds(110));
  at(seconds(165));
  EXPECT_FALSE(closed);
}

TEST_F(StalledReader, of_a_verify_is_closed_as_well) {
  hear(bulk, VerifyBegin{Lsn{10}}, seconds(0));
  ASSERT_TRUE(opened);
  EXPECT_TRUE(session->on_view(*opened, Lsn{10}, seconds(5)));
  look();
  at(seconds(64));
  EXPECT_FALSE(closed);
  at(seconds(66));
  EXPECT_TRUE(closed);
  EXPECT_EQ(stalls, 1);
}

}  // namespace
}  // namespace crosslink::test
