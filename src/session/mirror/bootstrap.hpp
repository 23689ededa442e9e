// A bootstrap at a mirror: a snapshot is asked for, stored piece by piece, checked as a whole, switched in.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "session/mirror/bootstrap_phase.hpp"
#include "session/mirror/engine_calls.hpp"
#include "session/mirror/flow_control.hpp"
#include "session/mirror/leases.hpp"
#include "session/snapshot_assembler.hpp"

namespace crosslink::core::mirror {

class Bootstrap {
 public:
  /// `out` must outlive this. `partial`: what the engine holds of a snapshot. `consistent_lsn`: of the data it has.
  Bootstrap(Outbox& out, Retry retry, std::optional<PartialSnapshot> partial, Lsn consistent_lsn)
      : out_(&out), retry_(retry), assembler_(std::move(partial)), consistent_lsn_(consistent_lsn) {}

  void want(std::string reason);
  /// The log does not go on. `after_switch`: from a snapshot that has just been switched in.
  void want_for_lost_log(bool after_switch, const MirrorError& why, Instant now);
  void resync(bool link_up);
  /// After a halt: what the engine refused to begin with is not offered to it again; the source, which may have been
  /// mended, says anew what it has.
  void ask_anew(bool link_up);
  void on_log_begun();
  void on_promoted();
  BootstrapPhase phase() const { return phase_; }
  bool under_way() const { return is_under_way(phase_); }
  const std::string& reason() const { return reason_; }

  // --- the stream
  /// A snapshot, or the rest of one, is what comes next, and may be asked for now; wakes when it may later.
  bool may_ask(Instant now) const { return phase_ == BootstrapPhase::receiving && retry_.due(now, *out_); }
  void ask(StreamToken token, const std::vector<std::string>& formats);
  bool asked() const { return stream_.has_value(); }
  bool is(StreamToken token) const { return stream_ && stream_->token == token; }
  bool begun() const { return stream_ && stream_->begun; }
  void drop_stream(bool link_up);
  void on_stream_end(Instant now);
  void on_session_end();
  /// The source, or what it sent, made this stream end: it is asked again later.
  void on_failure(const MirrorError& error, bool link_up, Instant now);
  Retry& retry() { return retry_; }

  // --- frames of it. Errors (peer): ProtocolViolation, BytesInFlightCapExceeded: the session ends;
  // SnapshotOffsetRegression, SnapshotCrcMismatch: on_failure()
  Result<void> on_begin(const SnapshotBegin& begin, const std::vector<std::string>& formats);
  Result<void> on_chunk(const SnapshotChunk& chunk, std::shared_ptr<const void> keep, std::span<const std::byte> data,
                        FlowControl& flow);
  Result<void> on_lease(const LeaseInfo& info) { return leases_.add(info); }
  void acknowledge(Duration every, std::uint64_t bytes_max, Instant now);

  // --- the engine
  /// What it is to do next; absent: nothing. `halted`: an operator is needed: what is complete is not looked at.
  std::optional<NextCall> next_call(bool halted);
  void on_begun() { on(BootstrapEvent::begun); }
  void on_stored();
  void on_store_failed(bool link_up, Instant now);
  /// The error needs an operator.
  std::optional<MirrorError> on_checked(const SnapshotCheck& check, bool link_up, Instant now);
  void on_switched(bool link_up);
  void on_switch_failed() { on(BootstrapEvent::switch_failed); }
  void on_dropped();

  /// The engine holds part of a snapshot.
  bool has_partial() const { return assembler_.partial().has_value(); }
  bool waiting() const { return !chunks_.empty(); }
  Held held() const;
  std::uint64_t stored_bytes() const { return assembler_.stored_bytes(); }
  std::optional<std::uint64_t> total_bytes() const { return assembler_.total_bytes(); }
  /// From here on the data is of one moment.
  Lsn consistent_lsn() const { return consistent_lsn_; }
  std::uint64_t switched_in() const { return switched_in_; }  ///< how many were
  std::uint64_t last_bytes() const { return last_bytes_; }    ///< of the last one of them
  /// Where the one that comes, or came last, was taken up; 0: at its beginning.
  std::uint64_t resumed_at() const { return resumed_at_; }

 private:
  struct Stream {
    StreamToken token = 0;
    bool begun = false;
    std::uint64_t acked_offset = 0;
    Instant acked_at{0};
  };
  struct Chunk {
    StoredChunk chunk;
    std::shared_ptr<const void> keep;
    std::span<const std::byte> bytes;
    std::vector<LeaseGrant> leases;
  };
  void on(BootstrapEvent event) { phase_ = next_phase(phase_, event); }
  void forget_chunks();

  Outbox* out_;
  Retry retry_;
  BootstrapPhase phase_ = BootstrapPhase::none;
  std::string reason_;
  /// The last failure of a snapshot that was asked for. Empty: one came since, or none failed.
  std::string failed_with_;
  std::optional<Stream> stream_;
  SnapshotAssembler assembler_;
  std::deque<Chunk> chunks_;
  std::uint64_t waiting_bytes_ = 0;     ///< of them
  std::optional<StoredChunk> storing_;  ///< by the engine, now
  ToldLeases leases_;
  Lsn consistent_lsn_;
  std::uint32_t windows_lost_ = 0;  ///< windows that passed while a snapshot came, in a row
  std::uint64_t switched_in_ = 0, last_bytes_ = 0, resumed_at_ = 0;
};

}  // namespace crosslink::core::mirror
