// Lag without comparing clocks: docs/protocol.md, "0x09 Probe". All times are the mirror's own steady clock.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>

#include "wire/session_frames.hpp"

namespace crosslink::core {

/// A point on the steady clock of the driver of a machine.
using Instant = std::chrono::microseconds;
using Duration = std::chrono::microseconds;

/// How old the source's own data is, as it says; absent: it does not know.
std::optional<Duration> upstream_lag_of(const ProbeReply& reply);

class LagTracker {
 public:
  static constexpr std::size_t pending_max = 64;

  /// As many probes as may be are not answered yet: send no more.
  bool full() const { return sent_.size() >= pending_max; }
  /// A probe leaves now. Returns what it carries: t0 rises with each. Precondition: not full.
  Probe probe(Instant now);
  /// `applied`: absent while it cannot be compared with the source's head; the reply then measures nothing.
  /// Errors (peer): ProtocolViolation when t0 was never sent or falls.
  Result<void> on_reply(const ProbeReply& reply, std::optional<Lsn> applied, Instant now);
  /// The applied LSN has risen.
  void on_applied(Lsn applied, Instant now);
  /// Nothing measured before counts any more: the applied LSN fell, or the data was replaced.
  void forget();
  /// The session ended: probes under way will not be answered. What was measured stands.
  void on_session_end();
  /// Absent: unknown.
  std::optional<Duration> lag(Instant now) const;
  /// When the newest probe left that was answered: what its reply said was true then or later. A reply may lie in a
  /// buffer for long, while the process was stopped or the line full: when it came says nothing of its age.
  const std::optional<Instant>& answered_probe_at() const { return answered_t0_; }

 private:
  struct Pending {
    Instant t0;
    Lsn head;
    std::optional<Duration> upstream;
  };
  void reach(const Pending& reached);
  std::deque<Instant> sent_;     ///< not answered yet
  std::deque<Pending> pending_;  ///< answered, head not reached yet; t0 and head rise
  std::optional<Instant> caught_up_at_;
  std::optional<Instant> last_t0_, answered_t0_;
};

}  // namespace crosslink::core
