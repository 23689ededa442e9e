#include "core/source_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/mistakes.hpp"
#include "crosslink/handshake.hpp"

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

}  // namespace

SourceSession::SourceSession(SourceSessionConfig config, std::function<SourceNow()> read_now, StreamToken control,
                             Instant now)
    : config_(std::move(config)),
      read_now_(std::move(read_now)),
      control_(control),
      begin_by_(now + config_.begin_deadline) {
  actions_.push_back(source_action::Wake{begin_by_});
}

SourceSession::~SourceSession() = default;

std::vector<SourceAction> SourceSession::take_actions() { return std::exchange(actions_, {}); }

// --- sending -------------------------------------------------------------------------------------------------------

void SourceSession::send(StreamToken stream, const SessionMessage& message) {
  actions_.push_back(source_action::Send{stream, encode_message(message), nullptr, 0, 0});
}

void SourceSession::send_bulk(Bulk& bulk, const SessionMessage& message, SharedBytes data, std::size_t at,
                              std::size_t bytes, std::uint64_t units, Instant now) {
  auto head = encode_bulk_head(message, bytes);
  const auto frame_bytes = head.size() + bytes;
  static_cast<void>(account_.charge(units));
  bulk.charged_bytes += units;
  bulk.writing = true;
  if (limit_.bytes_per_s > 0) {
    const auto takes = static_cast<Duration::rep>(frame_bytes * 1'000'000 / limit_.bytes_per_s);
    next_send_ = std::max(now, next_send_.value_or(now)) + Duration(takes);
  }
  actions_.push_back(source_action::Send{bulk.token, std::move(head), std::move(data), at, bytes});
}

void SourceSession::fail_stream(StreamToken stream, const MirrorError& error) {
  send(stream, to_failure(error));
  actions_.push_back(source_action::EndStream{stream});
  if (log_ && log_->token == stream) drop_log();
  if (snapshot_ && snapshot_->token == stream) drop_snapshot();
  if (verify_ && verify_->token == stream) drop_verify();
}

void SourceSession::fail_session(StreamToken stream, const MirrorError& error) {
  if (phase_ == Phase::closed) return;
  send(stream, to_failure(error));
  actions_.push_back(source_action::EndStream{stream});
  drop_log();
  drop_snapshot();
  drop_verify();
  phase_ = Phase::closed;
  actions_.push_back(source_action::Close{close_code(error), error});
}

void SourceSession::end(Instant) {
  if (phase_ == Phase::closed) return;
  drop_log();
  drop_snapshot();
  drop_verify();
  phase_ = Phase::closed;
  actions_.push_back(source_action::Close{normal_close_code, MirrorError::cancelled("the session, by the source")});
}

/// The mirror names incarnations by the history it was told. Whoever changes it ends all sessions first; one that began
/// in between, or was not told yet, is found here, before it acts on what the engine read or the mirror said.
bool SourceSession::outlived(Instant now) {
  if (makes(Mistake::history_outlived_by_session)) return false;
  if (phase_ != Phase::running || announced_ == announcement(read_now_().state)) return false;
  end(now);
  return true;
}

/// The mirror has given its log or snapshot stream up, though the stream's end may still be on its way.
void SourceSession::give_up_bulk() {
  if (log_) actions_.push_back(source_action::EndStream{log_->token});
  if (snapshot_) actions_.push_back(source_action::EndStream{snapshot_->token});
  drop_log();
  drop_snapshot();
}

void SourceSession::drop_log() {
  if (!log_) return;
  account_.ack(log_->charged_bytes - log_->released_bytes);
  log_.reset();
}

void SourceSession::drop_snapshot() {
  if (!snapshot_) return;
  account_.ack(snapshot_->charged_bytes - snapshot_->released_bytes);
  if (snapshot_->facts) actions_.push_back(source_action::CloseSnapshot{});
  snapshot_.reset();
}

// --- receiving -----------------------------------------------------------------------------------------------------

