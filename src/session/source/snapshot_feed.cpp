#include "session/source/snapshot_feed.hpp"

#include <algorithm>
#include <utility>

#include "session/mistakes.hpp"

namespace crosslink::core::source {

void SnapshotFeed::open(StreamToken stream, const SnapshotRequest& request, const SourceState& state, Instant now) {
  snapshot_ = Snapshot{};
  snapshot_->token = stream;
  snapshot_->request = request;
  out_->push(source_action::Pin{request.snapshot_id ? state.oldest : state.head});
  snapshot_->retry_at = now;  // in advance()
}

void SnapshotFeed::close() {
  if (!snapshot_) return;
  window_->forget(*snapshot_);
  if (snapshot_->facts) out_->push(source_action::CloseSnapshot{});
  snapshot_.reset();
}

Result<bool> SnapshotFeed::on_opened(const Result<SnapshotFacts>& facts, StreamToken control, Instant now) {
  snapshot_->asked.reset();
  if (!facts) {
    if (facts.error().kind() != ErrorKind::Busy) return facts.error();
    if (!std::exchange(snapshot_->waits, true)) out_->send(control, Notice{1, {}, {}});
    snapshot_->retry_at = now + retry_;
    out_->wake(*snapshot_->retry_at);
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
  out_->push(source_action::Pin{facts->snapshot_lsn});
  out_->send(snapshot_->token, SnapshotBegin{said, snapshot_->begin_offset});
  // The total's CRC is of all bytes: what the mirror has is read for it, not sent.
  snapshot_->charged_bytes = snapshot_->released_bytes = snapshot_->begin_offset;
  return true;
}

Result<void> SnapshotFeed::on_piece(Result<SnapshotReader::Piece> piece, Instant now) {
  snapshot_->asked.reset();
  if (!piece) return piece.error();
  const auto bytes = piece->bytes->size();
  snapshot_->progress_at = now;
  window_->tell_leases(*snapshot_, piece->leases);
  snapshot_->crc32c = crosslink::crc32c(*piece->bytes, snapshot_->crc32c);
  const auto offset = snapshot_->offset;
  snapshot_->offset += bytes;
  if (offset < snapshot_->begin_offset && !piece->done) return {};
  snapshot_->done = piece->done;
  SnapshotChunk chunk{offset, crosslink::crc32c(*piece->bytes), piece->done, 0, {}};
  if (piece->done) {
    chunk.total_crc32c = snapshot_->crc32c;
    chunk.consistent_lsn = piece->consistent_lsn.value_or(snapshot_->facts->consistent_lsn);
  }
  if (offset < snapshot_->begin_offset) {  // the mirror has every byte: only the end is news
    chunk.offset = snapshot_->offset;
    chunk.crc32c = crosslink::crc32c({});
    window_->send(*snapshot_, chunk, piece->bytes, bytes, 0, 0, now);
  } else {
    window_->send(*snapshot_, chunk, piece->bytes, 0, bytes, bytes, now);
  }
  return {};
}

bool SnapshotFeed::on_ack(const SnapshotAck& ack, Instant now) {
  if (ack.offset > snapshot_->released_bytes) snapshot_->progress_at = now;
  return window_->release(*snapshot_, ack.offset);
}

void SnapshotFeed::advance(std::size_t bulk_bytes, Instant now) {
  if (!snapshot_ || snapshot_->asked) return;
  if (!snapshot_->facts) {
    // One that is paused would only keep another from being read.
    if (!snapshot_->retry_at || now < *snapshot_->retry_at || window_->paused()) return;
    snapshot_->retry_at.reset();
    snapshot_->asked = out_->next_question();
    return out_->push(
        source_action::OpenSnapshot{*snapshot_->asked, snapshot_->request.formats, snapshot_->request.snapshot_id});
  }
  if (snapshot_->done || !window_->may_send(*snapshot_, now)) return;
  auto bytes = bulk_bytes;
  if (snapshot_->offset < snapshot_->begin_offset)
    bytes = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, snapshot_->begin_offset - snapshot_->offset));
  snapshot_->asked = out_->next_question();
  out_->push(source_action::ReadSnapshot{*snapshot_->asked, snapshot_->offset, bytes});
}

std::optional<Instant> SnapshotFeed::progress_at() const {
  if (!begun() || snapshot_->asked) return std::nullopt;
  return snapshot_->progress_at;
}

std::optional<Lsn> SnapshotFeed::needed() const {
  if (!begun()) return std::nullopt;
  return snapshot_->facts->snapshot_lsn;
}

}  // namespace crosslink::core::source
