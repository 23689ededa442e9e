#include "session/source/source_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "crosslink/handshake.hpp"
#include "session/history_judge.hpp"
#include "session/mistakes.hpp"

namespace crosslink::core {
namespace {

constexpr std::uint64_t bulk_bytes_min = 64 * 1024;
constexpr std::uint64_t entry_bytes_min = 1024 * 1024;

std::uint64_t close_code(const MirrorError& error) {
  return rule_of(error.kind()).wire_code.value_or(*rule_of(ErrorKind::ProtocolViolation).wire_code);
}

std::pair<std::optional<Incarnation>, std::uint64_t> announcement(const SourceState& of) {
  return {of.history.empty() ? std::nullopt : std::optional(of.history.newest().incarnation), of.times_gone_back};
}

/// Of a stream that the source gave up they may still be on their way.
bool may_be_late(const SessionMessage& message) {
  return std::holds_alternative<LogAck>(message) || std::holds_alternative<SnapshotAck>(message) ||
         std::holds_alternative<SessionFailure>(message) || std::holds_alternative<RangeDigest>(message) ||
         std::holds_alternative<Keys>(message) || std::holds_alternative<VerifyAt>(message) ||
         std::holds_alternative<VerifyEnd>(message);
}

}  // namespace

SourceSession::SourceSession(SourceSessionConfig config, std::function<SourceNow()> read_now, StreamToken control,
                             Instant now)
    : config_(std::move(config)),
      read_now_(std::move(read_now)),
      control_(control),
      begin_by_(now + config_.begin_deadline),
      window_(out_),
      log_(out_, window_, [this] { return read_now_().state.head; }),
      snapshot_(out_, window_, config_.snapshot_retry),
      verify_(out_),
      notice_(out_, config_.window_left, config_.notice_every) {
  out_.wake(begin_by_);
}

SourceSession::~SourceSession() = default;

// --- how streams and the session end -------------------------------------------------------------------------------

void SourceSession::close_feed(StreamToken stream) {
  if (log_.is(stream)) log_.close();
  if (snapshot_.is(stream)) snapshot_.close();
  if (verify_.is(stream)) verify_.close();
}

void SourceSession::fail_stream(StreamToken stream, const MirrorError& error) {
  out_.send(stream, to_failure(error));
  out_.end_stream(stream);
  close_feed(stream);
}

void SourceSession::fail_if(StreamToken stream, const Result<void>& result) {
  if (!result) fail_stream(stream, result.error());
}

void SourceSession::fail_session(StreamToken stream, const MirrorError& error) {
  if (phase_ == Phase::closed) return;
  out_.send(stream, to_failure(error));
  out_.end_stream(stream);
  close(close_code(error), error);
}

void SourceSession::close(std::uint64_t code, const MirrorError& error) {
  if (phase_ == Phase::closed) return;
  log_.close();
  snapshot_.close();
  verify_.close();
  phase_ = Phase::closed;
  out_.push(source_action::Close{code, error});
}

void SourceSession::end(Instant) { close(normal_close_code, MirrorError::cancelled("the session, by the source")); }

/// The mirror names incarnations by the history it was told. What changes it ends all sessions first; one that began in
/// between, or was not told yet, is found here, before it acts on what the engine read or the mirror said.
bool SourceSession::outlived(Instant now) {
  if (makes(Mistake::history_outlived_by_session)) return false;
  if (phase_ != Phase::running || announced_ == announcement(read_now_().state)) return false;
  end(now);
  return true;
}

/// The mirror has given its log or snapshot stream up, though the stream's end may still be on its way.
void SourceSession::give_up_bulk() {
  if (log_.is_open()) out_.end_stream(log_.token());
  if (snapshot_.is_open()) out_.end_stream(snapshot_.token());
  log_.close();
  snapshot_.close();
}

void SourceSession::on_stream_end(StreamToken stream, Instant now) {
  if (phase_ == Phase::closed) return;
  if (stream == control_) return close(normal_close_code, MirrorError::cancelled("the session, by the mirror"));
  close_feed(stream);
  advance(now);
}

// --- frames --------------------------------------------------------------------------------------------------------

void SourceSession::on_frame(StreamToken stream, std::uint8_t kind, std::span<const std::byte> payload, Instant now) {
  if (phase_ == Phase::closed || (!is_session_kind(kind) && is_skippable(kind)) || outlived(now)) return;
  if (is_voter_class(kind)) {
    const MirrorError error(ErrorKind::ObserverRoleViolation, CausedBy::peer,
                            fmt::format("a frame of kind {:#04x} is a voter's, a mirror is an observer", kind));
    const auto ack = encode_frame(refusal(error, {}));
    out_.push(source_action::Send{stream, ack.ok() ? *ack : std::vector<std::byte>{}, nullptr, 0, 0});
    return close(close_code(error), error);
  }
  if (!is_session_kind(kind)) {
    return fail_session(control_, {ErrorKind::UnsupportedOperation, CausedBy::peer,
                                   fmt::format("frames of kind {} are not known here", kind_name(kind))});
  }
  const auto decoded = decode_message(kind, payload);
  if (!decoded) return fail_session(stream, decoded.error());
  on_message(stream, decoded->message, now);
  advance(now);
}

void SourceSession::on_message(StreamToken stream, const SessionMessage& message, Instant now) {
  const auto misplaced = [&] { fail_session(stream, misplaced_frame(kind_of(message))); };
  const bool begins = stream == control_ && std::holds_alternative<SessionBegin>(message);
  if (phase_ == Phase::begin && !begins) return misplaced();
  if (stream == control_) return on_control(message, now);
  const bool bulk = log_.is(stream) || snapshot_.is(stream);
  if (bulk && std::holds_alternative<SessionFailure>(message)) return give_up_bulk();
  if (log_.is(stream)) {
    const auto* ack = std::get_if<LogAck>(&message);
    if (ack == nullptr || !log_.begun()) return misplaced();
    if (!log_.on_ack(*ack, announced_.first.value_or(Incarnation{})))
      fail_session(stream, MirrorError::protocol_violation("a LogAck is out of range"));
  } else if (snapshot_.is(stream)) {
    const auto* ack = std::get_if<SnapshotAck>(&message);
    if (ack == nullptr || !snapshot_.begun()) return misplaced();
    if (!snapshot_.on_ack(*ack, now))
      fail_session(stream, MirrorError::protocol_violation("a SnapshotAck is out of range"));
  } else if (verify_.is(stream)) {
    if (!verify_.on_frame(message, now)) misplaced();
  } else {
    on_new_stream(stream, message, now);
  }
}

void SourceSession::on_new_stream(StreamToken stream, const SessionMessage& message, Instant now) {
  if (const auto* log = std::get_if<LogRequest>(&message)) return open_log(stream, *log);
  if (const auto* snapshot = std::get_if<SnapshotRequest>(&message)) return open_snapshot(stream, *snapshot, now);
  if (const auto* verify = std::get_if<VerifyBegin>(&message)) return open_verify(stream, *verify, now);
  if (makes(Mistake::ack_after_reset_counted)) {
    if (const auto* ack = std::get_if<LogAck>(&message)) window_.ack_late(ack->released_bytes);
  }
  if (!may_be_late(message)) fail_session(stream, misplaced_frame(kind_of(message)));
}

void SourceSession::on_control(const SessionMessage& message, Instant now) {
  if (const auto* begin = std::get_if<SessionBegin>(&message); begin != nullptr && phase_ == Phase::begin) {
    return on_session_begin(*begin);
  }
  if (const auto* probe = std::get_if<Probe>(&message)) {
    const auto facts = read_now_();
    ProbeReply reply{probe->t0_us, facts.state.head, {}};
    if (config_.sync_named && config_.sync_standing) reply.sync_standing = config_.sync_standing(*mirror_);
    if (facts.upstream_lag) reply.upstream_lag_us = static_cast<std::uint64_t>(facts.upstream_lag->count());
    return out_.send(control_, reply);
  }
  if (const auto* limit = std::get_if<Limit>(&message)) return window_.on_limit(*limit, now);
  if (const auto* failure = std::get_if<SessionFailure>(&message)) {
    const auto error = to_error(*failure);
    return close(close_code(error), error);
  }
  fail_session(control_, misplaced_frame(kind_of(message)));
}

void SourceSession::on_session_begin(const SessionBegin& begin) {
  if (begin.source)
    return fail_session(control_,
                        MirrorError::protocol_violation("the mirror's SessionBegin has what only a source sends"));
  if (begin.bulk_data_bytes_max < bulk_bytes_min || begin.entry_bytes_max < entry_bytes_min ||
      begin.in_flight_bytes_max < in_flight_bytes_min) {
    return fail_session(control_, MirrorError::protocol_violation("a limit of the mirror is below the least allowed"));
  }
  if (begin.sync && !config_.sync_named) {
    return fail_session(control_,
                        {ErrorKind::NotAuthorized, CausedBy::peer,
                         "sync mode was asked for, but this source does not name this mirror in sync_mirrors"});
  }
  const auto state = read_now_().state;
  if (state.history.empty()) {
    return fail_session(control_, {ErrorKind::Busy, CausedBy::peer,
                                   "the source's database has no data yet: its own bootstrap is not done"});
  }
  SessionBegin answer;
  answer.features = feature_verify | feature_limit;
  answer.sync = config_.sync_named;
  answer.software = config_.software;
  answer.bulk_data_bytes_max = config_.bulk_bytes_max;
  answer.entry_bytes_max = config_.entry_bytes_max;
  answer.in_flight_bytes_max = config_.in_flight_bytes_max;
  answer.source = SessionBegin::Source{config_.chain, state.origin, state.history, state.promoted_from};
  answer.source->key_prefix = state.key_prefix;
  if (config_.sync_named) {
    answer.source->on_sync_loss = config_.on_sync_loss;
    answer.source->sync_timeout_ms = static_cast<std::uint64_t>(config_.sync_timeout.count());
  }
  mirror_ = begin.mirror;
  features_ = answer.features & begin.features;
  bulk_bytes_max_ = std::min(config_.bulk_bytes_max, begin.bulk_data_bytes_max);
  entry_bytes_max_ = std::min(config_.entry_bytes_max, begin.entry_bytes_max);
  window_.open(std::min(config_.in_flight_bytes_max, begin.in_flight_bytes_max));
  phase_ = Phase::running;
  announced_ = announcement(state);
  out_.send(control_, answer);
}

// --- log, snapshot, verify: asked for ------------------------------------------------------------------------------

void SourceSession::open_log(StreamToken stream, const LogRequest& request) {
  give_up_bulk();
  const auto judged = judge_request(read_now_().state, request.position);
  if (const auto* error = std::get_if<MirrorError>(&judged)) return fail_stream(stream, *error);
  log_.open(stream, request, std::get<NeedsProof>(judged).from);
}

void SourceSession::open_snapshot(StreamToken stream, const SnapshotRequest& request, Instant now) {
  give_up_bulk();
  if (config_.take_snapshot && !config_.take_snapshot(now)) {
    return fail_stream(stream,
                       {ErrorKind::Busy, CausedBy::peer,
                        "too many snapshots were asked for within a minute; the mirror asks again by itself, and "
                        "gets one when the minute is over"});
  }
  snapshot_.open(stream, request, read_now_().state, now);
}

void SourceSession::open_verify(StreamToken stream, const VerifyBegin& begin, Instant now) {
  if ((features_ & feature_verify) == 0) return fail_session(stream, misplaced_frame(kind_of(begin)));
  if (verify_.is_open() || (config_.take_verify && !config_.take_verify(now))) {
    return fail_stream(stream,
                       {ErrorKind::Busy, CausedBy::peer, "another verify runs, or too many did within a minute"});
  }
  verify_.open(stream);
}

// --- answers of the engine -----------------------------------------------------------------------------------------

void SourceSession::on_proof(Question question, Result<PositionProof> proof, Instant now) {
  if (outlived(now) || !log_.waits_for(question)) return;
  fail_if(log_.token(), log_.on_proof(proof, read_now_().state));
  advance(now);
}

void SourceSession::on_head(Lsn, Instant now) {
  log_.on_head();
  advance(now);
}

void SourceSession::on_log(Question question, Result<LogPiece> piece, Instant now) {
  if (outlived(now) || !log_.waits_for(question)) return;
  fail_if(log_.token(), log_.on_log(std::move(piece), limits(), now));
  advance(now);
}

bool SourceSession::on_snapshot(Question question, Result<SnapshotFacts> facts, Instant now) {
  if (outlived(now) || !snapshot_.waits_for(question)) return false;
  const auto keep = snapshot_.on_opened(facts, control_, now);
  if (!keep) fail_stream(snapshot_.token(), keep.error());
  advance(now);
  return keep && *keep;
}

void SourceSession::on_snapshot_piece(Question question, Result<SnapshotReader::Piece> piece, Instant now) {
  if (!snapshot_.waits_for(question)) return;
  fail_if(snapshot_.token(), snapshot_.on_piece(std::move(piece), now));
  advance(now);
}

bool SourceSession::on_view(Question question, Result<Lsn> at, Instant now) {
  if (outlived(now) || !verify_.waits_for(question)) return false;
  const auto opened = verify_.on_view(at, now);
  fail_if(verify_.token(), opened);
  return opened.ok();
}

void SourceSession::on_digest(Question question, Result<RangeDigest::Answer> answer, Instant now) {
  if (verify_.waits_for(question)) fail_if(verify_.token(), verify_.on_digest(std::move(answer), now));
}

void SourceSession::on_keys(Question question, Result<Keys::Answer> answer, Instant now) {
  if (verify_.waits_for(question)) fail_if(verify_.token(), verify_.on_keys(std::move(answer), now));
}

// --- what comes next -----------------------------------------------------------------------------------------------

/// What a mirror does not go on with keeps others from theirs.
void SourceSession::give_up_stalled(Instant now) {
  const auto stalled = [&](std::optional<Instant> progress_at) {
    if (!progress_at) return false;
    const auto until = std::max(*progress_at, window_.next_send().value_or(*progress_at)) + config_.stall_max;
    if (now < until) out_.wake(until);
    return now >= until;
  };
  const auto give_up = [&](StreamToken stream, std::string_view what) {
    if (config_.on_stall) config_.on_stall();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(config_.stall_max).count();
    fail_stream(stream, {ErrorKind::Busy, CausedBy::peer,
                         fmt::format("{} made no progress for {} s, and others wait for its place", what, seconds)});
  };
  if (stalled(snapshot_.progress_at())) give_up(snapshot_.token(), "the snapshot");
  if (stalled(verify_.progress_at())) give_up(verify_.token(), "the verify");
}

void SourceSession::advance(Instant now) {
  if (phase_ != Phase::running) return;
  give_up_stalled(now);
  log_.advance(limits(), now);
  snapshot_.advance(limits().bulk_bytes, now);
  const auto needed = [this] { return log_.begun() ? log_.needed() : snapshot_.needed(); };
  notice_.advance(log_.is_open() || snapshot_.is_open(), needed, control_, now);
}

void SourceSession::on_written(StreamToken stream, Instant now) {
  if (log_.is(stream)) log_.on_written();
  if (snapshot_.is(stream)) snapshot_.on_written();
  advance(now);
}

void SourceSession::on_time(Instant now) {
  if (phase_ == Phase::closed) return;
  if (phase_ == Phase::begin && now >= begin_by_) {
    return fail_session(control_, MirrorError::timeout("no SessionBegin came in time"));
  }
  advance(now);
  if (notice_.due_at()) out_.wake(*notice_.due_at());  // the driver keeps the earliest only
}

}  // namespace crosslink::core