void SourceSession::on_frame(StreamToken stream, std::uint8_t kind, std::span<const std::byte> payload, Instant now) {
  if (phase_ == Phase::closed || (!is_session_kind(kind) && is_skippable(kind)) || outlived(now)) return;
  if (is_voter_class(kind)) {
    const MirrorError error(ErrorKind::ObserverRoleViolation, CausedBy::peer,
                            fmt::format("a frame of kind {:#04x} is a voter's, a mirror is an observer", kind));
    const auto ack = encode_frame(refusal(error, {}));
    actions_.push_back(source_action::Send{stream, ack.ok() ? *ack : std::vector<std::byte>{}, nullptr, 0, 0});
    end(now);
    std::get<source_action::Close>(actions_.back()) = {close_code(error), error};
    return;
  }
  if (!is_session_kind(kind)) {
    fail_session(control_, {ErrorKind::UnsupportedOperation, CausedBy::peer,
                            fmt::format("frames of kind {} are not known here", kind_name(kind))});
    return;
  }
  auto decoded = decode_message(kind, payload);
  if (!decoded) return fail_session(stream, decoded.error());
  const auto& message = decoded->message;
  if (phase_ == Phase::begin && (stream != control_ || !std::holds_alternative<SessionBegin>(message))) {
    return fail_session(stream, misplaced_frame(kind));
  }
  const bool gives_up = stream != control_ && std::holds_alternative<SessionFailure>(message);
  if (stream == control_) {
    on_control(message, now);
  } else if (gives_up && ((log_ && stream == log_->token) || (snapshot_ && stream == snapshot_->token))) {
    give_up_bulk();
  } else if (log_ && stream == log_->token) {
    const auto* ack = std::get_if<LogAck>(&message);
    if (ack == nullptr || !log_->begun) return fail_session(stream, misplaced_frame(kind));
    on_log_ack(*ack, now);
  } else if (snapshot_ && stream == snapshot_->token) {
    const auto* ack = std::get_if<SnapshotAck>(&message);
    if (ack == nullptr || !snapshot_->facts) return fail_session(stream, misplaced_frame(kind));
    on_snapshot_ack(*ack, now);
  } else if (verify_ && stream == verify_->token) {
    verify_->progress_at = now;
    on_verify(message);
  } else {
    on_new_stream(stream, message, now);
  }
  pump(now);
}

void SourceSession::on_new_stream(StreamToken stream, const SessionMessage& message, Instant now) {
  if (const auto* log = std::get_if<LogRequest>(&message)) return on_log_request(stream, *log);
  if (const auto* snapshot = std::get_if<SnapshotRequest>(&message)) return on_snapshot_request(stream, *snapshot, now);
  if (const auto* verify = std::get_if<VerifyBegin>(&message)) return open_verify(stream, *verify, now);
  // Frames of a stream that we gave up may still be on their way.
  const bool late = std::holds_alternative<LogAck>(message) || std::holds_alternative<SnapshotAck>(message) ||
                    std::holds_alternative<SessionFailure>(message) || std::holds_alternative<RangeDigest>(message) ||
                    std::holds_alternative<Keys>(message) || std::holds_alternative<VerifyAt>(message) ||
                    std::holds_alternative<VerifyEnd>(message);
  if (makes(Mistake::ack_after_reset_counted)) {
    if (const auto* ack = std::get_if<LogAck>(&message)) account_.ack(ack->released_bytes);
  }
  if (!late) fail_session(stream, misplaced_frame(kind_of(message)));
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
    return send(control_, reply);
  }
  if (const auto* limit = std::get_if<Limit>(&message)) {
    limit_ = *limit;
    next_send_ = now;
    return;
  }
  if (const auto* failure = std::get_if<SessionFailure>(&message)) {
    const auto error = to_error(*failure);
    end(now);
    std::get<source_action::Close>(actions_.back()) = {close_code(error), error};
    return;
  }
  fail_session(control_, misplaced_frame(kind_of(message)));
}

