// MirrorMachine: frames of the source, and the ends of their streams.
#include <fmt/format.h>

#include <utility>

#include "session/mirror/mirror_machine.hpp"
#include "session/mistakes.hpp"

namespace crosslink::core {

void MirrorMachine::violation(StreamToken stream, const MirrorError& error) {
  link_.note(error, true);
  if (!link_.open()) return;
  out_.send(stream, to_failure(error));
  link_.close();
}

void MirrorMachine::violation(StreamToken stream, const Result<void>& result) {
  if (!result) violation(stream, result.error());
}

void MirrorMachine::on_frame(StreamToken stream, std::uint8_t kind, std::shared_ptr<const void> keep,
                             std::span<const std::byte> payload, Instant now) {
  if (!link_.open()) return;
  if (!is_session_kind(kind)) {
    if (is_skippable(kind)) return;
    const MirrorError error(
        ErrorKind::UnsupportedOperation, CausedBy::peer,
        fmt::format("the source sent a frame of kind {}, which is not known here", kind_name(kind)));
    out_.send(control_stream, to_failure(error));
    halt(error);
    return advance(now);
  }
  if (const auto decoded = decode_message(kind, payload); !decoded) {
    violation(stream, decoded.error());
  } else {
    on_decoded(stream, *decoded, std::move(keep), payload, now);
  }
  advance(now);
}

void MirrorMachine::on_decoded(StreamToken stream, const Decoded& decoded, std::shared_ptr<const void> keep,
                               std::span<const std::byte> payload, Instant now) {
  if (stream == control_stream) return on_control(decoded.message, now);
  if (link_.beginning()) return violation(stream, misplaced_frame(kind_of(decoded.message)));
  if (const auto* failure = std::get_if<SessionFailure>(&decoded.message))
    return on_failure(stream, to_error(*failure), now);
  if (log_.is(stream)) return on_log_frame(stream, decoded, std::move(keep), payload, now);
  if (bootstrap_.is(stream)) return on_snapshot_frame(stream, decoded, std::move(keep), payload, now);
  if (verify_.is(stream)) violation(stream, verify_.on_frame(decoded.message, engine_.applied(), link_.up(), now));
}

void MirrorMachine::on_stream_end(StreamToken stream, const std::optional<MirrorError>& error, Instant now) {
  if (!link_.open()) return;
  if (error) link_.note(*error);
  if (stream == control_stream) {
    link_.close("the source ended the control stream");
  } else if (log_.is(stream)) {
    drop_log();
    log_.retry().back_off(now, out_);
  } else if (bootstrap_.is(stream)) {
    bootstrap_.on_stream_end(now);
  } else if (verify_.is(stream)) {
    verify_.break_off("the source ended the verify", false, link_.up());
  }
  advance(now);
}

void MirrorMachine::drop_log() {
  if (log_.drop(link_.up())) verify_.break_off("the log stream ended", true, link_.up());
}

// --- control -------------------------------------------------------------------------------------------------------

void MirrorMachine::on_control(const SessionMessage& message, Instant now) {
  if (const auto* failure = std::get_if<SessionFailure>(&message)) return on_control_failure(to_error(*failure), now);
  if (link_.beginning()) {
    const auto* begin = std::get_if<SessionBegin>(&message);
    if (begin == nullptr) return violation(control_stream, misplaced_frame(kind_of(message)));
    return on_session_begin(*begin, now);
  }
  probe_.heard(now);
  if (const auto* notice = std::get_if<Notice>(&message)) return source_.on_notice(*notice);
  if (const auto* reply = std::get_if<ProbeReply>(&message)) return on_probe_reply(*reply, now);
  violation(control_stream, misplaced_frame(kind_of(message)));
}

void MirrorMachine::on_session_begin(const SessionBegin& begin, Instant now) {
  if (const auto good = source_.on_begin(begin, config_.self, config_.in_flight_bytes_max); !good) {
    if (good.error().kind() != ErrorKind::UnsupportedOperation) return violation(control_stream, good.error());
    out_.send(control_stream, to_failure(good.error()));
    return halt(good.error());
  }
  flow_.on_session_begin(source_.cap_bytes());
  link_.on_begun();
  probe_.heard(now);
  limit_changed_ = paused_ || bandwidth_ > 0;
}

void MirrorMachine::on_probe_reply(const ProbeReply& reply, Instant now) {
  if (makes(Mistake::progress_past_undelivered) && log_.begun() && reply.head > log_.last_lsn())
    log_.skip_to(reply.head);
  source_.on_reply(reply);
  // Our LSN and the source's head are of one count only once the source has judged our position: before its LogBegin it
  // may have been bootstrapped anew and count otherwise.
  std::optional<Lsn> applied;
  if (log_.begun() && !log_.step_back_to()) applied = engine_.applied();
  if (applied && *applied >= reply.head) source_.on_caught_up();
  violation(control_stream, probe_.on_reply(reply, applied, now));
}

// --- failures ------------------------------------------------------------------------------------------------------

void MirrorMachine::on_control_failure(const MirrorError& said, Instant now) {
  const auto error = said_by_source(said);
  link_.note(error, true);
  const auto rule = rule_of(error.kind()).in_reconnect;
  if (rule == InReconnect::halt) return halt(error);
  if (rule == InReconnect::hard) link_.refused(now);
  link_.close();
}

/// A disk that it names is none of this machine's.
MirrorError MirrorMachine::said_by_source(const MirrorError& error) {
  return error.kind() == ErrorKind::Storage ? error.with_context("at the source") : error;
}

void MirrorMachine::on_failure(StreamToken stream, const MirrorError& said, Instant now) {
  const auto error = said_by_source(said);
  link_.note(error);
  if (log_.is(stream)) return on_log_failure(error, now);
  if (bootstrap_.is(stream)) {
    const bool halts = rule_of(error.kind()).in_reconnect == InReconnect::halt;
    if (!halts) return bootstrap_.on_failure(error, link_.up(), now);
    bootstrap_.drop_stream(link_.up());
    return halt(error);
  }
  if (verify_.is(stream)) verify_.break_off(error.message(), false, link_.up());
}

void MirrorMachine::on_log_failure(const MirrorError& error, Instant now) {
  const bool after_switch = log_.asked_after_switch();
  drop_log();
  switch (rule_of(error.kind()).in_reconnect) {
    case InReconnect::bootstrap: return bootstrap_.want_for_lost_log(after_switch, error, now);
    case InReconnect::halt:
      if (error.kind() != ErrorKind::SourceBehind || !config_.resync_when_source_behind || sync()) return halt(error);
      note_diverged(error);
      return bootstrap_.want(error.message());
    case InReconnect::hard:
    case InReconnect::retry:
    case InReconnect::session_stays:
    case InReconnect::restart_snapshot:
    case InReconnect::last_good_chunk: log_.retry().back_off(now, out_);
  }
}

// --- log and snapshot ----------------------------------------------------------------------------------------------

void MirrorMachine::on_log_frame(StreamToken stream, const Decoded& decoded, std::shared_ptr<const void> keep,
                                 std::span<const std::byte> payload, Instant now) {
  const auto data = payload.subspan(decoded.data_at);
  if (!log_.begun()) {
    const auto* begin = std::get_if<LogBegin>(&decoded.message);
    if (begin == nullptr) return violation(stream, misplaced_frame(kind_of(decoded.message)));
    return on_log_begin(stream, *begin);
  }
  Result<void> taken = misplaced_frame(kind_of(decoded.message));
  if (const auto* batch = std::get_if<LogBatch>(&decoded.message)) {
    taken = log_.on_batch(*batch, std::move(keep), data, flow_);
  } else if (const auto* fragment = std::get_if<EntryFragment>(&decoded.message)) {
    taken = log_.on_fragment(*fragment, data, flow_);
  } else if (const auto* lease = std::get_if<LeaseInfo>(&decoded.message)) {
    taken = log_.on_lease(*lease);
  }
  if (taken) return source_.on_entry(*log_.last_lsn());
  if (taken.error().kind() != ErrorKind::Storage) return violation(stream, taken.error());
  on_storage_error(taken.error(), now);
  drop_log();
  log_.retry().back_off(now, out_);
}

void MirrorMachine::on_log_begin(StreamToken stream, const LogBegin& begin) {
  if (auto good = log_.on_begin(begin, *engine_.position()); !good) return violation(stream, good.error());
  if (log_.step_back_to()) probe_.forget();
  // What was copied just now is the source's own, whatever it remembers of it.
  unverified_ = begin.unverified && bootstrap_.phase() != mirror::BootstrapPhase::switched;
  bootstrap_.on_log_begun();
  diverged_from_source_.reset();
}

void MirrorMachine::on_snapshot_frame(StreamToken stream, const Decoded& decoded, std::shared_ptr<const void> keep,
                                      std::span<const std::byte> payload, Instant now) {
  const auto* begin = std::get_if<SnapshotBegin>(&decoded.message);
  const auto* chunk = std::get_if<SnapshotChunk>(&decoded.message);
  Result<void> taken = misplaced_frame(kind_of(decoded.message));
  if (begin != nullptr && !bootstrap_.begun()) {
    taken = bootstrap_.on_begin(*begin, traits_.formats);
    if (taken) source_.on_snapshot_begin();
  } else if (const auto* lease = std::get_if<LeaseInfo>(&decoded.message)) {
    taken = bootstrap_.on_lease(*lease);
  } else if (chunk != nullptr && bootstrap_.begun()) {
    taken = bootstrap_.on_chunk(*chunk, std::move(keep), payload.subspan(decoded.data_at), flow_);
  }
  if (taken) return;
  const auto kind = taken.error().kind();
  if (kind != ErrorKind::SnapshotOffsetRegression && kind != ErrorKind::SnapshotCrcMismatch)
    return violation(stream, taken.error());
  link_.note(taken.error());
  out_.send(stream, to_failure(taken.error()));
  bootstrap_.on_failure(taken.error(), link_.up(), now);
}

}  // namespace crosslink::core
