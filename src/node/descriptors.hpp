// How many files and connections this process may have open, and who may take the last of them.
#pragma once

#include <cstdint>

namespace crosslink::node {

struct Descriptors {
  std::uint64_t limit = 0;    ///< RLIMIT_NOFILE
  std::uint64_t reserve = 0;  ///< kept for databases, mirrors and commands: clients do not get them
  /// The system gives the smallest number that is free: a client's connection with this one or a larger one would take
  /// of the reserve.
  std::uint64_t clients_end() const { return limit - reserve; }
};
/// As the limit is now.
Descriptors descriptors();
/// How many are open now.
std::uint64_t open_descriptors();

}  // namespace crosslink::node