void SourceSession::on_session_begin(const SessionBegin& begin) {
  if (begin.source) return fail_session(control_, MirrorError::protocol_violation("a mirror says what a source says"));
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
  SessionBegin answer;
  answer.features = feature_verify | feature_limit;
  answer.sync = config_.sync_named;
  answer.software = config_.software;
  answer.bulk_data_bytes_max = config_.bulk_bytes_max;
  answer.entry_bytes_max = config_.entry_bytes_max;
  answer.in_flight_bytes_max = config_.in_flight_bytes_max;
  answer.source = SessionBegin::Source{config_.chain, state.origin, state.history, state.promoted_from};
  if (!state.history.empty()) answer.source->key_prefix = state.key_prefix;
  if (config_.sync_named) {
    answer.source->on_sync_loss = config_.on_sync_loss;
    answer.source->sync_timeout_ms = static_cast<std::uint64_t>(config_.sync_timeout.count());
  }
  mirror_ = begin.mirror;
  features_ = answer.features & begin.features;
  bulk_bytes_max_ = std::min(config_.bulk_bytes_max, begin.bulk_data_bytes_max);
  entry_bytes_max_ = std::min(config_.entry_bytes_max, begin.entry_bytes_max);
  account_ = ThrottleAccount(std::min(config_.in_flight_bytes_max, begin.in_flight_bytes_max));
  phase_ = Phase::running;
  announced_ = announcement(state);
  send(control_, answer);
}

bool SourceSession::release(Bulk& bulk, std::uint64_t cumulative) {
  if (cumulative < bulk.released_bytes || cumulative > bulk.charged_bytes) return false;
  account_.ack(cumulative - bulk.released_bytes);
  bulk.released_bytes = cumulative;
  return true;
}

void SourceSession::on_stream_end(StreamToken stream, Instant now) {
  if (phase_ == Phase::closed) return;
  if (stream == control_) return end(now);
  if (log_ && stream == log_->token) drop_log();
  if (snapshot_ && stream == snapshot_->token) drop_snapshot();
  if (verify_ && stream == verify_->token) drop_verify();
  pump(now);
}

// --- log -----------------------------------------------------------------------------------------------------------

void SourceSession::on_log_request(StreamToken stream, const LogRequest& request) {
  give_up_bulk();
  auto judged = judge_request(read_now_().state, request.position);
  if (const auto* error = std::get_if<MirrorError>(&judged)) return fail_stream(stream, *error);
  log_ = Log{};
  log_->token = stream;
  log_->request = request.position;
  log_->zstd = std::ranges::find(request.codecs, codec_zstd) != request.codecs.end();
  log_->from = log_->sent_lsn = log_->acked_applied = std::get<NeedsProof>(judged).from;
  log_->asked = ++last_question_;
  actions_.push_back(source_action::Prove{last_question_, request.position.last_entry, log_->from});
}

void SourceSession::on_proof(Question question, Result<PositionProof> proof, Instant now) {
  if (outlived(now) || !log_ || log_->asked != question) return;
  log_->asked.reset();
  if (!proof) return fail_stream(log_->token, proof.error());
  if (const auto parted = judge_proof(*proof, log_->request)) return fail_stream(log_->token, *parted);
  const auto state = read_now_().state;
  log_->begun = true;
  send(log_->token, LogBegin{state.head, state.oldest, log_->from, *proof == PositionProof::unverified});
  pump(now);
}

void SourceSession::on_head(Lsn, Instant now) {
  if (log_) {
    log_->at_head = false;
    log_->told = true;
  }
  pump(now);
}

void SourceSession::on_log(Question question, Result<LogPiece> piece, Instant now) {
  if (outlived(now) || !log_ || log_->asked != question) return;
  log_->asked.reset();
  if (!piece) {
    fail_stream(log_->token, piece.error());
    return pump(now);
  }
  const auto& slice = piece->slice;
  tell_leases(*log_, slice.leases);
  if (slice.count == 0 && slice.last_lsn == slice.prev_lsn) {
    // A commit may have come between the reading and now: then on_head came after at_head was last cleared.
    log_->at_head = read_now_().state.head <= log_->sent_lsn;
    return pump(now);
  }
  if (slice.entries->size() > bulk_bytes()) {
    if (slice.entries->size() > entry_bytes_max_) {
      return fail_stream(log_->token,
                         {ErrorKind::UnsupportedOperation, CausedBy::peer,
                          fmt::format("the entry at LSN {} has {} bytes, more than the {} this mirror takes",
                                      slice.last_lsn.value, slice.entries->size(), entry_bytes_max_)});
    }
    log_->fragmented = *std::move(piece);
    log_->fragment_at = 0;
    return pump(now);
  }
  const auto& data = piece->data;
  LogBatch batch{slice.prev_lsn, slice.last_lsn, slice.count, slice.entries->size(), piece->codec, piece->crc32c, {}};
  if (slice.origin_lsn != slice.last_lsn) batch.origin_lsn = slice.origin_lsn;
  log_->sent_lsn = slice.last_lsn;
  // What was there when it was asked for is on its way. Of what came since the session is told, and not more often than
  // is worth a batch of its own.
  log_->at_head = !log_->told && slice.last_lsn >= log_->head_at_ask;
  send_bulk(*log_, batch, data, 0, data->size(), std::max<std::uint64_t>(slice.entries->size(), data->size()), now);
  pump(now);
}

