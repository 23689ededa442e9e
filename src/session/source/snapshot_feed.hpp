// A snapshot as a source sends it to one mirror.
#pragma once

#include <optional>
#include <string>

#include "crosslink/engine.hpp"
#include "session/source/send_window.hpp"

namespace crosslink::core::source {

class SnapshotFeed {
 public:
  /// `out` and `window` must outlive this. `retry`: while the engine has no room for another snapshot.
  SnapshotFeed(Outbox& out, SendWindow& window, Duration retry) : out_(&out), window_(&window), retry_(retry) {}

  /// The log after the snapshot is pinned before it is opened, so that it cannot be dropped in between.
  void open(StreamToken stream, const SnapshotRequest& request, const SourceState& state, Instant now);
  void close();
  bool is_open() const { return snapshot_.has_value(); }
  bool is(StreamToken stream) const { return snapshot_ && snapshot_->token == stream; }
  StreamToken token() const { return snapshot_->token; }
  bool begun() const { return snapshot_ && snapshot_->facts; }
  bool waits_for(Question question) const { return snapshot_ && snapshot_->asked == question; }

  // Answers of the engine. Preconditions: waits_for(). The error ends the stream: the mirror is told.
  /// True: keep the reader. `control`: where the mirror is told that it waits.
  Result<bool> on_opened(const Result<SnapshotFacts>& facts, StreamToken control, Instant now);
  Result<void> on_piece(Result<SnapshotReader::Piece> piece, Instant now);
  void on_written() { snapshot_->writing = false; }
  /// False: it cannot be.
  bool on_ack(const SnapshotAck& ack, Instant now);
  void advance(std::size_t bulk_bytes, Instant now);
  /// When it last made progress; absent: it does not keep others waiting, or the engine is at it.
  std::optional<Instant> progress_at() const;
  /// What the mirror needs of the log afterwards.
  std::optional<Lsn> needed() const;

 private:
  struct Snapshot : BulkStream {
    SnapshotRequest request;
    std::optional<SnapshotFacts> facts;
    std::uint64_t begin_offset = 0, offset = 0;
    std::uint32_t crc32c = 0;
    bool done = false;
    bool waits = false;  ///< for room at the engine; the mirror was told
    std::optional<Instant> retry_at;
    Instant progress_at{};  ///< a piece was sent, or acknowledged
  };

  Outbox* out_;
  SendWindow* window_;
  Duration retry_;
  std::optional<Snapshot> snapshot_;
};

}  // namespace crosslink::core::source
