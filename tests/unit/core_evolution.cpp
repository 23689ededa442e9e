// A peer of a later version: what it adds is passed over, what it cannot do without is refused by name.
#include <gtest/gtest.h>

#include <deque>

#include "session/mirror/mirror_machine.hpp"
#include "session/source/source_session.hpp"
#include "wire/message_tree.hpp"

namespace crosslink::test {
namespace {

using namespace core;

constexpr std::uint8_t skippable_kind = 0x95, unskippable_kind = 0x15;
constexpr std::uint64_t future_feature = 1ull << 40;
constexpr StreamToken control = 1;

/// The message as a later version would write it: with fields that this one does not know.
std::vector<std::byte> with_future_fields(const SessionMessage& message) {
  const auto frame = encode_message(message);
  auto tree = read_tree(std::span(frame).subspan(frame_header_bytes)).value().map;
  tree.insert(tree.begin(), {"a_new_field", {std::string("of a later version")}});
  tree.push_back({"another", {TreeList{{std::uint64_t{1}}, {TreeMap{{"nested", {true}}}}}}});
  std::vector<std::byte> payload;
  write_tree(payload, tree);
  return payload;
}

SessionBegin mirrors_begin() {
  SessionBegin begin;
  begin.features = feature_verify | feature_limit | future_feature;
  begin.software = "crosslink 9.0";
  begin.bulk_data_bytes_max = bulk_data_bytes_max;
  begin.entry_bytes_max = entry_bytes_max_default;
  begin.in_flight_bytes_max = 64ull * 1024 * 1024;
  return begin;
}

SourceState source_state() {
  SourceState state;
  state.origin.bytes[0] = std::byte{7};
  state.history = History::beginning({state.origin, Lsn{1}, HistoryCause::created});
  state.head = Lsn{5};
  state.oldest = Lsn{5};
  state.origin_lsn = Lsn{5};
  return state;
}

SessionBegin sources_begin() {
  auto begin = mirrors_begin();
  const auto state = source_state();
  begin.source = SessionBegin::Source{{"prod-us/orders"}, state.origin, state.history, {}};
  return begin;
}

/// What was sent on a stream, decoded.
template <class Action, class Actions>
std::vector<SessionMessage> sent(const Actions& actions, StreamToken stream, auto frame_of) {
  std::vector<SessionMessage> messages;
  for (const auto& action : actions) {
    const auto* send = std::get_if<Action>(&action);
    if (send == nullptr || send->stream != stream) continue;
    const auto& frame = frame_of(*send);
    auto decoded =
        decode_message(std::to_integer<std::uint8_t>(frame[0]), std::span(frame).subspan(frame_header_bytes));
    messages.push_back(decoded.value().message);
  }
  return messages;
}

class FutureMirror : public ::testing::Test {
 public:
  SourceSession session{SourceSessionConfig{}, [] { return SourceNow{source_state(), Duration(0)}; }, control,
                        Instant(0)};
  std::vector<SessionMessage> said(StreamToken stream = control) {
    const auto actions = session.take_actions();
    for (const auto& action : actions)
      closed_ = closed_ || std::holds_alternative<source_action::Close>(action);
    return sent<source_action::Send>(actions, stream, [](const auto& send) -> const auto& { return send.head; });
  }
  void hear(const SessionMessage& message, StreamToken stream = control) {
    session.on_frame(stream, kind_of(message), with_future_fields(message), Instant(1));
  }
  bool closed_ = false;
};

TEST_F(FutureMirror, with_more_fields_and_feature_bits_is_served) {
  hear(mirrors_begin());
  const auto answers = said();
  ASSERT_EQ(answers.size(), 1u);
  const auto& answer = std::get<SessionBegin>(answers.front());
  EXPECT_EQ(answer.features & future_feature, 0u) << "only what both know holds";
  EXPECT_TRUE(answer.source.has_value());
  hear(Probe{17});
  const auto replies = said();
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(std::get<ProbeReply>(replies.front()).t0_us, 17u);
  EXPECT_FALSE(closed_);
}

TEST_F(FutureMirror, may_send_kinds_that_can_be_skipped) {
  hear(mirrors_begin());
  static_cast<void>(said());
  const std::vector<std::byte> unreadable(100, std::byte{0xc1});
  session.on_frame(control, skippable_kind, unreadable, Instant(1));
  session.on_frame(9, skippable_kind, unreadable, Instant(1));
  EXPECT_TRUE(said().empty());
  hear(Probe{18});
  EXPECT_EQ(said().size(), 1u);
  EXPECT_FALSE(closed_);
}

TEST_F(FutureMirror, that_sends_a_kind_which_cannot_be_skipped_is_refused_by_its_name) {
  hear(mirrors_begin());
  static_cast<void>(said());
  session.on_frame(control, unskippable_kind, {}, Instant(1));
  const auto answers = said();
  ASSERT_EQ(answers.size(), 1u);
  const auto& failure = std::get<SessionFailure>(answers.front());
  EXPECT_EQ(failure.kind, "UnsupportedOperation");
  EXPECT_NE(failure.detail.find("0x15"), std::string::npos) << failure.detail;
  EXPECT_TRUE(closed_);
}

class FutureSource : public ::testing::Test {
 public:
  FutureSource() {
    machine.on_time(Instant(0));
    machine.on_connected(Instant(1));
    static_cast<void>(said());
  }
  std::vector<SessionMessage> said(StreamToken stream = control) {
    const auto actions = machine.take_actions();
    for (const auto& action : actions)
      closed_ = closed_ || std::holds_alternative<mirror_action::CloseLink>(action);
    return sent<mirror_action::Send>(actions, stream, [](const auto& send) -> const auto& { return send.frame; });
  }
  void hear(std::uint8_t kind, std::vector<std::byte> payload) {
    const auto kept = std::make_shared<const std::vector<std::byte>>(std::move(payload));
    machine.on_frame(control, kind, kept, *kept, Instant(2));
  }
  void hear(const SessionMessage& message) { hear(kind_of(message), with_future_fields(message)); }
  bool closed_ = false;
  MemoryFragmentStore fragments;
  ThrottleAccount throttle{64u << 20};
  MirrorMachine machine{{}, {}, {"memory", true, true, {std::string(kv_format)}}, fragments, throttle, Instant(0)};
};

TEST_F(FutureSource, with_more_fields_and_feature_bits_is_followed) {
  hear(sources_begin());
  const auto actions = machine.take_actions();
  const auto requests =
      sent<mirror_action::Send>(actions, 2, [](const auto& send) -> const auto& { return send.frame; });
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<SnapshotRequest>(requests.front())) << "it goes on to bootstrap";
  EXPECT_EQ(machine.source()->chain, std::vector<std::string>{"prod-us/orders"});
}

TEST_F(FutureSource, may_send_kinds_that_can_be_skipped) {
  hear(sources_begin());
  static_cast<void>(said());
  hear(skippable_kind, std::vector<std::byte>(100, std::byte{0xc1}));
  EXPECT_TRUE(said().empty());
  EXPECT_FALSE(closed_);
  EXPECT_NE(machine.status(Instant(3)).kind, StatusKind::Halted);
}

TEST_F(FutureSource, that_sends_a_kind_which_cannot_be_skipped_is_refused_by_its_name) {
  hear(sources_begin());
  static_cast<void>(said());
  hear(unskippable_kind, {});
  const auto answers = said();
  ASSERT_EQ(answers.size(), 1u);
  const auto& failure = std::get<SessionFailure>(answers.front());
  EXPECT_NE(failure.detail.find("0x15"), std::string::npos) << failure.detail;
  EXPECT_TRUE(closed_);
  EXPECT_EQ(machine.status(Instant(3)).kind, StatusKind::Halted);
}

}  // namespace
}  // namespace crosslink::test
