#include "node/descriptors.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace crosslink::node {
namespace {
constexpr std::uint64_t reserve_min = 64, reserve_max = 4096;
}

Descriptors descriptors() {
  rlimit said{};
  if (::getrlimit(RLIMIT_NOFILE, &said) != 0) return {UINT64_MAX, 0};
  const std::uint64_t limit = said.rlim_cur;
  const auto reserve = std::clamp(limit / 4, reserve_min, reserve_max);
  return {limit, std::min(reserve, limit)};
}

std::uint64_t open_descriptors() {
  std::uint64_t open = 0;
  std::error_code error;
  for (auto one = std::filesystem::directory_iterator("/proc/self/fd", error);
       !error && one != std::filesystem::directory_iterator(); one.increment(error))
    ++open;
  return open;
}

}  // namespace crosslink::node
