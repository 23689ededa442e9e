// Who a root is: nodes before one etcd agree on it, and a mirror can tell its own etcd by it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "crosslink/position.hpp"

namespace crosslink::etcd {

/// Its first half speaks of the etcd cluster alone.
Incarnation root_incarnation(std::uint64_t etcd_cluster, const std::string& crosslink_cluster,
                             const std::string& prefix, std::vector<std::string> excludes);
/// Is that of a root in this etcd cluster? Clusters that were set up with the same names, addresses and token have the
/// same id: "no" is certain, "yes" is not.
bool may_be_in(const Incarnation& root, std::uint64_t etcd_cluster);

}  // namespace crosslink::etcd
