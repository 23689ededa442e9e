// One run of the simulator: a root, two mirrors, a mirror of a mirror, a random number of faults and commands, then
// peace, in which everything must come together again.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "sim/world.hpp"

namespace crosslink::sim {

struct Outcome {
  Tally tally;
  bool worked = false;  ///< enough was committed and applied for the run to count
  std::optional<std::string> violation;
  std::deque<std::string> history;  ///< the last lines
};

/// `variant`: a deliberate mistake of src/session to run with, empty for none. `tell`: print the run's history.
Outcome run(std::uint64_t seed, const std::string& variant, bool tell);

}  // namespace crosslink::sim
