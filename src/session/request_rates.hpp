// How often mirrors may ask for what costs a source much, within a minute: each by its name, whatever connections it
// comes over, and all together.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "session/lag_tracker.hpp"

namespace crosslink::core {

class RequestRates {
 public:
  RequestRates(std::uint32_t per_name_max, std::uint32_t in_all_max)
      : per_name_max_(per_name_max), in_all_max_(in_all_max) {}
  /// False: too many were asked for within a minute; this one does not count.
  bool take(const std::string& name, Instant now);

 private:
  std::uint32_t per_name_max_, in_all_max_;
  std::deque<std::pair<Instant, std::string>> taken_;  ///< of the last minute
};

}  // namespace crosslink::core
