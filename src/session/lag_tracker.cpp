#include "session/lag_tracker.hpp"

#include <algorithm>

#include "session/mistakes.hpp"

namespace crosslink::core {

std::optional<Duration> upstream_lag_of(const ProbeReply& reply) {
  if (!reply.upstream_lag_us) return std::nullopt;
  return Duration(static_cast<Duration::rep>(std::min<std::uint64_t>(*reply.upstream_lag_us, INT64_MAX / 4)));
}

Probe LagTracker::probe(Instant now) {
  // Two probes in one microsecond would be one.
  const auto t0 = last_t0_ ? std::max(now, *last_t0_ + Duration(1)) : now;
  last_t0_ = t0;
  sent_.push_back(t0);
  return {static_cast<std::uint64_t>(t0.count())};
}

Result<void> LagTracker::on_reply(const ProbeReply& reply, std::optional<Lsn> applied, Instant now) {
  const Instant t0{static_cast<Instant::rep>(reply.t0_us)};
  const auto found = std::ranges::find(sent_, t0);
  if (found == sent_.end()) {
    return MirrorError::protocol_violation("a ProbeReply answers a probe that was not sent, or out of order");
  }
  sent_.erase(sent_.begin(), found + 1);
  answered_t0_ = makes(Mistake::lag_from_arrival_times) ? now : t0;
  if (!applied) return {};
  auto upstream = upstream_lag_of(reply);
  if (makes(Mistake::chain_lag_without_upstream)) upstream = Duration(0);
  Pending pending{t0, reply.head, upstream};
  if (makes(Mistake::lag_from_arrival_times)) pending.t0 = now;
  if (*applied >= pending.head) {
    reach(pending);
    return {};
  }
  if (pending_.size() == pending_max) {
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(pending_max / 2));
  }
  pending_.push_back(pending);
  return {};
}

void LagTracker::on_applied(Lsn applied, Instant now) {
  if (makes(Mistake::lag_from_arrival_times)) caught_up_at_ = now;
  // Heads normally rise; one that fell (the source lost its tail) is reached with those before it.
  while (!pending_.empty() && applied >= pending_.front().head) {
    reach(pending_.front());
    pending_.pop_front();
  }
}

void LagTracker::reach(const Pending& reached) {
  if (!reached.upstream) {
    caught_up_at_.reset();  // unknown upstream is unknown here
    return;
  }
  const auto at = reached.t0 - *reached.upstream;
  if (!caught_up_at_ || at > *caught_up_at_) caught_up_at_ = at;
}

void LagTracker::forget() {
  pending_.clear();
  caught_up_at_.reset();
}

void LagTracker::on_session_end() {
  sent_.clear();
  pending_.clear();
}

std::optional<Duration> LagTracker::lag(Instant now) const {
  if (!caught_up_at_) return std::nullopt;
  return std::max(Duration(0), now - *caught_up_at_);
}

}  // namespace crosslink::core
