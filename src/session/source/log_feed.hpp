// The log as a source sends it to one mirror.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "crosslink/engine.hpp"
#include "session/source/send_window.hpp"

namespace crosslink::core::source {

struct FeedLimits {
  std::size_t bulk_bytes = 0;         ///< of one frame's data
  std::uint64_t entry_bytes_max = 0;  ///< of one entry
};

class LogFeed {
 public:
  /// `out` and `window` must outlive this. `head`: of the database, now.
  LogFeed(Outbox& out, SendWindow& window, std::function<Lsn()> head)
      : out_(&out), window_(&window), head_(std::move(head)) {}

  /// The engine is asked whether the log goes on from the mirror's last entry.
  void open(StreamToken stream, const LogRequest& request, Lsn from);
  void close();
  bool is_open() const { return log_.has_value(); }
  bool is(StreamToken stream) const { return log_ && log_->token == stream; }
  StreamToken token() const { return log_->token; }
  bool begun() const { return log_ && log_->begun; }
  bool waits_for(Question question) const { return log_ && log_->asked == question; }

  // Answers of the engine. Preconditions: waits_for(). The error ends the stream: the mirror is told.
  Result<void> on_proof(const Result<PositionProof>& proof, const SourceState& state);
  Result<void> on_log(Result<LogPiece> piece, const FeedLimits& limits, Instant now);
  void on_head();
  /// False: on_head() would change nothing, whatever was committed; the log will be read up to the head anyway, or not
  /// at all.
  bool wants_head() const { return log_ && log_->begun && (log_->at_head || log_->asked); }
  void on_written() { log_->writing = false; }
  /// False: it cannot be. `incarnation`: the newest one that the mirror was told.
  bool on_ack(const LogAck& ack, Incarnation incarnation);
  void advance(const FeedLimits& limits, Instant now);
  /// What the mirror needs next; absent: it is not behind.
  std::optional<Lsn> needed() const;

 private:
  struct Log : BulkStream {
    Position request;
    bool zstd = false;
    bool begun = false, at_head = false, unpinned = false;
    bool told = false;  ///< of a newer head, since the log was asked for
    Lsn from, sent_lsn, acked_applied;
    Lsn head_at_ask;
    std::optional<LogPiece> fragmented;  ///< an entry under way in fragments
    std::size_t fragment_at = 0;
  };
  void send_fragment(std::size_t bulk_bytes, Instant now);
  void send_batch(const LogPiece& piece, Instant now);

  Outbox* out_;
  SendWindow* window_;
  std::function<Lsn()> head_;
  std::optional<Log> log_;
};

}  // namespace crosslink::core::source
