// A mirror: everything it decides, from the first dial to promotion. Frames, answers of the engine, the operator's
// wishes and the time in; frames, engine calls and dials out. Bytes and rules: docs/protocol.md, "Sessions".
// No sockets, clocks or threads: a driver carries the actions out, in order, and says what came of them.
//
//   link      down -> dialing -> beginning -> up -> closing -> down
//   engine    at most one call at a time; what arrives meanwhile waits, bounded by the throttle's cap
//   streams   control always; snapshot or log; verify now and then
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/lag_tracker.hpp"
#include "core/log_order.hpp"
#include "core/mirror_status.hpp"
#include "core/session_frames.hpp"
#include "core/snapshot_assembler.hpp"
#include "core/source_session.hpp"
#include "core/verify_compare.hpp"
#include "crosslink/backoff.hpp"

namespace crosslink::core {

namespace mirror_action {
/// connect() the first time, schedule_reconnect() after that: on_connected or on_dial_failed.
struct Dial {
  bool reconnect = false;
  Lsn applied;
};
/// on_disconnected once no frame can come any more. Also after on_disconnected was said by itself.
struct CloseLink {};
/// A control or request frame; the first on a stream opens it.
struct Send {
  StreamToken stream = 0;
  std::vector<std::byte> frame;
};
/// Give up what we send and what we read of it; no frame of it may come after this.
struct DropStream {
  StreamToken stream = 0;
};
/// May bulk frames be read? Control and verify always are.
struct ReadBulk {
  bool allowed = true;
};
/// The session has brought something: CrossClusterLink::note_progress().
struct Progress {};
struct Wake {
  Instant at;
};  ///< call on_time() then, or earlier

// Engine calls, answered by on_engine. Only one is under way.
struct Apply {
  std::vector<AcceptedBatch> batches;  ///< keep what `group` points to
  std::vector<LeaseGrant> leases;      ///< note_leases() first, if there are any
  ApplyGroup group;
};
struct StepBack {
  Lsn from;
};
struct Sync {};
struct BeginSnapshot {
  SnapshotFacts facts;
};
struct StoreChunk {
  StoredChunk chunk;
  std::shared_ptr<const void> keep;
  std::span<const std::byte> bytes;
  std::vector<LeaseGrant> leases;  ///< note_leases() first, if there are any
};
struct CheckSnapshot {};
struct SwitchSnapshot {
  Lsn consistent_lsn;  ///< note_consistent() first
};
struct DropSnapshot {};
struct Promote {};
struct OpenView {};

// Questions about the view, answered by on_digest and on_keys; beside engine calls.
struct DigestRange {
  Question question = 0;
  KeyRange range;
};
struct ListKeys {
  Question question = 0;
  KeyRange range;
};
struct CloseView {};
}  // namespace mirror_action
using MirrorAction =
    std::variant<mirror_action::Dial, mirror_action::CloseLink, mirror_action::Send, mirror_action::DropStream,
                 mirror_action::ReadBulk, mirror_action::Progress, mirror_action::Wake, mirror_action::Apply,
                 mirror_action::StepBack, mirror_action::Sync, mirror_action::BeginSnapshot, mirror_action::StoreChunk,
                 mirror_action::CheckSnapshot, mirror_action::SwitchSnapshot, mirror_action::DropSnapshot,
                 mirror_action::Promote, mirror_action::OpenView, mirror_action::DigestRange, mirror_action::ListKeys,
                 mirror_action::CloseView>;

/// Where the engine stands after a call.
struct EngineMark {
  std::optional<Position> position;
  Lsn durable;
  bool inconsistent = false;  ///< as in MirrorState
  std::optional<PromotedFrom> promoted_from = std::nullopt;
};
struct EngineAnswer {
  EngineMark mark;
  std::optional<SnapshotCheck> check;         ///< of CheckSnapshot
  std::optional<PromotedFrom> promoted_from;  ///< of Promote
};

struct PromotionWish {
  bool accept_inconsistent = false;
  std::optional<Duration> age_max = {};  ///< older data, or data of unknown age, is not promoted
  std::optional<Duration> within = {};   ///< given up then; absent: it is tried until it is done or withdrawn
};

struct MirrorMachineConfig {
  std::string software;
  std::string self;                        ///< own "cluster/database": a chain that contains it is a loop
  MirrorId id;                             ///< which copy of it; all zero: the source is not told
  bool sync = false;                       ///< demand sync mode; a source that names this mirror makes it so, too
  bool resync_when_source_behind = false;  ///< instead of Halted; never with sync
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  std::uint64_t in_flight_bytes_max = 64ull * 1024 * 1024;
  std::uint64_t group_bytes_max = 8ull * 1024 * 1024;  ///< most that is applied at once
  bool zstd = true;
  std::optional<Duration> max_lag;  ///< smallest limit that readers set; probes follow it
  Duration ack_every{50'000};
  std::uint64_t ack_bytes_max = 4ull * 1024 * 1024;
  Duration sync_every{1'000'000};  ///< async mode: at least so often what is applied is made durable
  Duration begin_deadline{5'000'000};
  Duration retry_base{1'000'000}, retry_cap{30'000'000};  ///< of refused streams and failing storage
  Duration verify_deadline{30'000'000};
  Duration control_silence_max = core::control_silence_max;  ///< without a control frame: Disconnected
};

class MirrorMachine {
 public:
  static constexpr StreamToken control_stream = 1;

