// What Prometheus reads.
#pragma once

#include <cstdint>
#include <string>

#include "node/database_list.hpp"

namespace crosslink::node {

/// The text format, version 0.0.4: names begin with crosslink_, base units. docs/admin.md lists them. `clients`:
/// connected to the client port.
std::string metrics_text(const DatabaseList& databases, std::uint64_t clients);

}  // namespace crosslink::node
