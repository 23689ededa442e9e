// A mirror: everything it decides, from the first dial to promotion. Frames, answers of the engine, commands of the
// operator and the time in; frames, engine calls and dials out. Bytes and rules: docs/protocol.md, "Sessions".
// No sockets, clocks or threads: a driver carries the actions out, in order, and says what came of them.
//
// It only connects small machines, each of which stands in session/mirror/. They share the account of
// held bytes (flow_control.hpp), and a bootstrap the list of engine calls; else none knows another:
//   link.hpp           down -> dialing -> beginning -> up -> closing -> down
//   source_facts.hpp   what the source said of itself
//   probe.hpp          lag, and whether the source is heard
//   engine_calls.hpp   at most one call at a time, and what failed
//   log_follow.hpp     the log stream: what waits to be applied, acknowledgements
//   bootstrap.hpp      a snapshot: asked for, stored, checked, switched in
//   verify_run.hpp     the comparison with the source
//   flow_control.hpp   what is held against the cap
//   promotion.hpp      a promotion that was asked for
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "session/mirror/bootstrap.hpp"
#include "session/mirror/engine_calls.hpp"
#include "session/mirror/flow_control.hpp"
#include "session/mirror/link.hpp"
#include "session/mirror/log_follow.hpp"
#include "session/mirror/probe.hpp"
#include "session/mirror/promotion.hpp"
#include "session/mirror/source_facts.hpp"
#include "session/mirror/verify_run.hpp"
#include "session/mirror_status.hpp"

namespace crosslink::core {

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

  /// `state` and `traits` are the engine's; `fragments` and `throttle`, the link's, must outlive the machine.
  MirrorMachine(MirrorMachineConfig config, MirrorState state, EngineTraits traits, FragmentStore& fragments,
                Throttle& throttle, Instant now);
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
  void on_round_trip(Duration round_trip) { probe_.on_round_trip(round_trip); }
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
  Result<void> promote(Instant now, const PromotionRequest& request = {});
  /// Why the promotion that was begun last did not come about; the mirror follows on. Absent: it is under way, or done.
  const std::optional<MirrorError>& given_up() const { return promotion_.given_up(); }
  /// How many promotions were begun: an answer is that of the promotion it was read for.
  std::uint64_t promotions() const { return promotion_.begun(); }
  /// The data was too old when it was to take writes, or of unknown age.
  bool given_up_for_age() const { return promotion_.given_up_for_age(); }
  /// How old the data was at most when it was opened for writes; absent: unknown, or it was not promoted by this
  /// machine.
  const std::optional<Duration>& age_at_promotion() const { return promotion_.age_at_promotion(); }
  Result<void> set_bandwidth(std::uint64_t bytes_per_s, Instant now);
  /// Errors: Busy while one runs; Configuration when it is not following.
  Result<void> start_verify(Instant now);
  /// Ends the link and takes up nothing more; idle() once nothing is under way.
  void stop(Instant now);

  std::vector<MirrorAction> take_actions() { return out_.take(); }
  MirrorStatus status(Instant now);
  std::optional<Duration> lag(Instant now) const { return probe_.lag(now); }
  const std::optional<Position>& position() const { return engine_.position(); }
  /// The engine is to say where it stands, and has not yet.
  bool position_in_doubt() const { return engine_.unknown(); }
  /// MirrorFacts::diverged_from_source.
  const std::optional<std::string>& diverged_from_source() const { return diverged_from_source_; }
  Lsn durable() const { return engine_.durable(); }
  std::uint64_t bootstraps() const {
    return bootstrap_.switched_in();
  }  ///< snapshots switched in, the first one included
  std::uint64_t last_snapshot_bytes() const { return bootstrap_.last_bytes(); }  ///< of the last one switched in
  /// The head that the source last named; absent before the first session.
  const std::optional<Lsn>& source_head() const { return source_.head(); }
  /// Of the source, in this session or the last; absent: it names no such mirror, or did not say.
  const std::optional<SyncPromise>& sync_promise() const { return source_.sync_promise(); }
  /// What the source last said of its head and of sync mode was true then or later; absent: no reply yet.
  const std::optional<Instant>& answered_probe_at() const { return probe_.answered_probe_at(); }
  /// How old the source's own data was when it last said so.
  const std::optional<UpstreamAge>& upstream() const { return source_.upstream(); }
  /// Of log and snapshots, as they count for the throttle, since the machine was made.
  std::uint64_t received_bytes() const { return flow_.received_bytes(); }
  /// Where the snapshot that comes, or came last, was taken up; 0: at its beginning.
  std::uint64_t snapshot_resumed_at() const { return bootstrap_.resumed_at(); }
  /// Sync mode is in force: demanded here, or the source names this mirror.
  bool sync() const { return config_.sync || source_.sync_named(); }
  /// Received, neither applied nor stored yet.
  std::uint64_t held_bytes() const { return held().bytes(); }
  /// Why its data is, or is about to be, of no single moment; empty: it is of one, or there is none.
  std::string why_inconsistent() const;
  bool promoted() const { return promoted_from_.has_value(); }
  const std::optional<PromotedFrom>& promoted_from() const { return promoted_from_; }
  const std::optional<MirrorError>& last_error() const { return link_.last_error(); }
  std::optional<VerifyResult> take_verify_result() { return verify_.take_result(); }
  bool verifying() const { return verify_.running(); }
  bool idle() const { return link_.down() && !engine_.busy(); }
  /// What the source said of itself, in this session or the last.
  const std::optional<SessionBegin::Source>& source() const { return source_.source(); }
  /// The source could not prove that the log goes on from this mirror's last entry.
  bool unverified() const { return unverified_; }
  /// What the source last said of the queue for snapshots and of its window; of this session, and while it matters.
  const Notice& notice() const { return source_.notice(); }

