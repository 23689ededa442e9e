// MirrorMachine: frames of the source.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/compression.hpp"
#include "core/mirror_machine.hpp"
#include "core/mistakes.hpp"

namespace crosslink::core {
namespace {

/// What may pass the cap: it is tested between frames, on two streams.
constexpr std::uint64_t over_cap_bytes_max = 2 * 1024 * 1024;

}  // namespace

void MirrorMachine::violation(StreamToken stream, const MirrorError& error, Instant) {
  last_error_ = error;
  link_reason_ = error.message();
  if (link_ != Link::up && link_ != Link::beginning) return;
  send(stream, to_failure(error));
  close_link();
}

void MirrorMachine::on_frame(StreamToken stream, std::uint8_t kind, std::shared_ptr<const void> keep,
                             std::span<const std::byte> payload, Instant now) {
  if (link_ != Link::up && link_ != Link::beginning) return;
  if (!is_session_kind(kind)) {
    if (is_skippable(kind)) return;
    const MirrorError error(
        ErrorKind::UnsupportedOperation, CausedBy::peer,
        fmt::format("the source sent a frame of kind {}, which is not known here", kind_name(kind)));
    send(control_stream, to_failure(error));
    halt(error, now);
    return advance(now);
  }
  const auto decoded = decode_message(kind, payload);
  if (!decoded) {
    violation(stream, decoded.error(), now);
  } else if (stream == control_stream) {
    on_control(decoded->message, now);
  } else if (link_ == Link::beginning) {
    violation(stream, misplaced_frame(kind), now);
  } else if (const auto* failure = std::get_if<SessionFailure>(&decoded->message)) {
    on_failure(stream, to_error(*failure), now);
  } else if (log_ && stream == log_->token) {
    on_log_frame(*decoded, std::move(keep), payload, now);
  } else if (snapshot_ && stream == snapshot_->token) {
    on_snapshot_frame(*decoded, std::move(keep), payload, now);
  } else if (verify_ && stream == verify_->token) {
    on_verify_frame(decoded->message, now);
  }
  advance(now);
}

void MirrorMachine::on_stream_end(StreamToken stream, const std::optional<MirrorError>& error, Instant now) {
  if (link_ != Link::up && link_ != Link::beginning) return;
  if (error) last_error_ = *error;
  if (stream == control_stream) {
    link_reason_ = "the source ended the control stream";
    close_link();
  } else if (log_ && stream == log_->token) {
    drop_log_stream();
    back_off(log_retry_, now);
  } else if (snapshot_ && stream == snapshot_->token) {
    // After the last chunk its end is what comes next; before it, what is stored stays.
    if (!check_wanted_ && !switch_wanted_ && !assembler_.complete() && chunks_.empty() && !storing_) {
      assembler_.on_stream_end();
      back_off(snapshot_retry_, now);
    } else if (!assembler_.complete()) {
      back_off(snapshot_retry_, now);
    }
    snapshot_.reset();
  } else if (verify_ && stream == verify_->token) {
    break_off_verify("the source ended the verify", false);
  }
  advance(now);
}

// --- control -------------------------------------------------------------------------------------------------------

void MirrorMachine::on_control(const SessionMessage& message, Instant now) {
  if (const auto* failure = std::get_if<SessionFailure>(&message))
    return on_failure(control_stream, to_error(*failure), now);
  if (link_ == Link::beginning) {
    const auto* begin = std::get_if<SessionBegin>(&message);
    if (begin == nullptr) return violation(control_stream, misplaced_frame(kind_of(message)), now);
    return on_session_begin(*begin, now);
  }
  control_at_ = now;
  if (const auto* notice = std::get_if<Notice>(&message)) return on_notice(*notice);
  const auto* reply = std::get_if<ProbeReply>(&message);
  if (reply == nullptr) return violation(control_stream, misplaced_frame(kind_of(message)), now);
  if (makes(Mistake::progress_past_undelivered) && log_ && log_->order && reply->head > log_->order->last_lsn()) {
    pending_.push_back({log_->order->last_lsn(), reply->head, 0, nullptr, {}, {}, {}, 0});
    log_->order.emplace(reply->head, config_.entry_bytes_max, *fragments_);
  }
  // Our LSN and the source's head are of one count only once the source has judged our position: before its LogBegin it
  // may have been bootstrapped anew and count otherwise.
  source_head_ = reply->head;
  upstream_ = UpstreamAge{upstream_lag_of(*reply)};
  if (sync_promise_ && reply->sync_standing) sync_promise_->standing = reply->sync_standing;
  std::optional<Lsn> applied;
  if (log_ && log_->order && !log_->step_back_to) applied = mark_.position->applied_lsn;
  if (applied && *applied >= reply->head) notice_.window_left_bytes = notice_.window_left_ms = std::nullopt;
  if (auto taken = lag_.on_reply(*reply, applied, now); !taken) violation(control_stream, taken.error(), now);
}

/// Each Notice speaks of what it names only.
void MirrorMachine::on_notice(const Notice& notice) {
  if (notice.snapshot_queue) notice_.snapshot_queue = notice.snapshot_queue;
  if (!notice.window_left_bytes && !notice.window_left_ms) return;
  notice_.window_left_bytes = notice.window_left_bytes;
  // Shown to people as a time: what a hostile source says must fit one.
  constexpr std::uint64_t ms_max = 1000ull * 3600 * 24 * 365;
  notice_.window_left_ms.reset();
  if (notice.window_left_ms) notice_.window_left_ms = std::min(*notice.window_left_ms, ms_max);
}

void MirrorMachine::on_session_begin(const SessionBegin& begin, Instant now) {
  if (!begin.source || begin.source->history.empty() || begin.in_flight_bytes_max < in_flight_bytes_min) {
    return violation(control_stream,
                     MirrorError::protocol_violation("the source's SessionBegin lacks what it must say"), now);
  }
  const auto& chain = begin.source->chain;
  if (chain.size() >= chain_max || std::ranges::find(chain, config_.self) != chain.end()) {
    const MirrorError error(ErrorKind::UnsupportedOperation, CausedBy::peer,
                            chain.size() >= chain_max
                                ? "the chain of mirrors is too long"
                                : fmt::format("the source follows this very database, {}: a loop", config_.self));
    send(control_stream, to_failure(error));
    return halt(error, now);
  }
  features_ = begin.features & (feature_verify | feature_limit);
  cap_bytes_ = std::min(config_.in_flight_bytes_max, begin.in_flight_bytes_max);
  source_ = begin.source;
  sync_named_ = begin.sync;
  sync_promise_.reset();
  if (begin.sync && begin.source->on_sync_loss) {
    sync_promise_ = {*begin.source->on_sync_loss, std::chrono::milliseconds(begin.source->sync_timeout_ms), {}};
  }
  link_ = Link::up;
  link_reason_ = "the session stands";
  control_at_ = now;
  limit_changed_ = paused_ || bandwidth_ > 0;
}

// --- failures ------------------------------------------------------------------------------------------------------

void MirrorMachine::on_failure(StreamToken stream, const MirrorError& error, Instant now) {
  last_error_ = error;
  if (stream == control_stream) {
    link_reason_ = error.message();
    const auto rule = rule_of(error.kind()).in_reconnect;
    if (rule == InReconnect::halt) return halt(error, now);
    if (rule == InReconnect::hard) {
      hard_retry_.delay = config_.retry_cap;
      back_off(hard_retry_, now);
    }
    return close_link();
  }
  if (log_ && stream == log_->token) return on_log_failure(error, now);
  if (snapshot_ && stream == snapshot_->token) return on_snapshot_failure(error, now);
  if (verify_ && stream == verify_->token) {
    break_off_verify(error.message(), false);
  }
}

void MirrorMachine::on_log_failure(const MirrorError& error, Instant now) {
  const bool after_switch = log_->requested_from_switch;
  drop_log_stream();
  switch (rule_of(error.kind()).in_reconnect) {
    case InReconnect::bootstrap:
      if (after_switch && just_switched_ && ++bootstrap_failures_ >= 2) {
        // Another snapshot would be too late as well.
        back_off(snapshot_retry_, now);
        return want_bootstrap(fmt::format(
            "the source drops its log faster than a snapshot comes; its window must be larger: {}", error.message()));
      }
      return want_bootstrap(error.message());
    case InReconnect::halt:
      if (error.kind() == ErrorKind::SourceBehind && config_.resync_when_source_behind && !sync()) {
        return want_bootstrap(error.message());
      }
      return halt(error, now);
    case InReconnect::hard:
    case InReconnect::retry:
    case InReconnect::session_stays:
    case InReconnect::restart_snapshot:
    case InReconnect::last_good_chunk: back_off(log_retry_, now);
  }
}

void MirrorMachine::on_snapshot_failure(const MirrorError& error, Instant now) {
  drop_snapshot_stream();
  if (rule_of(error.kind()).in_reconnect == InReconnect::halt) return halt(error, now);
  bootstrap_reason_ = error.message();
  back_off(snapshot_retry_, now);
}

// --- log -----------------------------------------------------------------------------------------------------------

bool MirrorMachine::take_in(StreamToken stream, std::uint64_t bytes, Instant now) {
  if (held_bytes_ >= cap_bytes_ + over_cap_bytes_max) {
    violation(stream,
              {ErrorKind::BytesInFlightCapExceeded, CausedBy::peer,
               fmt::format("the source sends although {} bytes are held, and the cap is {}", held_bytes_, cap_bytes_),
               CapExceeded{{}, held_bytes_, cap_bytes_}},
              now);
    return false;
  }
  received_bytes_ += bytes;
  set_held(held_bytes_ + bytes);
  return true;
}

void MirrorMachine::on_log_frame(const Decoded& decoded, std::shared_ptr<const void> keep,
                                 std::span<const std::byte> payload, Instant now) {
  const auto data = payload.subspan(decoded.data_at);
  if (const auto* begin = std::get_if<LogBegin>(&decoded.message); begin != nullptr && !log_->order) {
    return on_log_begin(*begin, now);
  }
  if (!log_->order) return violation(log_->token, misplaced_frame(kind_of(decoded.message)), now);
  if (const auto* batch = std::get_if<LogBatch>(&decoded.message))
    return on_log_batch(*batch, std::move(keep), data, now);
  if (const auto* fragment = std::get_if<EntryFragment>(&decoded.message)) return on_fragment(*fragment, data, now);
  if (const auto* lease = std::get_if<LeaseInfo>(&decoded.message)) return on_lease(log_->token, *lease, now);
  violation(log_->token, misplaced_frame(kind_of(decoded.message)), now);
}

void MirrorMachine::on_log_begin(const LogBegin& begin, Instant now) {
  const auto applied = mark_.position->applied_lsn;
  if (begin.from > applied) {
    return violation(log_->token, MirrorError::protocol_violation("the log begins after a gap"), now);
  }
  if (begin.from < mark_.position->last_entry.lsn) {
    return violation(log_->token, MirrorError::protocol_violation("the log begins before the last entry applied"), now);
  }
  log_->order.emplace(begin.from, config_.entry_bytes_max, *fragments_);
  if (begin.from < applied) {
    log_->step_back_to = begin.from;
    lag_.forget();
  }
  // What was copied just now is the source's own, whatever it remembers of it.
  unverified_ = begin.unverified && !just_switched_;
  just_switched_ = false;
  bootstrap_failures_ = 0;
  log_retry_.clear();
}

void MirrorMachine::on_lease(StreamToken stream, const LeaseInfo& info, Instant now) {
  if (leases_.size() >= leases_waiting_max) {
    return violation(stream, MirrorError::protocol_violation("more leases are told than anything may use"), now);
  }
  leases_.push_back({info.lease, info.ttl_s});
}

void MirrorMachine::accept(AcceptedBatch batch, std::uint64_t units) {
  batch.units = units;
  if (batch.count > 0) batch.leases = std::exchange(leases_, {});
  source_head_ = std::max(source_head_.value_or(batch.last_lsn), batch.last_lsn);
  if (batch.count == 0) {
    // However many come, what only moves the LSN is one.
    batch.keep.reset();
    if (!pending_.empty() && pending_.back().count == 0) {
      pending_.back().last_lsn = batch.last_lsn;
      pending_.back().origin_lsn = batch.origin_lsn;
      pending_.back().units += units;
      return;
    }
  }
  fragment_bytes_ += batch.fragment_bytes;
  pending_.push_back(std::move(batch));
  set_held(held_bytes_);
}

void MirrorMachine::on_log_batch(const LogBatch& batch, std::shared_ptr<const void> keep,
                                 std::span<const std::byte> data, Instant now) {
  if (crosslink::crc32c(data) != batch.crc32c) {
    return violation(log_->token, MirrorError::protocol_violation("a batch does not have its CRC"), now);
  }
  auto raw = data;
  if (batch.codec == codec_zstd && config_.zstd) {
    auto unpacked = zstd_decompress(data, static_cast<std::size_t>(batch.raw_bytes));
    if (!unpacked) return violation(log_->token, unpacked.error(), now);
    auto owned = std::make_shared<const std::vector<std::byte>>(*std::move(unpacked));
    raw = *owned;
    keep = std::move(owned);
  } else if (batch.codec != codec_none || batch.raw_bytes != data.size()) {
    return violation(log_->token,
                     MirrorError::protocol_violation("a batch has a codec that was not agreed, or another size"), now);
  }
  auto accepted = log_->order->on_batch(batch, std::move(keep), raw);
  if (!accepted) return violation(log_->token, accepted.error(), now);
  const auto units = std::max<std::uint64_t>(batch.raw_bytes, data.size());
  if (take_in(log_->token, units, now)) accept(*std::move(accepted), units);
}

void MirrorMachine::on_fragment(const EntryFragment& fragment, std::span<const std::byte> data, Instant now) {
  if (crosslink::crc32c(data) != fragment.crc32c) {
    return violation(log_->token, MirrorError::protocol_violation("a fragment does not have its CRC"), now);
  }
  const bool holds_cap = makes(Mistake::oversize_entry_holds_cap);
  if (holds_cap && !take_in(log_->token, data.size(), now)) return;
  auto taken = log_->order->on_fragment(fragment, data);
  if (!taken) {
    if (taken.error().kind() != ErrorKind::Storage) return violation(log_->token, taken.error(), now);
    on_storage_error(taken.error(), now);
    drop_log_stream();
    return back_off(log_retry_, now);
  }
  // Stored: it counts no more, so that an entry larger than the cap passes.
  if (!holds_cap) {
    log_->released_bytes += data.size();
    received_bytes_ += data.size();
  }
  if (taken->whole) accept(*std::move(taken->whole), holds_cap ? fragment.total_bytes : 0);
}

// --- snapshot ------------------------------------------------------------------------------------------------------

void MirrorMachine::on_snapshot_frame(const Decoded& decoded, std::shared_ptr<const void> keep,
                                      std::span<const std::byte> payload, Instant now) {
  const auto token = snapshot_->token;
  const auto give_up = [&](const MirrorError& error) {
    last_error_ = error;
    if (error.kind() != ErrorKind::SnapshotOffsetRegression && error.kind() != ErrorKind::SnapshotCrcMismatch) {
      return violation(token, error, now);
    }
    send(token, to_failure(error));
    drop_snapshot_stream();
    bootstrap_reason_ = error.message();
    if (error.kind() == ErrorKind::SnapshotOffsetRegression) {
      forget_chunks();
      begin_snapshot_wanted_ = false;
      drop_snapshot_wanted_ = true;
    }
    back_off(snapshot_retry_, now);
  };
  if (const auto* begin = std::get_if<SnapshotBegin>(&decoded.message); begin != nullptr && !snapshot_->begun) {
    const auto how = assembler_.on_begin(*begin, traits_.formats);
    if (!how) return give_up(how.error());
    snapshot_->begun = true;
    notice_.snapshot_queue.reset();
    snapshot_->acked_offset = begin->offset;
    snapshot_resumed_at_ = begin->offset;
    begin_snapshot_wanted_ = *how == SnapshotAssembler::Begin::begin_anew;
    return;
  }
  const auto* chunk = std::get_if<SnapshotChunk>(&decoded.message);
  if (const auto* lease = std::get_if<LeaseInfo>(&decoded.message)) return on_lease(token, *lease, now);
  if (chunk == nullptr || !snapshot_->begun) return violation(token, misplaced_frame(kind_of(decoded.message)), now);
  const auto data = payload.subspan(decoded.data_at);
  const auto stored = assembler_.on_chunk(*chunk, data);
  if (!stored) return give_up(stored.error());
  if (!take_in(token, data.size(), now)) return;
  chunks_.push_back({*stored, std::move(keep), data, std::exchange(leases_, {})});
}

}  // namespace crosslink::core
