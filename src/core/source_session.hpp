// One mirror's session at the source: frames and answers of the engine in, frames and questions to the engine out.
// Bytes and rules: docs/protocol.md, "Sessions". No sockets, clocks or threads: a driver carries the actions out, in
// order, and says what came of them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/history_judge.hpp"
#include "core/lag_tracker.hpp"
#include "core/session_frames.hpp"
#include "core/session_tokens.hpp"
#include "core/throttle_account.hpp"

namespace crosslink::core {

/// A slice of log as it goes onto the wire: encoded and compressed once, shared by all mirrors that need it.
struct LogPiece {
  LogSlice slice;
  SharedBytes data;  ///< slice.entries, compressed if codec says so
  std::string codec = std::string(codec_none);
  std::uint32_t crc32c = 0;  ///< of data
};

namespace source_action {
/// One whole frame: head, then data[data_at, data_at + data_bytes). For a bulk frame the driver says on_written() once
/// the transport has taken it; until then the session sends no other bulk frame on that stream.
struct Send {
  StreamToken stream = 0;
  std::vector<std::byte> head;
  SharedBytes data;  ///< null for a control frame
  std::size_t data_at = 0, data_bytes = 0;
};
struct EndStream {
  StreamToken stream = 0;
};  ///< after what was sent; nothing more is read from it
struct Close {
  std::uint64_t code = 0;
  MirrorError error;
};  ///< after what was sent. The session is over; nothing comes after it
struct ReadLog {
  Question question = 0;
  Lsn after;
  std::size_t bytes_max = 0;
  bool zstd = false;
};  ///< on_log
struct Prove {
  Question question = 0;
  EntryId last_entry;
  Lsn at;
};  ///< on_proof
struct Pin {
  Lsn from;
};
struct Unpin {};
struct OpenSnapshot {
  Question question = 0;
  std::vector<std::string> formats;
  std::optional<SnapshotId> wanted;
};  ///< on_snapshot
struct ReadSnapshot {
  Question question = 0;
  std::uint64_t offset = 0;
  std::size_t bytes_max = 0;
};  ///< on_snapshot_piece
struct CloseSnapshot {};
struct OpenView {
  Question question = 0;
};  ///< on_view
struct DigestRange {
  Question question = 0;
  KeyRange range;
};  ///< on_digest
struct ListKeys {
  Question question = 0;
  KeyRange range;
};  ///< on_keys
struct CloseView {};
/// The mirror says how far it is, in the history whose newest incarnation is `incarnation`: for sync mode and for
/// people.
struct MirrorAt {
  Incarnation incarnation;
  Lsn applied, durable;
};
struct Wake {
  Instant at;
};  ///< call on_time() then, or earlier
}  // namespace source_action
using SourceAction =
    std::variant<source_action::Send, source_action::EndStream, source_action::Close, source_action::ReadLog,
                 source_action::Prove, source_action::Pin, source_action::Unpin, source_action::OpenSnapshot,
                 source_action::ReadSnapshot, source_action::CloseSnapshot, source_action::OpenView,
                 source_action::DigestRange, source_action::ListKeys, source_action::CloseView, source_action::MirrorAt,
                 source_action::Wake>;

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
  /// May the mirror have another one now? Counted over all sessions, so that nobody gets more by dialing again. Empty:
  /// it may.
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
  /// False: on_head() would change nothing, whatever was committed; the log will be read up to the head anyway, or by
  /// nobody. Changes only in calls of this class.
  bool wants_head() const { return log_ && log_->begun && (log_->at_head || log_->asked); }
  void on_log(Question question, Result<LogPiece> piece, Instant now);
  void on_proof(Question question, Result<PositionProof> proof, Instant now);
  /// True: keep the reader for the questions to come; false: nobody waits for it any more.
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
  std::vector<SourceAction> take_actions();
  bool closed() const { return phase_ == Phase::closed; }
  /// Absent: the mirror has not begun the session yet.
  const std::optional<MirrorIdentity>& mirror() const { return mirror_; }
  std::uint64_t in_flight_bytes() const { return account_.in_flight(); }

