// Leases that a source tells before the batch or the chunk whose keys use them.
#pragma once

#include <utility>
#include <vector>

#include "wire/session_frames.hpp"

namespace crosslink::core::mirror {

class ToldLeases {
 public:
  /// Errors (peer): ProtocolViolation when more are told than anything may use.
  Result<void> add(const LeaseInfo& info) {
    if (told_.size() >= leases_waiting_max)
      return MirrorError::protocol_violation("more leases are told than anything may use");
    told_.push_back({info.lease, info.ttl_s});
    return {};
  }
  /// Those told since the last time.
  std::vector<LeaseGrant> take() { return std::exchange(told_, {}); }
  void forget() { told_.clear(); }

 private:
  std::vector<LeaseGrant> told_;
};

}  // namespace crosslink::core::mirror
