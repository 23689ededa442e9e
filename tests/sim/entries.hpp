// Entries that a mirror applies, against what the oracle knows.
#pragma once

#include <string>

#include "crosslink/engine.hpp"
#include "sim/oracle.hpp"

namespace crosslink::sim {

/// The commit that `at` becomes by them, and how many they are. Violation when one does not belong there.
struct Entries {
  const Node* after = nullptr;
  std::uint64_t count = 0;
};
Entries judge_entries(const Oracle& oracle, const ApplyGroup& group, const Node* at, const std::string& who);
/// In the log of the node that applied them each entry has a number of its own, after `head`.
void note_entries(Oracle& oracle, const ApplyGroup& group, const Oracle::Log& log, Lsn head);

}  // namespace crosslink::sim
