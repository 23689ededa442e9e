// Durations and sizes as people write them in a config: "500ms", "24h", "64MiB".
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "crosslink/result.hpp"

namespace crosslink::node {

/// A whole number and one of ms, s, m, h, d, without a space. At most 10 years. Errors: Configuration.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);
/// A whole number and one of B, KiB, MiB, GiB, TiB, or nothing (bytes). Errors: Configuration.
Result<std::uint64_t> parse_size(std::string_view text);

}  // namespace crosslink::node
