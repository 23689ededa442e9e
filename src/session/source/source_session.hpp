// One mirror's session at the source: frames and answers of the engine in, frames and questions to the engine out.
// Bytes and rules: docs/protocol.md, "Sessions". No sockets, clocks or threads: a driver carries the actions out, in
// order, and says what came of them.
//
// It opens and closes small machines, each of which stands in core/source/ and knows none of the others:
//   send_window.hpp    bytes in flight, bandwidth, pause: when a bulk frame may go
//   log_feed.hpp       the log, batch by batch, or one large entry in fragments
//   snapshot_feed.hpp  a snapshot, from where the mirror has it
//   verify_feed.hpp    the view that both compare
//   window_notice.hpp  how long until what a slow mirror needs is dropped
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "session/source/log_feed.hpp"
#include "session/source/snapshot_feed.hpp"
#include "session/source/verify_feed.hpp"
#include "session/source/window_notice.hpp"

namespace crosslink::core {

struct SourceSessionConfig {
  std::string software;
  std::vector<std::string> chain;  ///< this "cluster/database" first, then its own source's, up to the root
  bool sync_named = false;         ///< this mirror stands in sync_mirrors
  OnSyncLoss on_sync_loss = OnSyncLoss::error;
  std::chrono::milliseconds sync_timeout{0};
  /// With sync_named: what its confirmations are worth now. Quick. Empty: the mirror is not told.
  std::function<std::optional<SyncStanding>(const MirrorIdentity&)> sync_standing;
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  std::uint64_t in_flight_bytes_max = 64ull * 1024 * 1024;
  std::uint64_t bulk_bytes_max = bulk_data_bytes_max;
  /// May the mirror have another one now? Counted over all sessions, so that no mirror gets more by dialing again.
  /// Empty: it may.
  std::function<bool(Instant)> take_snapshot, take_verify;
  Duration begin_deadline{5'000'000};
  /// A snapshot or a verify whose mirror makes no progress for so long is given up: what it holds is others'. The
  /// mirror asks again, and goes on where it was if the snapshot is still there.
  Duration stall_max{300'000'000};
  std::function<void()> on_stall;      ///< that was done; may be empty
  Duration snapshot_retry{1'000'000};  ///< while the engine has no room for another snapshot
  /// SourceEngine::window_left; empty: nothing is said of the window.
  std::function<std::optional<WindowLeft>(Lsn after)> window_left;
  Duration notice_every{5'000'000};  ///< of the window, to a mirror that is behind
};

/// What a session asks about its database, answered at once.
struct SourceNow {
  SourceState state;
  std::optional<Duration> upstream_lag;  ///< 0 at a root; absent: unknown
};

class SourceSession {
 public:
  /// `control` is the stream whose first frame must be the mirror's SessionBegin; `read_now` must outlive the session.
  SourceSession(SourceSessionConfig config, std::function<SourceNow()> read_now, StreamToken control, Instant now);
  ~SourceSession();

  /// A whole frame. The first one on a stream says what the stream is for.
  void on_frame(StreamToken stream, std::uint8_t kind, std::span<const std::byte> payload, Instant now);
  /// The mirror ended or reset the stream.
  void on_stream_end(StreamToken stream, Instant now);
  void on_written(StreamToken stream, Instant now);
  void on_head(Lsn head, Instant now);
  /// False: on_head() would change nothing, whatever was committed; the log will be read up to the head anyway, or
  /// not at all. Changes only in calls of this class.
  bool wants_head() const { return log_.wants_head(); }
  void on_log(Question question, Result<LogPiece> piece, Instant now);
  void on_proof(Question question, Result<PositionProof> proof, Instant now);
  /// True: keep the reader for the questions to come; false: no stream waits for it any more.
  bool on_snapshot(Question question, Result<SnapshotFacts> facts, Instant now);
  void on_snapshot_piece(Question question, Result<SnapshotReader::Piece> piece, Instant now);
  /// As on_snapshot.
  bool on_view(Question question, Result<Lsn> at, Instant now);
  void on_digest(Question question, Result<RangeDigest::Answer> answer, Instant now);
  void on_keys(Question question, Result<Keys::Answer> answer, Instant now);
  void on_time(Instant now);
  /// The history changes, or the source stops: says so by closing.
  void end(Instant now);

  /// What to do, in order. Empty after the call.
  std::vector<SourceAction> take_actions() { return out_.take(); }
  bool closed() const { return phase_ == Phase::closed; }
  /// Absent: the mirror has not begun the session yet.
  const std::optional<MirrorIdentity>& mirror() const { return mirror_; }
  std::uint64_t in_flight_bytes() const { return window_.in_flight(); }

 private:
  enum class Phase : std::uint8_t { begin, running, closed };

  void on_message(StreamToken stream, const SessionMessage& message, Instant now);
  void on_new_stream(StreamToken stream, const SessionMessage& message, Instant now);
  void on_control(const SessionMessage& message, Instant now);
  void on_session_begin(const SessionBegin& begin);
  void open_log(StreamToken stream, const LogRequest& request);
  void open_snapshot(StreamToken stream, const SnapshotRequest& request, Instant now);
  void open_verify(StreamToken stream, const VerifyBegin& begin, Instant now);
  /// What the engine said made a stream fail.
  void fail_if(StreamToken stream, const Result<void>& result);
  void fail_stream(StreamToken stream, const MirrorError& error);
  void fail_session(StreamToken stream, const MirrorError& error);
  void close(std::uint64_t code, const MirrorError& error);
  void close_feed(StreamToken stream);
  bool outlived(Instant now);
  void give_up_bulk();
  void give_up_stalled(Instant now);
  void advance(Instant now);
  source::FeedLimits limits() const { return {static_cast<std::size_t>(bulk_bytes_max_), entry_bytes_max_}; }

  SourceSessionConfig config_;
  std::function<SourceNow()> read_now_;
  StreamToken control_;
  Phase phase_ = Phase::begin;
  Instant begin_by_;
  source::Outbox out_;
  source::SendWindow window_;
  source::LogFeed log_;
  source::SnapshotFeed snapshot_;
  source::VerifyFeed verify_;
  source::WindowNotice notice_;
  std::uint64_t features_ = 0, entry_bytes_max_ = 0, bulk_bytes_max_ = 0;
  /// Of the history that the mirror was told: the newest incarnation, and how often it had gone back.
  std::pair<std::optional<Incarnation>, std::uint64_t> announced_;
  std::optional<MirrorIdentity> mirror_;
};

}  // namespace crosslink::core
