// For whom a source holds its log beyond the window: mirrors that bootstrap, also while they are away for a while.
// docs/protocol.md, "0x10 SnapshotRequest".
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/types.hpp"
#include "session/lag_tracker.hpp"

namespace crosslink::core {

/// Every session pins under a name of its own, its holder. Calls return holders whose pins no mirror needs now, for
/// SourceEngine::unpin.
class PinKeeper {
 public:
  using Holders = std::vector<std::string>;
  /// Pins that one mirror leaves behind, at most: it may come with several sessions at once.
  static constexpr std::size_t left_behind_max = 4;
  explicit PinKeeper(Duration away_max) : away_max_(away_max) {}

  /// The session has pinned the log after `from`: it stands in for what earlier ones of the mirror left from there on.
  Holders on_pin(const std::string& mirror, const std::string& holder, Lsn from);
  /// The mirror has durably what it was pinned for.
  Holders on_unpin(const std::string& mirror, const std::string& holder);
  /// The session is over. What it pinned stays until the mirror has been away for too long, unless another of its
  /// sessions stands in for it.
  Holders on_session_end(const std::string& holder, Instant now);
  Holders on_time(Instant now);
  /// All holders.
  Holders on_stop();
  std::optional<Instant> next_deadline() const;

 private:
  struct Pin {
    std::string mirror, holder;
    Lsn from;
    std::optional<Instant> away_since;
  };
  template <class Condition>
  Holders take(Condition&& condition);
  Duration away_max_;
  std::vector<Pin> pins_;  ///< those left behind: the longest away first
};

}  // namespace crosslink::core