  /// `state` and `traits` are the engine's; `fragments` must outlive the machine.
  MirrorMachine(MirrorMachineConfig config, MirrorState state, EngineTraits traits, FragmentStore& fragments,
                Instant now);
  ~MirrorMachine();

  // What happened.
  void on_connected(Instant now);
  void on_dial_failed(const MirrorError& error, Instant now);
  void on_disconnected(const MirrorError& error, Instant now);
  /// A whole frame on a stream that is open. `payload` stays readable as long as `keep` is held.
  void on_frame(StreamToken stream, std::uint8_t kind, std::shared_ptr<const void> keep,
                std::span<const std::byte> payload, Instant now);
  /// The source ended or reset the stream, or it could not be opened.
  void on_stream_end(StreamToken stream, const std::optional<MirrorError>& error, Instant now);
  void on_engine(Result<EngineAnswer> answer, Instant now);
  void on_digest(Question question, Result<RangeDigest::Answer> answer, Instant now);
  void on_keys(Question question, Result<Keys::Answer> answer, Instant now);
  /// MirrorEngine::watch_position.
  void on_position_moved(Instant now);
  void on_time(Instant now);
  void on_round_trip(Duration round_trip) { round_trip_ = round_trip; }
  /// Smallest lag that readers accept; absent: they do not ask.
  void set_max_lag(std::optional<Duration> max_lag) { config_.max_lag = max_lag; }

  // What the operator wants. Errors: MirrorPromoted once promoted; others as said.
  Result<void> pause(Instant now);
  /// Ends a pause, and a halt: the source is asked again.
  Result<void> resume(Instant now);
  /// Drops nothing that is readable now: a new snapshot replaces it.
  Result<void> resync(Instant now);
  /// Begins a promotion, which ends as promoted_from() or given_up(). Errors: Configuration when there is no data to
  /// promote, or none that is consistent and that is not accepted; Busy while another is under way.
  Result<void> promote(Instant now, const PromotionWish& wish = {});
  /// Why the promotion that was begun last did not come about; the mirror follows on. Absent: it is under way, or done.
  const std::optional<MirrorError>& given_up() const { return given_up_; }
  /// How many promotions were begun: an answer is that of the promotion it was read for.
  std::uint64_t promotions() const { return promotions_; }
  /// The data was too old when it was to take writes, or nobody knew how old.
  bool given_up_for_age() const { return given_up_for_age_; }
  /// How old the data was at most when it was opened for writes; absent: unknown, or it was not promoted by this
  /// machine.
  const std::optional<Duration>& age_at_promotion() const { return age_at_promotion_; }
  Result<void> set_bandwidth(std::uint64_t bytes_per_s, Instant now);
  /// Errors: Busy while one runs; Configuration when it is not following.
  Result<void> start_verify(Instant now);
  /// Ends the link and takes up nothing more; idle() once nothing is under way.
  void stop(Instant now);

