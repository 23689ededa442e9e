#include "session/source/log_feed.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "session/history_judge.hpp"

namespace crosslink::core::source {

void LogFeed::open(StreamToken stream, const LogRequest& request, Lsn from) {
  log_ = Log{};
  log_->token = stream;
  log_->request = request.position;
  log_->zstd = std::ranges::find(request.codecs, codec_zstd) != request.codecs.end();
  log_->from = log_->sent_lsn = log_->acked_applied = from;
  log_->asked = out_->next_question();
  out_->push(source_action::Prove{*log_->asked, request.position.last_entry, from});
}

void LogFeed::close() {
  if (!log_) return;
  window_->forget(*log_);
  log_.reset();
}

Result<void> LogFeed::on_proof(const Result<PositionProof>& proof, const SourceState& state) {
  log_->asked.reset();
  if (!proof) return proof.error();
  if (const auto diverged = judge_proof(*proof, log_->request)) return *diverged;
  log_->begun = true;
  out_->send(log_->token, LogBegin{state.head, state.oldest, log_->from, *proof == PositionProof::unverified});
  return {};
}

void LogFeed::on_head() {
  if (!log_) return;
  log_->at_head = false;
  log_->told = true;
}

Result<void> LogFeed::on_log(Result<LogPiece> piece, const FeedLimits& limits, Instant now) {
  log_->asked.reset();
  if (!piece) return piece.error();
  const auto& slice = piece->slice;
  window_->tell_leases(*log_, slice.leases);
  if (slice.count == 0 && slice.last_lsn == slice.prev_lsn) {
    // A commit may have come between the reading and now: then on_head came after at_head was last cleared.
    log_->at_head = head_() <= log_->sent_lsn;
    return {};
  }
  if (slice.entries->size() <= limits.bulk_bytes) {
    send_batch(*piece, now);
    return {};
  }
  if (slice.entries->size() > limits.entry_bytes_max) {
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer,
                       fmt::format("the entry at LSN {} has {} bytes, more than the {} this mirror takes",
                                   slice.last_lsn.value, slice.entries->size(), limits.entry_bytes_max));
  }
  log_->fragmented = *std::move(piece);
  log_->fragment_at = 0;
  return {};
}

void LogFeed::send_batch(const LogPiece& piece, Instant now) {
  const auto& slice = piece.slice;
  const auto& data = piece.data;
  LogBatch batch{slice.prev_lsn, slice.last_lsn, slice.count, slice.entries->size(), piece.codec, piece.crc32c, {}};
  if (slice.origin_lsn != slice.last_lsn) batch.origin_lsn = slice.origin_lsn;
  log_->sent_lsn = slice.last_lsn;
  // What was there when it was asked for is on its way. Of what came since the session is told, and not more often than
  // is worth a batch of its own.
  log_->at_head = !log_->told && slice.last_lsn >= log_->head_at_ask;
  const auto units = std::max<std::uint64_t>(slice.entries->size(), data->size());
  window_->send(*log_, batch, data, 0, data->size(), units, now);
}

void LogFeed::send_fragment(std::size_t bulk_bytes, Instant now) {
  const auto& slice = log_->fragmented->slice;
  const auto total = slice.entries->size();
  const auto bytes = std::min<std::size_t>(bulk_bytes, total - log_->fragment_at);
  const auto data = std::span(*slice.entries).subspan(log_->fragment_at, bytes);
  EntryFragment fragment{slice.prev_lsn, slice.last_lsn, log_->fragment_at, total, crosslink::crc32c(data), false, {}};
  fragment.last = log_->fragment_at + bytes == total;
  if (fragment.last && slice.origin_lsn != slice.last_lsn) fragment.origin_lsn = slice.origin_lsn;
  window_->send(*log_, fragment, slice.entries, log_->fragment_at, bytes, bytes, now);
  log_->fragment_at += bytes;
  if (fragment.last) {
    log_->sent_lsn = slice.last_lsn;
    log_->fragmented.reset();
  }
}

bool LogFeed::on_ack(const LogAck& ack, Incarnation incarnation) {
  const bool in_range =
      ack.durable <= ack.applied && ack.applied <= log_->sent_lsn && ack.applied >= log_->acked_applied;
  if (!in_range || !window_->release(*log_, ack.released_bytes)) return false;
  log_->acked_applied = ack.applied;
  if (!log_->unpinned && ack.durable >= log_->from) {
    log_->unpinned = true;
    out_->push(source_action::Unpin{});
  }
  out_->push(source_action::MirrorAt{incarnation, ack.applied, ack.durable});
  return true;
}

void LogFeed::advance(const FeedLimits& limits, Instant now) {
  if (!begun() || log_->asked || !window_->may_send(*log_, now)) return;
  if (log_->fragmented) return send_fragment(limits.bulk_bytes, now);
  if (log_->at_head) return;
  log_->asked = out_->next_question();
  log_->told = false;
  log_->head_at_ask = head_();
  out_->push(source_action::ReadLog{*log_->asked, log_->sent_lsn, limits.bulk_bytes, log_->zstd});
}

std::optional<Lsn> LogFeed::needed() const {
  if (!begun() || log_->acked_applied >= head_()) return std::nullopt;
  return log_->acked_applied;
}

}  // namespace crosslink::core::source