 private:
  enum class Phase : std::uint8_t { begin, running, closed };
  enum class Role : std::uint8_t { control, log, snapshot, verify };
  struct Bulk {
    StreamToken token = 0;
    std::uint64_t charged_bytes = 0, released_bytes = 0;
    bool writing = false;           ///< the transport has not taken the last frame
    std::optional<Question> asked;  ///< an answer of the engine is on its way
    std::set<std::uint64_t> leases_told;
  };
  struct Log : Bulk {
    Position request;
    bool zstd = false;
    bool begun = false, at_head = false, unpinned = false;
    bool told = false;  ///< of a newer head, since the log was asked for
    Lsn from, sent_lsn, acked_applied;
    Lsn head_at_ask;
    std::optional<LogPiece> fragmented;  ///< an entry under way in fragments
    std::size_t fragment_at = 0;
  };
  struct Snapshot : Bulk {
    SnapshotRequest request;
    std::optional<SnapshotFacts> facts;
    std::uint64_t begin_offset = 0, offset = 0, acked_offset = 0;
    std::uint32_t crc32c = 0;
    bool done = false;
    bool waits = false;  ///< for room at the engine; the mirror was told
    std::optional<Instant> retry_at;
    Instant progress_at{};  ///< a piece was sent, or acknowledged
  };
  struct Verify {
    StreamToken token = 0;
    Lsn applied;
    std::optional<Question> asked;
    bool said_at = false, confirmed = false;  ///< our VerifyAt, the mirror's
    KeyRange range;                           ///< of the question
    Instant progress_at{};                    ///< somebody said something
  };

  void send(StreamToken stream, const SessionMessage& message);
  void tell_leases(Bulk& bulk, const std::vector<LeaseGrant>& leases);
  void send_bulk(Bulk& bulk, const SessionMessage& message, SharedBytes data, std::size_t at, std::size_t bytes,
                 std::uint64_t units, Instant now);
  void fail_stream(StreamToken stream, const MirrorError& error);
  void fail_session(StreamToken stream, const MirrorError& error);
  void on_new_stream(StreamToken stream, const SessionMessage& message, Instant now);
  void on_control(const SessionMessage& message, Instant now);
  void on_session_begin(const SessionBegin& begin);
  void on_log_request(StreamToken stream, const LogRequest& request);
  void on_log_ack(const LogAck& ack, Instant now);
  void on_snapshot_request(StreamToken stream, const SnapshotRequest& request, Instant now);
  void on_snapshot_ack(const SnapshotAck& ack, Instant now);
  void on_verify(const SessionMessage& message);
  void open_verify(StreamToken stream, const VerifyBegin& begin, Instant now);
  bool release(Bulk& bulk, std::uint64_t cumulative);
  bool outlived(Instant now);
  void give_up_bulk();
  void drop_log();
  void drop_snapshot();
  void drop_verify();
  void pump(Instant now);
  void pump_log(Instant now);
  void pump_snapshot(Instant now);
  void notice_window(Instant now);
  void ask_snapshot();
  void give_up_stalled(Instant now);
  void send_fragment(Instant now);
  bool may_send(const Bulk& bulk, Instant now);
  std::size_t bulk_bytes() const;

  SourceSessionConfig config_;
  std::function<SourceNow()> read_now_;
  StreamToken control_;
  Phase phase_ = Phase::begin;
  Instant begin_by_;
  std::vector<SourceAction> actions_;
  std::uint64_t features_ = 0, entry_bytes_max_ = 0, bulk_bytes_max_ = 0;
  /// Of the history that the mirror was told: the newest incarnation, and how often it had gone back.
  std::pair<std::optional<Incarnation>, std::uint64_t> announced_;
  std::optional<MirrorIdentity> mirror_;
  Limit limit_;
  std::optional<Instant> next_send_;  ///< bandwidth
  ThrottleAccount account_{0};
  bool throttled_ = false;
  std::optional<Log> log_;
  std::optional<Snapshot> snapshot_;
  std::optional<Verify> verify_;
  struct WindowSample {
    Instant at;
    std::uint64_t bytes = 0;
  };
  std::optional<WindowSample> window_sample_;  ///< of the last Notice
  std::optional<Instant> notice_at_;
  Question last_question_ = 0;
};

}  // namespace crosslink::core
