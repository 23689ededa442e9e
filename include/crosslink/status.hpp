// What a mirror is doing, for operators and programs. When each status holds: docs/protocol.md, "Statuses"; what to do
// in it: docs/operating.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace crosslink {

/// In JSON and in logs each is spelled exactly as its enumerator.
enum class StatusKind : std::uint8_t {
  Bootstrapping,  ///< a snapshot is needed, on its way, or not yet switched in
  Following,      ///< lag known and under the threshold
  Degraded,       ///< lag unknown or over the threshold, or applying fails and is retried
  Disconnected,   ///< no link, or no control frame for 30 s
  Paused,         ///< an operator paused it
  Halted,         ///< needs an operator; the data is kept
  Promoted,       ///< takes writes now; final
};
std::string_view to_string(StatusKind kind);

struct MirrorStatus {
  StatusKind kind = StatusKind::Disconnected;
  std::string reason;                            ///< in words, always there
  std::uint64_t bytes_done = 0;                  ///< Bootstrapping only
  std::optional<std::uint64_t> bytes_total;      ///< Bootstrapping only; absent: not known
  std::optional<std::chrono::microseconds> lag;  ///< an upper bound of the truth; absent: unknown
  friend bool operator==(const MirrorStatus&, const MirrorStatus&) = default;
};

}  // namespace crosslink
