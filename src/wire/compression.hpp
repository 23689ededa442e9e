// zstd, for codecs agreed in a LogRequest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink::core {

/// Empty when compressing does not make it smaller.
std::vector<std::byte> zstd_compress(std::span<const std::byte> bytes);
/// Exactly `raw_bytes` bytes, no more memory than that. Errors (peer): ProtocolViolation.
Result<std::vector<std::byte>> zstd_decompress(std::span<const std::byte> bytes, std::size_t raw_bytes);

}  // namespace crosslink::core
