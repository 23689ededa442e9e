// The status of a mirror: one pure function of facts. docs/protocol.md, "Statuses", has the same rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crosslink/status.hpp"
#include "session/lag_tracker.hpp"

namespace crosslink::core {

/// Under half of the threshold, or under it for this long: Following again.
inline constexpr Duration following_hold{3'000'000};
/// Without a control frame for this long: Disconnected.
inline constexpr Duration control_silence_max{30'000'000};

/// The threshold of Degraded. `source_chain`: as many databases as there are from the source up to the root, both
/// counted; 0: not known yet.
Duration lag_threshold(bool sync, std::optional<Duration> round_trip, std::size_t source_chain = 1);

/// How old the source's own data is; absent: it does not know. 0 at a root that users write to.
struct UpstreamAge {
  std::optional<Duration> age;
};

struct StatusFacts {
  bool promoted = false;
  std::optional<std::string> halted;  ///< why an operator is needed
  bool paused = false;
  bool session = false;                 ///< both SessionBegin frames have crossed and the link stands
  std::string link_reason;              ///< why not, or what it is doing
  std::optional<Duration> control_age;  ///< since the last control frame of this or an earlier session
  bool bootstrapping = false;
  std::uint64_t bytes_done = 0;
  std::optional<std::uint64_t> bytes_total;
  std::string bootstrap_reason;
  std::optional<std::string> storage_error;     ///< an apply fails and is retried
  std::optional<std::uint64_t> snapshot_queue;  ///< as the source says
  std::optional<Duration> window_left;          ///< as the source says: then the log that is needed is dropped
  bool unverified = false;                      ///< the source could not tell whether its log goes on from what is here
  std::optional<Duration> lag;
  std::optional<UpstreamAge> upstream;  ///< as the source last said; absent: it did not yet
  Duration threshold{5'000'000};
  Duration control_silence_max = core::control_silence_max;
};

/// Keeps what hysteresis needs between two calls.
class StatusJudge {
 public:
  MirrorStatus judge(const StatusFacts& facts, Instant now);

 private:
  bool degraded_ = true;                ///< lag alone
  std::optional<Instant> under_since_;  ///< lag under the threshold, without a break
};

}  // namespace crosslink::core
