// How a fuzz target says that something is wrong: in every build, with the sentence on stderr.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace crosslink::fuzz {

inline void require(bool condition, const char* claim) {
  if (condition) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

}  // namespace crosslink::fuzz
