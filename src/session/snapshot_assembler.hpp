// Receiving a snapshot: what to ask for, what to store, when it is whole. docs/protocol.md, the SnapshotRequest
// section.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "wire/session_frames.hpp"

namespace crosslink::core {

class SnapshotAssembler {
 public:
  /// Totals that were wrong although every chunk was good, in a row, before an operator is needed.
  static constexpr std::uint32_t wrong_totals_max = 2;

  /// Chunks are this large on average but for the first few: the list of them is kept, and must not outgrow the data.
  static constexpr std::uint64_t chunk_bytes_least = 1024, few_chunks_max = 4096;

  /// `partial`: what the engine holds of one.
  explicit SnapshotAssembler(std::optional<PartialSnapshot> partial) : partial_(std::move(partial)) {}

  SnapshotRequest request(const std::vector<std::string>& formats);
  /// What to do with the partial one when a stream begins.
  enum class Begin : std::uint8_t { go_on, begin_anew };
  /// Errors (peer): ProtocolViolation; SnapshotOffsetRegression when it goes on elsewhere than asked (drop and ask
  /// anew).
  Result<Begin> on_begin(const SnapshotBegin& begin, const std::vector<std::string>& formats);
  /// The chunk to store. Errors: SnapshotOffsetRegression (drop the partial one, ask anew), SnapshotCrcMismatch (keep
  /// what is stored, ask again), ProtocolViolation.
  Result<StoredChunk> on_chunk(const SnapshotChunk& chunk, std::span<const std::byte> data);
  /// The engine has stored it.
  void on_stored(const StoredChunk& chunk);
  /// Every byte is stored: time for the check of the whole.
  bool complete() const { return done_ && stored_bytes() == next_offset_; }

  enum class Verdict : std::uint8_t {
    whole,     ///< may be switched in
    cut_back,  ///< ask again at what is left
    drop,      ///< drop it and ask anew
    give_up,   ///< twice in a row: halt
  };
  Verdict on_check(const SnapshotCheck& check);
  /// The stream ended; what is stored stays.
  void on_stream_end();
  void on_dropped();

  const std::optional<PartialSnapshot>& partial() const { return partial_; }
  std::uint64_t stored_bytes() const { return partial_ ? partial_->bytes() : 0; }
  std::optional<std::uint64_t> total_bytes() const { return partial_ ? partial_->facts.total_bytes : std::nullopt; }
  Lsn consistent_lsn() const { return consistent_lsn_; }
  /// Of the last wrong total: what was said, what the bytes give.
  std::optional<std::pair<std::uint32_t, std::uint32_t>> wrong_total() const { return wrong_total_; }

 private:
  std::optional<PartialSnapshot> partial_;
  std::uint64_t next_offset_ = 0;  ///< of what arrived, stored or not
  std::uint64_t chunks_come_ = 0;  ///< up to there
  bool done_ = false;
  bool ended_ = false;  ///< the last chunk has come on this stream
  std::uint32_t total_crc32c_ = 0;
  Lsn consistent_lsn_;
  std::uint32_t wrong_totals_ = 0;
  std::optional<std::pair<std::uint32_t, std::uint32_t>> wrong_total_;
};

}  // namespace crosslink::core
