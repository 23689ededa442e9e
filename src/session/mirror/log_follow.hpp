// The log as a mirror follows it: the stream, what has come and waits for the engine, acknowledgements.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "session/mirror/flow_control.hpp"
#include "session/mirror/leases.hpp"

namespace crosslink::core::mirror {

struct LogFollowOptions {
  std::uint64_t entry_bytes_max, group_bytes_max;
  bool zstd;
  Duration ack_every;
  std::uint64_t ack_bytes_max;
};

class LogFollow {
 public:
  /// `fragments` and `out` must outlive this.
  LogFollow(LogFollowOptions options, FragmentStore& fragments, Outbox& out, Retry retry)
      : options_(options), fragments_(&fragments), out_(&out), retry_(retry) {}

  // --- the stream. The log goes on from `position`.
  /// It may be asked for now; wakes when it may later.
  bool may_ask(Instant now) const { return retry_.due(now, *out_); }
  void ask(StreamToken token, const Position& position, bool after_switch);
  /// What has come and was not applied is forgotten. True: there was one.
  bool drop(bool link_up);
  /// As drop(), of a link that is gone; `keep`: what has come completely is still to be applied.
  void on_session_end(bool keep);
  bool asked() const { return stream_.has_value(); }
  bool is(StreamToken token) const { return stream_ && stream_->token == token; }
  /// It goes on from where the mirror is, so that LSNs of both sides are of one count.
  bool begun() const { return stream_ && stream_->order; }
  /// It was asked for as the first one after a bootstrap.
  bool asked_after_switch() const { return stream_ && stream_->after_switch; }
  /// The source has gone back to here: the engine must first.
  std::optional<Lsn> step_back_to() const { return stream_ ? stream_->step_back_to : std::nullopt; }
  void on_stepped_back();
  Retry& retry() { return retry_; }

  // --- frames of it. Errors (peer): ProtocolViolation, BytesInFlightCapExceeded; (local): Storage, of the fragments
  Result<void> on_begin(const LogBegin& begin, const Position& position);
  Result<void> on_batch(const LogBatch& batch, std::shared_ptr<const void> keep, std::span<const std::byte> data,
                        FlowControl& flow);
  Result<void> on_fragment(const EntryFragment& fragment, std::span<const std::byte> data, FlowControl& flow);
  Result<void> on_lease(const LeaseInfo& info) { return leases_.add(info); }
  void acknowledge(const Position& position, Lsn durable, bool engine_busy, Instant now);
  /// The last LSN that has come.
  std::optional<Lsn> last_lsn() const;

  // --- the engine
  /// What it is to apply next, up to `limit`; absent: nothing. `incarnations`: of the source's history.
  std::optional<mirror_action::Apply> next_group(const Position& position, std::optional<Lsn> limit,
                                                 const History& incarnations);
  void on_applied();
  /// `again`: it waits in front of the others; else all of them are forgotten.
  void on_apply_failed(bool again);
  void forget_pending();
  bool waiting() const { return !pending_.empty(); }
  /// Where the engine stands once the group that was taken is applied.
  const Position& applying_to() const { return applying_to_; }
  const Held& held() const { return held_; }

  /// For Mistake::progress_past_undelivered.
  void skip_to(Lsn head);

 private:
  struct Stream {
    StreamToken token = 0;
    bool after_switch = false;
    std::optional<LogOrder> order;  ///< once it has begun
    std::uint64_t released_bytes = 0, acked_released_bytes = 0;
    Lsn acked_applied, acked_durable;
    std::optional<Instant> acked_at;
    std::optional<Lsn> step_back_to;
  };
  void accept(AcceptedBatch batch, std::uint64_t units);
  void take(AcceptedBatch batch, const Position& position, const History& incarnations);
  void recount();

  LogFollowOptions options_;
  FragmentStore* fragments_;
  Outbox* out_;
  Retry retry_;
  std::optional<Stream> stream_;
  std::deque<AcceptedBatch> pending_;
  std::vector<AcceptedBatch> applying_;
  Position applying_to_;
  ToldLeases leases_;
  Held held_;
};

}  // namespace crosslink::core::mirror
