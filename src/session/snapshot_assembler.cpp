#include "session/snapshot_assembler.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "session/mistakes.hpp"

namespace crosslink::core {

SnapshotRequest SnapshotAssembler::request(const std::vector<std::string>& formats) {
  done_ = false;
  next_offset_ = stored_bytes();
  chunks_come_ = partial_ ? partial_->chunks.size() : 0;
  SnapshotRequest request{formats, {}, 0};
  if (partial_) {
    request.snapshot_id = partial_->facts.id;
    request.offset = stored_bytes();
  }
  return request;
}

Result<SnapshotAssembler::Begin> SnapshotAssembler::on_begin(const SnapshotBegin& begin,
                                                             const std::vector<std::string>& formats) {
  if (std::ranges::find(formats, begin.facts.format) == formats.end()) {
    return MirrorError::protocol_violation(
        fmt::format("a snapshot begins in the format \"{}\", which was not asked for", escape(begin.facts.format)));
  }
  ended_ = false;
  if (partial_ && begin.facts.id == partial_->facts.id) {
    if (begin.offset == stored_bytes()) return Begin::go_on;
    return MirrorError(ErrorKind::SnapshotOffsetRegression, CausedBy::peer,
                       fmt::format("the snapshot goes on at byte {}, not at {}", begin.offset, stored_bytes()),
                       SnapshotOffsets{{}, stored_bytes(), begin.offset});
  }
  if (begin.offset != 0) return MirrorError::protocol_violation("a new snapshot does not begin at its beginning");
  partial_ = PartialSnapshot{begin.facts, {}};
  next_offset_ = chunks_come_ = 0;
  return Begin::begin_anew;
}

Result<StoredChunk> SnapshotAssembler::on_chunk(const SnapshotChunk& chunk, std::span<const std::byte> data) {
  if (done_ || ended_) return MirrorError::protocol_violation("a chunk comes after the last one");
  if (chunk.offset != next_offset_) {
    return MirrorError(ErrorKind::SnapshotOffsetRegression, CausedBy::peer,
                       fmt::format("a chunk comes at byte {}, not at {}", chunk.offset, next_offset_),
                       SnapshotOffsets{{}, next_offset_, chunk.offset});
  }
  if (chunks_come_ > few_chunks_max + next_offset_ / chunk_bytes_least) {
    return MirrorError::protocol_violation(
        fmt::format("the snapshot comes in pieces of less than {} bytes", chunk_bytes_least));
  }
  if (data.empty() && !chunk.done) return MirrorError::protocol_violation("a chunk without bytes is not the last one");
  if (const auto computed = crosslink::crc32c(data); computed != chunk.crc32c) {
    return MirrorError(
        ErrorKind::SnapshotCrcMismatch, CausedBy::peer,
        fmt::format("the chunk at byte {} has CRC {:#010x}, not {:#010x}", chunk.offset, computed, chunk.crc32c),
        SnapshotCrcs{{}, chunk.crc32c, computed});
  }
  next_offset_ += data.size();
  ++chunks_come_;
  if (chunk.done) {
    if (chunk.consistent_lsn < partial_->facts.snapshot_lsn) {
      return MirrorError::protocol_violation("a snapshot is consistent before it begins");
    }
    done_ = ended_ = true;
    total_crc32c_ = chunk.total_crc32c;
    consistent_lsn_ = chunk.consistent_lsn;
  }
  return StoredChunk{chunk.offset, static_cast<std::uint32_t>(data.size()), chunk.crc32c};
}

void SnapshotAssembler::on_stored(const StoredChunk& chunk) {
  if (chunk.bytes > 0) partial_->chunks.push_back(chunk);
}

SnapshotAssembler::Verdict SnapshotAssembler::on_check(const SnapshotCheck& check) {
  if (makes(Mistake::switch_before_checksum)) return Verdict::whole;
  done_ = false;
  if (check.cut_back_to) {
    std::erase_if(partial_->chunks, [&](const StoredChunk& chunk) { return chunk.offset >= *check.cut_back_to; });
    return Verdict::cut_back;
  }
  if (check.total_crc32c == total_crc32c_) {
    wrong_totals_ = 0;
    return Verdict::whole;
  }
  wrong_total_ = {total_crc32c_, check.total_crc32c};
  ++wrong_totals_;
  return wrong_totals_ >= wrong_totals_max ? Verdict::give_up : Verdict::drop;
}

void SnapshotAssembler::on_stream_end() {
  done_ = ended_ = false;
  next_offset_ = stored_bytes();
}

void SnapshotAssembler::on_dropped() {
  partial_.reset();
  on_stream_end();
}

}  // namespace crosslink::core