  std::vector<MirrorAction> take_actions();
  MirrorStatus status(Instant now);
  std::optional<Duration> lag(Instant now) const { return lag_.lag(now); }
  const std::optional<Position>& position() const { return mark_.position; }
  Lsn durable() const { return mark_.durable; }
  std::uint64_t bootstraps() const { return bootstraps_; }  ///< snapshots switched in, the first one included
  std::uint64_t last_snapshot_bytes() const { return last_snapshot_bytes_; }  ///< of the last one switched in
  /// The head that the source last named; absent before the first session.
  const std::optional<Lsn>& source_head() const { return source_head_; }
  /// Of the source, in this session or the last; absent: it names no such mirror, or did not say.
  const std::optional<SyncPromise>& sync_promise() const { return sync_promise_; }
  /// When a control frame came last; absent: none did since the start.
  const std::optional<Instant>& heard_at() const { return control_at_; }
  /// How old the source's own data was when it last said so.
  const std::optional<UpstreamAge>& upstream() const { return upstream_; }
  /// Of log and snapshots, as they count for the throttle, since the machine was made.
  std::uint64_t received_bytes() const { return received_bytes_; }
  /// Where the snapshot that comes, or came last, was taken up; 0: at its beginning.
  std::uint64_t snapshot_resumed_at() const { return snapshot_resumed_at_; }
  /// Sync mode is in force: demanded here, or the source names this mirror.
  bool sync() const { return config_.sync || sync_named_; }
  /// Received, neither applied nor stored yet.
  std::uint64_t held_bytes() const { return held_bytes_ + fragment_bytes_; }
  /// Why its data is, or is about to be, of no single moment; empty: it is of one, or there is none.
  std::string why_inconsistent() const;
  bool promoted() const { return promoted_from_.has_value(); }
  const std::optional<PromotedFrom>& promoted_from() const { return promoted_from_; }
  const std::optional<MirrorError>& last_error() const { return last_error_; }
  std::optional<VerifyResult> take_verify_result();
  bool verifying() const { return verify_.has_value(); }
  bool idle() const { return link_ == Link::down && !engine_; }
  /// What the source said of itself, in this session or the last.
  const std::optional<SessionBegin::Source>& source() const { return source_; }
  /// The source could not prove that the log goes on from this mirror's last entry.
  bool unverified() const { return unverified_; }
  /// What the source last said of the queue for snapshots and of its window; of this session, and while it matters.
  const Notice& notice() const { return notice_; }

 private:
  enum class Link : std::uint8_t { down, dialing, beginning, up, closing };
  struct LogStream {
    StreamToken token = 0;
    bool requested_from_switch = false;  ///< the first after a bootstrap
    std::optional<LogOrder> order;       ///< once it has begun
    std::uint64_t released_bytes = 0, acked_released_bytes = 0;
    Lsn acked_applied, acked_durable;
    Instant acked_at{0};
    std::optional<Lsn> step_back_to;
  };
  struct SnapshotStream {
    StreamToken token = 0;
    bool begun = false;
    std::uint64_t acked_offset = 0;
    Instant acked_at{0};
  };
  struct WaitingChunk {
    StoredChunk chunk;
    std::shared_ptr<const void> keep;
    std::span<const std::byte> bytes;
    std::vector<LeaseGrant> leases;
  };
  struct VerifyRun {
    StreamToken token = 0;
    enum class Phase : std::uint8_t { drain, ask, reach, compare } phase = Phase::drain;
    Instant deadline;
    std::optional<Lsn> at;
    bool view_wanted = false, view_asked = false, view_open = false;
    VerifyCompare compare;
    Question question = 0;
    std::optional<RangeDigest::Answer> source_digest, mirror_digest;
    std::optional<Keys::Answer> source_keys, mirror_keys;
  };
  enum class Call : std::uint8_t {
    apply,
    step_back,
    sync,
    begin_snapshot,
    store_chunk,
    check_snapshot,
    switch_snapshot,
    drop_snapshot,
    promote,
    open_view
  };
  struct Retry {
    Duration delay{0};
    std::optional<Instant> at;
    bool due(Instant now) const { return !at || now >= *at; }
    void clear() { *this = {}; }
  };

