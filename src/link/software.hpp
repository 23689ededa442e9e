#pragma once

#include "crosslink/version.hpp"

namespace crosslink::link {
/// What SessionBegin says of us.
inline constexpr const char* software = "crosslink " CROSSLINK_VERSION;
}  // namespace crosslink::link