void SourceSession::send_fragment(Instant now) {
  const auto& slice = log_->fragmented->slice;
  const auto total = slice.entries->size();
  const auto bytes = std::min<std::size_t>(bulk_bytes(), total - log_->fragment_at);
  const auto data = std::span(*slice.entries).subspan(log_->fragment_at, bytes);
  EntryFragment fragment{slice.prev_lsn, slice.last_lsn, log_->fragment_at, total, crosslink::crc32c(data), false, {}};
  fragment.last = log_->fragment_at + bytes == total;
  if (fragment.last && slice.origin_lsn != slice.last_lsn) fragment.origin_lsn = slice.origin_lsn;
  send_bulk(*log_, fragment, slice.entries, log_->fragment_at, bytes, bytes, now);
  log_->fragment_at += bytes;
  if (fragment.last) {
    log_->sent_lsn = slice.last_lsn;
    log_->fragmented.reset();
  }
}

void SourceSession::on_log_ack(const LogAck& ack, Instant) {
  const bool in_range =
      ack.durable <= ack.applied && ack.applied <= log_->sent_lsn && ack.applied >= log_->acked_applied;
  if (!in_range || !release(*log_, ack.released_bytes)) {
    return fail_session(log_->token, MirrorError::protocol_violation("a LogAck says what cannot be"));
  }
  log_->acked_applied = ack.applied;
  if (!log_->unpinned && ack.durable >= log_->from) {
    log_->unpinned = true;
    actions_.push_back(source_action::Unpin{});
  }
  actions_.push_back(source_action::MirrorAt{announced_.first.value_or(Incarnation{}), ack.applied, ack.durable});
}

// --- snapshot ------------------------------------------------------------------------------------------------------

void SourceSession::on_snapshot_request(StreamToken stream, const SnapshotRequest& request, Instant now) {
  give_up_bulk();
  if (config_.take_snapshot && !config_.take_snapshot(now)) {
    return fail_stream(stream, {ErrorKind::Busy, CausedBy::peer, "too many snapshots were asked for within a minute"});
  }
  snapshot_ = Snapshot{};
  snapshot_->token = stream;
  snapshot_->request = request;
  // Before it opens, so that the log after it cannot be dropped in between.
  const auto state = read_now_().state;
  actions_.push_back(source_action::Pin{request.snapshot_id ? state.oldest : state.head});
  snapshot_->retry_at = now;  // in pump_snapshot
}

void SourceSession::ask_snapshot() {
  snapshot_->retry_at.reset();
  snapshot_->asked = ++last_question_;
  actions_.push_back(
      source_action::OpenSnapshot{last_question_, snapshot_->request.formats, snapshot_->request.snapshot_id});
}

