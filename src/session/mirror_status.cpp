#include "session/mirror_status.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crosslink {

std::string_view to_string(StatusKind kind) {
  switch (kind) {
    case StatusKind::Bootstrapping: return "Bootstrapping";
    case StatusKind::Following: return "Following";
    case StatusKind::Degraded: return "Degraded";
    case StatusKind::Disconnected: return "Disconnected";
    case StatusKind::Paused: return "Paused";
    case StatusKind::Halted: return "Halted";
    case StatusKind::Promoted: return "Promoted";
  }
  return "";
}

namespace core {
namespace {

std::string seconds(Duration duration) { return fmt::format("{:.3f} s", static_cast<double>(duration.count()) / 1e6); }

/// "", or that a new bootstrap comes.
std::string window(const StatusFacts& facts) {
  if (!facts.window_left) return {};
  return fmt::format("; at the present rate the source drops the log it needs in {}", seconds(*facts.window_left));
}

/// "", or that it is the source whose data is old.
std::string above(const StatusFacts& facts) {
  if (!facts.upstream) return {};
  const auto& age = facts.upstream->age;
  if (!age) return "; the source does not know how old its own data is: it does not hear what it follows or reads";
  if (2 * *age < facts.threshold) return {};
  return fmt::format("; the source itself last heard what it follows or reads {} ago", seconds(*age));
}

}  // namespace

Duration lag_threshold(bool sync, std::optional<Duration> round_trip, std::size_t source_chain) {
  if (!sync) return std::chrono::seconds(5);
  // The source's own data is as old as its probes are apart, and as long as their way is.
  constexpr auto of_each_between = std::chrono::milliseconds(500);
  const Duration between = of_each_between * static_cast<std::int64_t>(std::max<std::size_t>(source_chain, 1) - 1);
  return std::max<Duration>(std::chrono::milliseconds(100), 3 * round_trip.value_or(Duration(0))) + between;
}

MirrorStatus StatusJudge::judge(const StatusFacts& facts, Instant now) {
  const bool under = facts.lag && *facts.lag <= facts.threshold;
  if (!under) {
    degraded_ = true;
    under_since_.reset();
  } else {
    if (!under_since_) under_since_ = now;
    if (*facts.lag <= facts.threshold / 2 || now - *under_since_ >= following_hold) degraded_ = false;
  }
  MirrorStatus status;
  status.lag = facts.lag;
  const auto as = [&](StatusKind kind, std::string reason) {
    status.kind = kind;
    status.reason = std::move(reason);
    return status;
  };
  if (facts.promoted) return as(StatusKind::Promoted, "it was promoted and takes writes");
  if (facts.halted) return as(StatusKind::Halted, *facts.halted);
  if (facts.paused) return as(StatusKind::Paused, "an operator paused it");
  if (!facts.session) return as(StatusKind::Disconnected, facts.link_reason);
  if (facts.control_age && *facts.control_age >= facts.control_silence_max) {
    return as(StatusKind::Disconnected, fmt::format("nothing was heard for {}", seconds(*facts.control_age)));
  }
  if (facts.bootstrapping) {
    status.bytes_done = facts.bytes_done;
    status.bytes_total = facts.bytes_total;
    auto reason = facts.bootstrap_reason;
    if (facts.storage_error) reason += "; " + *facts.storage_error;
    if (facts.snapshot_queue)
      reason += fmt::format("; the source sends {} other snapshot{} first", *facts.snapshot_queue,
                            *facts.snapshot_queue == 1 ? "" : "s");
    return as(StatusKind::Bootstrapping, reason + window(facts));
  }
  if (facts.storage_error) return as(StatusKind::Degraded, *facts.storage_error);
  if (degraded_) {
    if (!facts.lag) return as(StatusKind::Degraded, "the lag is not known yet" + above(facts) + window(facts));
    return as(StatusKind::Degraded, fmt::format("the lag of {} {} the limit of {}{}{}", seconds(*facts.lag),
                                                under ? "is only just under" : "is over", seconds(facts.threshold),
                                                above(facts), window(facts)));
  }
  return as(StatusKind::Following,
            fmt::format("the lag is {} at most{}", seconds(*facts.lag),
                        facts.unverified ? "; unverified: the source no longer knew the entry that "
                                           "its log went on from; verify tells"
                                         : ""));
}

}  // namespace core
}  // namespace crosslink
