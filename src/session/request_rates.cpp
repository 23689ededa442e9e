#include "session/request_rates.hpp"

#include <algorithm>

namespace crosslink::core {

bool RequestRates::take(const std::string& name, Instant now) {
  constexpr Duration minute{60'000'000};
  while (!taken_.empty() && now - taken_.front().first >= minute)
    taken_.pop_front();
  const auto of_name = std::ranges::count_if(taken_, [&](const auto& one) { return one.second == name; });
  if (taken_.size() >= in_all_max_ || of_name >= static_cast<std::ptrdiff_t>(per_name_max_)) return false;
  taken_.emplace_back(now, name);
  return true;
}

}  // namespace crosslink::core
