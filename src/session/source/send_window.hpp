// When a source's session may send a bulk frame: bytes in flight, the mirror's limit of bandwidth, its pause.
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "session/source/outbox.hpp"
#include "session/throttle_account.hpp"

namespace crosslink::core::source {

/// One stream of log or snapshot: what it has sent and the mirror has not let go of.
struct BulkStream {
  StreamToken token = 0;
  std::uint64_t charged_bytes = 0, released_bytes = 0;
  bool writing = false;           ///< the transport has not taken the last frame
  std::optional<Question> asked;  ///< an answer of the engine is on its way
  std::set<std::uint64_t> leases_told;
};

class SendWindow {
 public:
  /// `out` must outlive this.
  explicit SendWindow(Outbox& out) : out_(&out) {}

  /// The session begins. `cap_bytes`: the smaller one of both sides'.
  void open(std::uint64_t cap_bytes) { account_ = ThrottleAccount(cap_bytes); }
  void on_limit(const Limit& limit, Instant now);
  bool paused() const { return limit_.paused; }
  /// Wakes when only bandwidth is in the way.
  bool may_send(const BulkStream& stream, Instant now);
  /// `units`: as the mirror counts what it holds: the larger of compressed and raw.
  void send(BulkStream& stream, const SessionMessage& message, SharedBytes data, std::size_t at, std::size_t bytes,
            std::uint64_t units, Instant now);
  /// Before what uses them.
  void tell_leases(BulkStream& stream, const std::vector<LeaseGrant>& leases);
  /// The mirror has let go of so much of the stream. False: that cannot be.
  bool release(BulkStream& stream, std::uint64_t cumulative);
  /// The stream is over.
  void forget(const BulkStream& stream) { account_.ack(stream.charged_bytes - stream.released_bytes); }
  /// Under a limit the next frame goes not before this.
  const std::optional<Instant>& next_send() const { return next_send_; }
  std::uint64_t in_flight() const { return account_.in_flight(); }

  /// For Mistake::ack_after_reset_counted.
  void ack_late(std::uint64_t bytes) { account_.ack(bytes); }

 private:
  Outbox* out_;
  ThrottleAccount account_{0};
  Limit limit_;
  std::optional<Instant> next_send_;
};

}  // namespace crosslink::core::source
