// What Prometheus reads.
#pragma once

#include <cstdint>
#include <string>

#include "node/client_facts.hpp"
#include "node/database_list.hpp"

namespace crosslink::node {

/// The text format, version 0.0.4: names begin with crosslink_, base units. docs/admin.md lists them.
std::string metrics_text(const DatabaseList& databases, const ClientFacts& clients);

}  // namespace crosslink::node
