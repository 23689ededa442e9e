// What Prometheus reads.
#pragma once

#include <span>
#include <string>

#include "node/database_list.hpp"

namespace crosslink::node {

/// The text format, version 0.0.4: names begin with crosslink_, base units.
std::string metrics_text(std::span<const DatabasePointer> databases);

}  // namespace crosslink::node
