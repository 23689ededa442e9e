// The clock of the machines.
#pragma once

#include "session/lag_tracker.hpp"

namespace crosslink::replication {

/// Time as the machines count it: CLOCK_BOOTTIME, which goes on while the machine is suspended, as the source's data
/// does. A timer of std::chrono::steady_clock does not: wait for `at - session_now()`, never until `at`.
core::Instant session_now();

}  // namespace crosslink::replication
