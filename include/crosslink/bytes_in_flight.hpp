// What a throttle of bytes in flight counts by (crosslink/throttle.hpp), without Asio.
#pragma once

#include <cstdint>

namespace crosslink {

/// Default cap, and the share of it at or below which sending resumes. Both ends count by the same rule, so the share
/// is no option: a sender that resumed at once would send in small pieces around the cap.
inline constexpr std::uint64_t throttle_cap_bytes_default = 64ull * 1024 * 1024;
inline constexpr std::uint64_t throttle_resume_percent = 75;

/// What was charged, and during which stretch (between two resets). A plain value.
struct ThrottleTicket {
  std::uint64_t bytes = 0;
  std::uint64_t stretch = 0;
};

}  // namespace crosslink