bool SourceSession::on_snapshot(Question question, Result<SnapshotFacts> facts, Instant now) {
  if (outlived(now) || !snapshot_ || snapshot_->asked != question) return false;
  snapshot_->asked.reset();
  if (!facts) {
    if (facts.error().kind() != ErrorKind::Busy) {
      fail_stream(snapshot_->token, facts.error());
      return false;
    }
    if (std::exchange(snapshot_->waits, true) == false) send(control_, Notice{1, {}, {}});
    snapshot_->retry_at = now + config_.snapshot_retry;
    actions_.push_back(source_action::Wake{*snapshot_->retry_at});
    return false;
  }
  const bool resumed = snapshot_->request.snapshot_id == facts->id;
  snapshot_->begin_offset = resumed ? snapshot_->request.offset : 0;
  if (facts->total_bytes && snapshot_->begin_offset > *facts->total_bytes) snapshot_->begin_offset = 0;
  auto said = *facts;
  if (makes(Mistake::snapshot_lsn_too_low) && said.snapshot_lsn.value > 0) {
    --said.snapshot_lsn.value;
    said.last_entry.lsn = std::min(said.last_entry.lsn, said.snapshot_lsn);
  }
  snapshot_->facts = *facts;
  snapshot_->progress_at = now;
  actions_.push_back(source_action::Pin{facts->snapshot_lsn});
  send(snapshot_->token, SnapshotBegin{said, snapshot_->begin_offset});
  // The total's CRC is of all bytes: what the mirror has is read for it, not sent.
  snapshot_->charged_bytes = snapshot_->released_bytes = snapshot_->acked_offset = snapshot_->begin_offset;
  pump(now);
  return true;
}

void SourceSession::on_snapshot_piece(Question question, Result<SnapshotReader::Piece> piece, Instant now) {
  if (!snapshot_ || snapshot_->asked != question) return;
  snapshot_->asked.reset();
  if (!piece) return fail_stream(snapshot_->token, piece.error());
  const auto bytes = piece->bytes->size();
  snapshot_->progress_at = now;
  tell_leases(*snapshot_, piece->leases);
  snapshot_->crc32c = crosslink::crc32c(*piece->bytes, snapshot_->crc32c);
  const auto offset = snapshot_->offset;
  snapshot_->offset += bytes;
  if (offset < snapshot_->begin_offset && !piece->done) return pump(now);
  snapshot_->done = piece->done;
  SnapshotChunk chunk{offset, crosslink::crc32c(*piece->bytes), piece->done, 0, {}};
  if (piece->done) {
    chunk.total_crc32c = snapshot_->crc32c;
    chunk.consistent_lsn = piece->consistent_lsn.value_or(snapshot_->facts->consistent_lsn);
  }
  if (offset < snapshot_->begin_offset) {  // the mirror has every byte: only the end is news
    chunk.offset = snapshot_->offset;
    chunk.crc32c = crosslink::crc32c({});
    send_bulk(*snapshot_, chunk, piece->bytes, bytes, 0, 0, now);
  } else {
    send_bulk(*snapshot_, chunk, piece->bytes, 0, bytes, bytes, now);
  }
  pump(now);
}

void SourceSession::on_snapshot_ack(const SnapshotAck& ack, Instant now) {
  if (ack.offset > snapshot_->released_bytes) snapshot_->progress_at = now;
  if (!release(*snapshot_, ack.offset)) {
    return fail_session(snapshot_->token, MirrorError::protocol_violation("a SnapshotAck says what cannot be"));
  }
}

// --- what next -----------------------------------------------------------------------------------------------------

std::size_t SourceSession::bulk_bytes() const { return static_cast<std::size_t>(bulk_bytes_max_); }

bool SourceSession::may_send(const Bulk& bulk, Instant now) {
  if (bulk.writing || limit_.paused) return false;
  // Once the cap was reached, nothing goes until a quarter of it is free again.
  if (throttled_ && account_.can_resume()) throttled_ = false;
  if (!account_.can_send()) throttled_ = true;
  if (throttled_) return false;
  if (limit_.bytes_per_s > 0 && next_send_ && now < *next_send_) {
    actions_.push_back(source_action::Wake{*next_send_});
    return false;
  }
  return true;
}

void SourceSession::pump_log(Instant now) {
  if (!log_ || !log_->begun || log_->asked || !may_send(*log_, now)) return;
  if (log_->fragmented) return send_fragment(now);
  if (log_->at_head) return;
  log_->asked = ++last_question_;
  log_->told = false;
  log_->head_at_ask = read_now_().state.head;
  actions_.push_back(source_action::ReadLog{last_question_, log_->sent_lsn, bulk_bytes(), log_->zstd});
}

