#pragma once

#include <functional>
#include <string_view>

namespace crosslink::node {

/// Called after each step of a change that survives a kill, with its name, "delete.folder_removed" for instance: what a
/// test is stopped at. Empty: none.
using StepListener = std::function<void(std::string_view step)>;

}  // namespace crosslink::node
