// The small machines of a session at the source, each by itself.
#include <gtest/gtest.h>

#include <algorithm>

#include "session/source/log_feed.hpp"
#include "session/source/snapshot_feed.hpp"
#include "session/source/verify_feed.hpp"
#include "session/source/window_notice.hpp"

namespace crosslink::test {
namespace {

using namespace core::source;
namespace action = core::source_action;

constexpr core::StreamToken control = 1, stream = 2;
constexpr std::uint64_t cap = 1'000'000;

template <class Action>
std::vector<Action> all(const std::vector<core::SourceAction>& actions) {
  std::vector<Action> found;
  for (const auto& one : actions)
    if (const auto* wanted = std::get_if<Action>(&one)) found.push_back(*wanted);
  return found;
}
template <class Message>
std::size_t sent(const std::vector<core::SourceAction>& actions) {
  const auto sends = all<action::Send>(actions);
  return static_cast<std::size_t>(std::ranges::count_if(
      sends, [](const auto& one) { return std::to_integer<std::uint8_t>(one.head[0]) == core::kind_of(Message{}); }));
}
SharedBytes bytes_of(std::size_t count) { return std::make_shared<const std::vector<std::byte>>(count, std::byte{1}); }

class FeedTest : public ::testing::Test {
 protected:
  core::Instant now{1'000'000};
  Outbox out;
  SendWindow window{out};
  void SetUp() override { window.open(cap); }
};

// --- send window ---------------------------------------------------------------------------------------------------

using SendWindowTest = FeedTest;

TEST_F(SendWindowTest, at_the_cap_nothing_goes_until_a_quarter_is_free) {
  BulkStream bulk;
  window.send(bulk, core::LogBatch{}, bytes_of(1), 0, 1, cap, now);
  EXPECT_FALSE(window.may_send(bulk, now));  // the transport has not taken it
  bulk.writing = false;
  EXPECT_FALSE(window.may_send(bulk, now));
  EXPECT_TRUE(window.release(bulk, cap / 4 - 1));
  EXPECT_FALSE(window.may_send(bulk, now));
  EXPECT_TRUE(window.release(bulk, cap / 4));
  EXPECT_TRUE(window.may_send(bulk, now));
}

TEST_F(SendWindowTest, a_mirror_cannot_let_go_of_more_than_it_got_nor_take_back) {
  BulkStream bulk;
  window.send(bulk, core::LogBatch{}, bytes_of(1), 0, 1, 100, now);
  EXPECT_FALSE(window.release(bulk, 101));
  EXPECT_TRUE(window.release(bulk, 60));
  EXPECT_FALSE(window.release(bulk, 59));
  EXPECT_EQ(window.in_flight(), 40u);
  window.forget(bulk);
  EXPECT_EQ(window.in_flight(), 0u);
}

TEST_F(SendWindowTest, bandwidth_and_pause_of_the_mirror_hold) {
  BulkStream bulk;
  window.on_limit({1'000'000, false}, now);
  window.send(bulk, core::LogBatch{}, bytes_of(100'000), 0, 100'000, 100'000, now);
  bulk.writing = false;
  EXPECT_FALSE(window.may_send(bulk, now + core::Duration(99'000)));
  EXPECT_FALSE(all<action::Wake>(out.take()).empty());
  EXPECT_TRUE(window.may_send(bulk, now + core::Duration(101'000)));
  window.on_limit({0, true}, now);
  EXPECT_FALSE(window.may_send(bulk, now + core::Duration(10'000'000)));
}

TEST_F(SendWindowTest, a_lease_is_told_once) {
  BulkStream bulk;
  window.tell_leases(bulk, {{7, 60}, {8, 60}});
  window.tell_leases(bulk, {{7, 60}});
  EXPECT_EQ(sent<core::LeaseInfo>(out.take()), 2u);
}

// --- log -----------------------------------------------------------------------------------------------------------

class LogFeedTest : public FeedTest {
 protected:
  Lsn head{10};
  const FeedLimits limits{4096, 1'000'000};
  LogFeed log{out, window, [this] { return head; }};

  void begin() {
    log.open(stream, {{{}, {}, {Lsn{5}, {}}, Lsn{8}, Lsn{8}}, {}}, Lsn{8});
    ASSERT_EQ(all<action::Prove>(out.take()).size(), 1u);
    SourceState state;
    state.head = head;
    ASSERT_TRUE(log.on_proof(PositionProof::same, state).ok());
    EXPECT_EQ(sent<core::LogBegin>(out.take()), 1u);
  }
  std::optional<action::ReadLog> read() {
    log.advance(limits, now);
    const auto asked = all<action::ReadLog>(out.take());
    return asked.empty() ? std::nullopt : std::optional(asked[0]);
  }
  core::LogPiece piece(std::uint64_t before, std::uint64_t last, std::size_t bytes) const {
    core::LogPiece made;
    made.slice.prev_lsn = Lsn{before};
    made.slice.last_lsn = made.slice.origin_lsn = Lsn{last};
    made.slice.count = bytes == 0 ? 0 : 1;
    made.slice.entries = made.data = bytes_of(bytes);
    return made;
  }
};

TEST_F(LogFeedTest, one_read_and_one_write_are_under_way_at_a_time) {
  begin();
  const auto asked = read();
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->after, Lsn{8});
  EXPECT_FALSE(read());
  EXPECT_TRUE(log.waits_for(asked->question));
  ASSERT_TRUE(log.on_log(piece(8, 9, 100), limits, now).ok());
  EXPECT_EQ(sent<core::LogBatch>(out.take()), 1u);
  EXPECT_FALSE(read());
  log.on_written();
  EXPECT_EQ(read()->after, Lsn{9});
}

TEST_F(LogFeedTest, at_the_head_it_reads_again_only_when_told) {
  begin();
  ASSERT_TRUE(read());
  ASSERT_TRUE(log.on_log(piece(8, 10, 100), limits, now).ok());
  log.on_written();
  EXPECT_FALSE(read());
  EXPECT_TRUE(log.wants_head());
  log.on_head();
  EXPECT_TRUE(read());
}

TEST_F(LogFeedTest, a_commit_between_the_reading_and_its_answer_is_not_missed) {
  begin();
  ASSERT_TRUE(read());
  head = Lsn{11};
  ASSERT_TRUE(log.on_log(piece(8, 8, 0), limits, now).ok());
  EXPECT_TRUE(read());
}

TEST_F(LogFeedTest, a_large_entry_goes_in_fragments_and_one_over_the_mirrors_limit_ends_the_stream) {
  begin();
  ASSERT_TRUE(read());
  ASSERT_TRUE(log.on_log(piece(8, 9, 10'000), limits, now).ok());
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(read());
    log.on_written();
  }
  ASSERT_TRUE(read());
  const auto refused = log.on_log(piece(9, 10, 2'000'000), limits, now);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::UnsupportedOperation);
}

TEST_F(LogFeedTest, an_acknowledgement_out_of_range_is_refused) {
  begin();
  ASSERT_TRUE(read());
  ASSERT_TRUE(log.on_log(piece(8, 10, 100), limits, now).ok());
  out.take();
  EXPECT_FALSE(log.on_ack({Lsn{11}, Lsn{8}, 0}, {}));
  EXPECT_FALSE(log.on_ack({Lsn{9}, Lsn{10}, 0}, {}));
  EXPECT_FALSE(log.on_ack({Lsn{10}, Lsn{10}, 101}, {}));
  EXPECT_TRUE(out.take().empty());
  EXPECT_TRUE(log.on_ack({Lsn{9}, Lsn{8}, 50}, {}));
  const auto said = out.take();
  EXPECT_EQ(all<action::Unpin>(said).size(), 1u);
  ASSERT_EQ(all<action::MirrorAt>(said).size(), 1u);
  EXPECT_EQ(log.needed(), Lsn{9});
  EXPECT_FALSE(log.on_ack({Lsn{8}, Lsn{8}, 50}, {}));
  EXPECT_TRUE(log.on_ack({Lsn{10}, Lsn{10}, 100}, {}));
  EXPECT_FALSE(log.needed());
}

// --- snapshot ------------------------------------------------------------------------------------------------------

class SnapshotFeedTest : public FeedTest {
 protected:
  static constexpr core::Duration retry{1'000'000};
  SnapshotFeed snapshot{out, window, retry};
  SnapshotFacts facts;

  void open(std::uint64_t offset = 0) {
    facts.format = std::string(kv_format);
    facts.snapshot_lsn = Lsn{9};
    core::SnapshotRequest request{{facts.format}, {}, offset};
    if (offset > 0) request.snapshot_id = facts.id;
    SourceState state;
    state.head = Lsn{9};
    snapshot.open(stream, request, state, now);
    snapshot.advance(4096, now);
    const auto said = out.take();
    ASSERT_EQ(all<action::Pin>(said).size(), 1u);
    ASSERT_EQ(all<action::OpenSnapshot>(said).size(), 1u);
  }
  std::optional<action::ReadSnapshot> read() {
    snapshot.advance(4096, now);
    const auto asked = all<action::ReadSnapshot>(out.take());
    return asked.empty() ? std::nullopt : std::optional(asked[0]);
  }
};

TEST_F(SnapshotFeedTest, while_the_engine_has_no_room_the_mirror_is_told_once_and_it_is_tried_again) {
  open();
  const MirrorError busy(ErrorKind::Busy, CausedBy::us, "two are being read");
  for (const std::size_t notices : {std::size_t{1}, std::size_t{0}}) {
    const auto keep = snapshot.on_opened(busy, control, now);
    ASSERT_TRUE(keep.ok());
    EXPECT_FALSE(*keep);
    EXPECT_EQ(sent<core::Notice>(out.take()), notices);
    snapshot.advance(4096, now);
    EXPECT_TRUE(all<action::OpenSnapshot>(out.take()).empty());
    now += retry;
    snapshot.advance(4096, now);
    EXPECT_EQ(all<action::OpenSnapshot>(out.take()).size(), 1u);
  }
  EXPECT_FALSE(snapshot.progress_at());
}

TEST_F(SnapshotFeedTest, what_the_mirror_has_is_read_and_not_sent) {
  open(100);
  ASSERT_TRUE(*snapshot.on_opened(facts, control, now));
  out.take();
  auto asked = read();
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->bytes_max, 100u);
  ASSERT_TRUE(snapshot.on_piece(SnapshotReader::Piece{bytes_of(100), false, {}, {}}, now).ok());
  EXPECT_EQ(sent<core::SnapshotChunk>(out.take()), 0u);
  asked = read();
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->offset, 100u);
  ASSERT_TRUE(snapshot.on_piece(SnapshotReader::Piece{bytes_of(50), true, {}, {}}, now).ok());
  EXPECT_EQ(sent<core::SnapshotChunk>(out.take()), 1u);
  EXPECT_FALSE(snapshot.on_ack({151}, now));
  EXPECT_TRUE(snapshot.on_ack({150}, now));
  EXPECT_EQ(window.in_flight(), 0u);
  snapshot.close();
  EXPECT_EQ(all<action::CloseSnapshot>(out.take()).size(), 1u);
}

TEST_F(SnapshotFeedTest, a_paused_mirror_keeps_no_snapshot_open) {
  window.on_limit({0, true}, now);
  facts.format = std::string(kv_format);
  snapshot.open(stream, {{facts.format}, {}, 0}, {}, now);
  snapshot.advance(4096, now);
  EXPECT_TRUE(all<action::OpenSnapshot>(out.take()).empty());
  window.on_limit({}, now);
  snapshot.advance(4096, now);
  EXPECT_EQ(all<action::OpenSnapshot>(out.take()).size(), 1u);
}

// --- verify --------------------------------------------------------------------------------------------------------

class VerifyFeedTest : public FeedTest {
 protected:
  VerifyFeed verify{out};
  void open() {
    verify.open(stream);
    ASSERT_EQ(all<action::OpenView>(out.take()).size(), 1u);
    ASSERT_TRUE(verify.on_view(Lsn{8}, now).ok());
    ASSERT_EQ(sent<core::VerifyAt>(out.take()), 1u);
  }
};

TEST_F(VerifyFeedTest, answers_one_question_at_a_time_once_the_mirror_is_there) {
  open();
  EXPECT_FALSE(verify.on_frame(core::RangeDigest{}, now));  // before its VerifyAt
  EXPECT_TRUE(verify.on_frame(core::VerifyAt{Lsn{8}}, now));
  EXPECT_FALSE(verify.on_frame(core::VerifyAt{Lsn{8}}, now));
  EXPECT_TRUE(verify.on_frame(core::RangeDigest{}, now));
  EXPECT_FALSE(verify.on_frame(core::RangeDigest{}, now));
  EXPECT_FALSE(verify.progress_at());
  const auto asked = all<action::DigestRange>(out.take());
  ASSERT_EQ(asked.size(), 1u);
  ASSERT_TRUE(verify.waits_for(asked[0].question));
  ASSERT_TRUE(verify.on_digest(core::RangeDigest::Answer{3, {}, {}}, now).ok());
  EXPECT_EQ(sent<core::RangeDigest>(out.take()), 1u);
  EXPECT_TRUE(verify.on_frame(core::Keys{}, now));
}

TEST_F(VerifyFeedTest, an_end_and_a_failure_close_the_view) {
  open();
  EXPECT_TRUE(verify.on_frame(core::VerifyEnd{core::VerifyOutcome::unknown, "for the test"}, now));
  EXPECT_FALSE(verify.is_open());
  EXPECT_EQ(all<action::CloseView>(out.take()).size(), 1u);
  open();
  EXPECT_TRUE(verify.on_frame(core::SessionFailure{}, now));
  EXPECT_EQ(all<action::CloseView>(out.take()).size(), 1u);
}

TEST_F(VerifyFeedTest, a_view_that_cannot_be_opened_ends_it) {
  verify.open(stream);
  EXPECT_FALSE(verify.on_view(MirrorError(ErrorKind::Storage, CausedBy::us, "no room"), now).ok());
  verify.close();
  EXPECT_TRUE(all<action::CloseView>(out.take()).empty());
}

// --- notice of the window ------------------------------------------------------------------------------------------

class WindowNoticeTest : public FeedTest {
 protected:
  static constexpr core::Duration every{5'000'000};
  std::uint64_t left_bytes = 1'000'000;
  WindowNotice notice{out, [this](Lsn) { return WindowLeft{left_bytes, {}}; }, every};
  std::size_t said(std::optional<Lsn> needed) {
    notice.advance(true, [needed] { return needed; }, control, now);
    return sent<core::Notice>(out.take());
  }
};

TEST_F(WindowNoticeTest, a_mirror_that_is_behind_for_a_moment_needs_none) {
  EXPECT_EQ(said(Lsn{5}), 0u);
  now += every;
  EXPECT_EQ(said(std::nullopt), 0u);
  now += every;
  EXPECT_EQ(said(Lsn{5}), 1u);
  EXPECT_EQ(said(Lsn{5}), 0u);
}

TEST_F(WindowNoticeTest, nothing_is_due_without_a_stream) {
  said(Lsn{5});
  EXPECT_TRUE(notice.due_at());
  notice.advance(false, [] { return std::optional(Lsn{5}); }, control, now);
  EXPECT_FALSE(notice.due_at());
}

}  // namespace
}  // namespace crosslink::test
