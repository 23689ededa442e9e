// Deliberate mistakes for the simulator: each must be caught by it (tests/sim). In the product every one is `false`, a
// constant that the compiler removes; only the simulator's own build of this folder can switch one on.
#pragma once

#ifdef CROSSLINK_BROKEN_VARIANTS
#include <string_view>
namespace crosslink::core {
bool is_broken(std::string_view variant);  ///< defined by the simulator
}
#define CROSSLINK_BROKEN(variant) (::crosslink::core::is_broken(#variant))
#else
#define CROSSLINK_BROKEN(variant) false
#endif