  // mirror_machine.cpp
  void advance(Instant now);
  void advance_link(Instant now);
  void advance_streams(Instant now);
  void probe(Instant now);
  void acknowledge(Instant now);
  void acknowledge_log(Instant now);
  void acknowledge_snapshot(Instant now);
  bool wants_link() const;
  void close_link();
  void session_over(Instant now);
  void halt(const MirrorError& error, Instant now);
  void want_bootstrap(std::string reason);
  void send(StreamToken stream, const SessionMessage& message);
  void back_off(Retry& retry, Instant now);
  void wake(Instant at);
  Result<void> refuse_if_promoted() const;
  /// At once, or when the engine's call has failed that may still bring it about.
  void give_up_promotion(MirrorError why, Instant now);
  void advance_promotion(Instant now);
  Duration probe_interval() const;
  void set_held(std::uint64_t bytes);

  // mirror_receive.cpp
  void violation(StreamToken stream, const MirrorError& error, Instant now);
  void on_control(const SessionMessage& message, Instant now);
  void on_session_begin(const SessionBegin& begin, Instant now);
  void on_notice(const Notice& notice);
  void on_log_frame(const Decoded& decoded, std::shared_ptr<const void> keep, std::span<const std::byte> payload,
                    Instant now);
  void on_log_begin(const LogBegin& begin, Instant now);
  void on_log_batch(const LogBatch& batch, std::shared_ptr<const void> keep, std::span<const std::byte> data,
                    Instant now);
  void on_fragment(const EntryFragment& fragment, std::span<const std::byte> data, Instant now);
  void on_snapshot_frame(const Decoded& decoded, std::shared_ptr<const void> keep, std::span<const std::byte> payload,
                         Instant now);
  void on_failure(StreamToken stream, const MirrorError& error, Instant now);
  void on_log_failure(const MirrorError& error, Instant now);
  void on_snapshot_failure(const MirrorError& error, Instant now);
  void accept(AcceptedBatch batch, std::uint64_t units);
  void drop_log_stream();
  void drop_snapshot_stream();
  void on_lease(StreamToken stream, const LeaseInfo& info, Instant now);
  void reread_engine();
  void forget_pending();
  void forget_chunks();
  std::uint64_t count_held();
  bool take_in(StreamToken stream, std::uint64_t bytes, Instant now);

  // mirror_engine.cpp
  void advance_engine(Instant now);
  void ask_for_view();
  void on_promoted(const PromotedFrom& from, Instant now);
  bool start_apply(Instant now);
  void advance_snapshot(Instant now);
  void call(Call which, MirrorAction action);
  void on_applied(Instant now);
  void on_checked(const SnapshotCheck& check, Instant now);
  void on_switched(Instant now);
  void on_engine_error(Call which, const MirrorError& error, Instant now);
  void on_storage_error(const MirrorError& error, Instant now);
  Position position_after(const AcceptedBatch& batch) const;
  void note_durable();

  // mirror_verify.cpp
  void advance_verify(Instant now);
  void on_verify_frame(const SessionMessage& message, Instant now);
  void end_verify(VerifyResult result, bool tell_source);
  void break_off_verify(std::string reason, bool tell_source);
  void wait_for_answers(Instant now);
  void compare_next();
  void compare_answers();
  std::optional<Lsn> apply_limit() const;

