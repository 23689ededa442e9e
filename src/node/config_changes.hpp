// What of a config that was read again takes a restart: the rest holds at once (Node::reload).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "node/config.hpp"

namespace crosslink::node {

/// The keys, as the file names them, that `fresh` has otherwise than `running`, the config that the node was started
/// with, and that a reload does not change. `is_known`: is there a database of that name? A table that is gone changes
/// nothing but its keys: what it named is served on.
std::vector<std::string> needs_restart(const NodeConfig& running, const NodeConfig& fresh,
                                       const std::function<bool(std::string_view name)>& is_known);

}  // namespace crosslink::node
