// Redis's patterns for keys: * ? [abc] [^a] [a-z] \x.
#pragma once

#include <string_view>

namespace crosslink::node {

/// Takes at most about pattern times text steps, whatever the pattern.
bool matches_glob(std::string_view pattern, std::string_view text);

}  // namespace crosslink::node
