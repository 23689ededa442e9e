#include "replication/session_clock.hpp"

#include <time.h>

#include <chrono>

namespace crosslink::replication {

core::Instant session_now() {
  timespec now{};
  // Fails for an unknown clock alone.
  static_cast<void>(::clock_gettime(CLOCK_BOOTTIME, &now));
  return std::chrono::duration_cast<core::Instant>(std::chrono::seconds(now.tv_sec) +
                                                   std::chrono::nanoseconds(now.tv_nsec));
}

}  // namespace crosslink::replication
