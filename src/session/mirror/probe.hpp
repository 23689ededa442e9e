// How a mirror measures its lag and hears whether its source is there: probes on the control stream.
#pragma once

#include <optional>

#include "session/lag_tracker.hpp"
#include "session/mirror/outbox.hpp"

namespace crosslink::core::mirror {

class LagProbe {
 public:
  explicit LagProbe(Outbox& out) : out_(&out) {}

  /// A session stands. Sends a probe when one is due; says that the session makes progress when the mirror has been
  /// caught up for a while. `threshold`: of Degraded. `max_lag`: the smallest that readers ask for.
  void advance(StreamToken control, Duration threshold, std::optional<Duration> max_lag, Instant now);
  /// A control frame came.
  void heard(Instant now) { heard_at_ = now; }
  /// As LagTracker::on_reply.
  Result<void> on_reply(const ProbeReply& reply, std::optional<Lsn> applied, Instant now) {
    return lag_.on_reply(reply, applied, now);
  }
  void on_applied(Lsn applied, Instant now) { lag_.on_applied(applied, now); }
  /// What was measured speaks of data that is no longer here.
  void forget() { lag_.forget(); }
  void on_session_end();
  void on_round_trip(Duration round_trip) { round_trip_ = round_trip; }

  std::optional<Duration> lag(Instant now) const { return lag_.lag(now); }
  /// When the last control frame came: a sign of life. What it said may be older.
  const std::optional<Instant>& heard_at() const { return heard_at_; }
  /// At or after this moment was true what the source last said of its head and of sync mode.
  const std::optional<Instant>& answered_probe_at() const { return lag_.answered_probe_at(); }
  const std::optional<Duration>& round_trip() const { return round_trip_; }

 private:
  Outbox* out_;
  LagTracker lag_;
  std::optional<Instant> heard_at_, probed_at_, caught_up_since_;
  std::optional<Duration> round_trip_;
};

}  // namespace crosslink::core::mirror