  MirrorMachineConfig config_;
  EngineTraits traits_;
  FragmentStore* fragments_;
  std::vector<MirrorAction> actions_;

  // the engine
  EngineMark mark_;
  std::optional<PromotedFrom> promoted_from_;
  std::optional<Call> engine_;
  std::vector<AcceptedBatch> applying_;
  Position applying_to_;
  std::optional<StoredChunk> storing_;
  std::uint64_t storing_units_ = 0;
  Retry storage_retry_;
  std::optional<MirrorError> storage_error_;
  std::optional<Instant> dirty_since_;  ///< applied is ahead of durable
  bool reread_wanted_ = false;          ///< the engine was Busy: where it stands is not known until it says so

  // received, waiting for the engine
  std::deque<AcceptedBatch> pending_;
  std::deque<WaitingChunk> chunks_;
  std::vector<LeaseGrant> leases_;  ///< told, for the batch or chunk that comes next
  /// What a batch or a chunk takes in memory beside its bytes, about: many small ones count as well.
  static constexpr std::uint64_t item_bytes = 512;
  std::uint64_t held_bytes_ = 0;      ///< in throttle units
  std::uint64_t fragment_bytes_ = 0;  ///< of whole entries that came in fragments
  bool bulk_allowed_ = true;

  // the link
  Link link_ = Link::down;
  bool dialed_before_ = false;
  Retry hard_retry_;
  std::string link_reason_ = "it has not dialed yet";
  std::optional<MirrorError> last_error_;
  StreamToken last_token_ = control_stream;
  std::optional<SessionBegin::Source> source_;
  bool unverified_ = false;  ///< of the log that goes on, or went on last
  bool sync_named_ = false;  ///< by the source, in this session or the last
  std::optional<SyncPromise> sync_promise_;
  std::optional<Lsn> source_head_;
  std::optional<UpstreamAge> upstream_;
  std::uint64_t received_bytes_ = 0, snapshot_resumed_at_ = 0;
  std::uint64_t features_ = 0, cap_bytes_ = 0;
  Instant begin_by_{0};
  std::optional<Instant> control_at_, probed_at_;
  std::optional<Duration> round_trip_;
  Notice notice_;
  bool progress_since_caught_up_ = false;
  std::optional<Instant> caught_up_since_;

  // streams
  std::optional<LogStream> log_;
  std::optional<SnapshotStream> snapshot_;
  Retry log_retry_, snapshot_retry_;

  // bootstrap
  SnapshotAssembler assembler_;
  bool bootstrap_wanted_ = false;
  std::string bootstrap_reason_;
  bool begin_snapshot_wanted_ = false, drop_snapshot_wanted_ = false, check_wanted_ = false, switch_wanted_ = false;
  bool just_switched_ = false;            ///< no log has begun since
  Lsn consistent_lsn_;                    ///< of the data switched in
  std::uint32_t bootstrap_failures_ = 0;  ///< windows that passed while a snapshot came, in a row
  std::uint64_t bootstraps_ = 0, last_snapshot_bytes_ = 0;

  // the operator
  bool paused_ = false, stopped_ = false, promoting_ = false;
  PromotionWish promotion_;
  Instant promote_by_{0};
  std::optional<MirrorError> giving_up_;  ///< once the engine's call has failed
  std::optional<MirrorError> given_up_;
  bool given_up_for_age_ = false;
  std::uint64_t promotions_ = 0;
  std::optional<Duration> age_at_promotion_;
  std::optional<std::string> halted_;
  bool engine_refused_ = false;  ///< a call, for good: of what it holds nothing more is asked until an operator decides
  std::uint64_t bandwidth_ = 0;
  bool limit_changed_ = false;

  LagTracker lag_;
  StatusJudge status_judge_;
  std::optional<VerifyRun> verify_;
  std::optional<VerifyResult> verify_result_;
};

}  // namespace crosslink::core