void SourceSession::pump_snapshot(Instant now) {
  if (!snapshot_ || snapshot_->asked) return;
  if (!snapshot_->facts) {
    // One that is paused would only keep another from being read.
    if (snapshot_->retry_at && now >= *snapshot_->retry_at && !limit_.paused) ask_snapshot();
    return;
  }
  if (snapshot_->done || !may_send(*snapshot_, now)) return;
  auto bytes = static_cast<std::uint64_t>(bulk_bytes());
  if (snapshot_->offset < snapshot_->begin_offset) bytes = std::min(bytes, snapshot_->begin_offset - snapshot_->offset);
  snapshot_->asked = ++last_question_;
  actions_.push_back(source_action::ReadSnapshot{last_question_, snapshot_->offset, static_cast<std::size_t>(bytes)});
}

/// To a mirror that is behind: how long until what it needs next is dropped.
void SourceSession::notice_window(Instant now) {
  if (!config_.window_left) return;
  if (!log_ && !snapshot_) {
    notice_at_.reset();
    window_sample_.reset();
    return;
  }
  if (notice_at_ && now < *notice_at_) return;
  const bool due = notice_at_.has_value();
  notice_at_ = now + config_.notice_every;
  actions_.push_back(source_action::Wake{*notice_at_});
  if (!due) return;  // who is behind for a moment only needs no notice
  std::optional<Lsn> needed;
  if (snapshot_ && snapshot_->facts) needed = snapshot_->facts->snapshot_lsn;
  if (log_ && log_->begun && log_->acked_applied < read_now_().state.head) needed = log_->acked_applied;
  const auto left = needed ? config_.window_left(*needed) : std::nullopt;
  if (!left) return window_sample_.reset();
  std::optional<std::uint64_t> left_ms;
  if (left->time) left_ms = static_cast<std::uint64_t>(left->time->count());
  if (window_sample_ && left->bytes < window_sample_->bytes) {
    const auto per_us = static_cast<double>(window_sample_->bytes - left->bytes) /
                        static_cast<double>((now - window_sample_->at).count());
    const auto by_rate = static_cast<std::uint64_t>(static_cast<double>(left->bytes) / per_us / 1000);
    left_ms = std::min(left_ms.value_or(by_rate), by_rate);
  }
  window_sample_ = {now, left->bytes};
  send(control_, Notice{{}, left_ms, left->bytes});
}

/// What a mirror does not go on with keeps others from theirs.
void SourceSession::give_up_stalled(Instant now) {
  const auto stalled = [&](Instant progress_at) {
    const auto until = std::max(progress_at, next_send_.value_or(progress_at)) + config_.stall_max;
    if (now < until) actions_.push_back(source_action::Wake{until});
    return now >= until;
  };
  const auto give_up = [&](StreamToken stream, std::string_view what) {
    if (config_.on_stall) config_.on_stall();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(config_.stall_max).count();
    fail_stream(stream, {ErrorKind::Busy, CausedBy::peer,
                         fmt::format("{} made no progress for {} s, and others wait for its place", what, seconds)});
  };
  if (snapshot_ && snapshot_->facts && !snapshot_->asked && stalled(snapshot_->progress_at))
    give_up(snapshot_->token, "the snapshot");
  if (verify_ && !verify_->asked && stalled(verify_->progress_at)) give_up(verify_->token, "the verify");
}

void SourceSession::pump(Instant now) {
  if (phase_ != Phase::running) return;
  give_up_stalled(now);
  pump_log(now);
  pump_snapshot(now);
  notice_window(now);
}

void SourceSession::on_written(StreamToken stream, Instant now) {
  if (log_ && log_->token == stream) log_->writing = false;
  if (snapshot_ && snapshot_->token == stream) snapshot_->writing = false;
  pump(now);
}

void SourceSession::on_time(Instant now) {
  if (phase_ == Phase::begin && now >= begin_by_) {
    return fail_session(control_, MirrorError::timeout("no SessionBegin came in time"));
  }
  pump(now);
  if (notice_at_) actions_.push_back(source_action::Wake{*notice_at_});  // the driver keeps the earliest only
}

}  // namespace crosslink::core