 private:
  // What the small machines say, told to one another.
  void advance(Instant now);
  void advance_engine(Instant now);
  void advance_promotion(Instant now);
  void advance_streams(Instant now);
  void session_over();
  void halt(const MirrorError& error);
  void note_diverged(const MirrorError& error);
  Duration threshold() const;
  /// Of the mirror's own commands: it was promoted, or is being promoted.
  Result<void> refuse_if_promoted() const;
  void give_up_promotion(MirrorError why, Instant now);
  bool wants_link() const;
  mirror::Held held() const { return log_.held() + bootstrap_.held(); }
  StreamToken next_token() { return ++last_token_; }

  // mirror_frames.cpp: frames of the source
  void on_decoded(StreamToken stream, const Decoded& decoded, std::shared_ptr<const void> keep,
                  std::span<const std::byte> payload, Instant now);
  void on_control(const SessionMessage& message, Instant now);
  void on_session_begin(const SessionBegin& begin, Instant now);
  void on_probe_reply(const ProbeReply& reply, Instant now);
  void on_log_frame(StreamToken stream, const Decoded& decoded, std::shared_ptr<const void> keep,
                    std::span<const std::byte> payload, Instant now);
  void on_log_begin(StreamToken stream, const LogBegin& begin);
  void on_snapshot_frame(StreamToken stream, const Decoded& decoded, std::shared_ptr<const void> keep,
                         std::span<const std::byte> payload, Instant now);
  static MirrorError said_by_source(const MirrorError& error);
  void on_failure(StreamToken stream, const MirrorError& said, Instant now);
  void on_control_failure(const MirrorError& said, Instant now);
  void on_log_failure(const MirrorError& error, Instant now);
  void drop_log();
  /// The session ends: the peer broke the protocol.
  void violation(StreamToken stream, const MirrorError& error);
  /// The same as a result's error.
  void violation(StreamToken stream, const Result<void>& result);
  void reread_engine();

  // mirror_engine.cpp: answers of the engine
  void on_answered(const mirror::EngineCall& which, const EngineAnswer& answer, Instant now);
  void on_failed(const mirror::EngineCall& which, const MirrorError& error, Instant now);
  void on_storage_error(const MirrorError& error, Instant now);
  void on_applied(Instant now);
  void on_position_read(Instant now);
  void on_promoted(const PromotedFrom& from, Instant now);

  MirrorMachineConfig config_;
  EngineTraits traits_;
  mirror::Outbox out_;
  mirror::Link link_;
  mirror::SourceFacts source_;
  mirror::LagProbe probe_;
  mirror::EngineCalls engine_;
  mirror::LogFollow log_;
  mirror::Bootstrap bootstrap_;
  mirror::VerifyRun verify_;
  mirror::FlowControl flow_;
  mirror::Promotion promotion_;
  StatusJudge status_judge_;
  StreamToken last_token_ = control_stream;
  std::optional<PromotedFrom> promoted_from_;
  std::optional<std::string> halted_, diverged_from_source_;
  bool unverified_ = false;  ///< of the log that goes on, or went on last
  bool paused_ = false, stopped_ = false;
  std::uint64_t bandwidth_ = 0;
  bool limit_changed_ = false;
};

}  // namespace crosslink::core
