// Watches this program's allocations, to show that a length announced by a peer takes no memory.
#pragma once

#include <cstddef>

namespace crosslink::test {

/// From construction on: what this thread took at most in one piece, and altogether.
class AllocationWatch {
 public:
  AllocationWatch();
  static std::size_t largest_bytes();
  static std::size_t total_bytes();
};

}  // namespace crosslink::test
