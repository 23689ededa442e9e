#include "wire/compression.hpp"

#include <zstd.h>

namespace crosslink::core {
namespace {
// 1 costs least and still halves what text databases write.
constexpr int level = 1;
}  // namespace

std::vector<std::byte> zstd_compress(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  std::vector<std::byte> out(bytes.size());
  const auto size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), level);
  if (ZSTD_isError(size) != 0 || size >= bytes.size()) return {};
  out.resize(size);
  return out;
}

Result<std::vector<std::byte>> zstd_decompress(std::span<const std::byte> bytes, std::size_t raw_bytes) {
  std::vector<std::byte> out(raw_bytes);
  const auto size = ZSTD_decompress(out.data(), out.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(size) != 0 || size != raw_bytes) {
    return MirrorError::protocol_violation("compressed data does not give the bytes that were announced");
  }
  return out;
}

}  // namespace crosslink::core
