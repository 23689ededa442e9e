// Unsigned LEB128, shortest form, at most 2^63 - 1: docs/protocol.md, "Forms".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace crosslink::core {

inline constexpr std::size_t varint_bytes_max = 9;

inline std::size_t varint_bytes(std::uint64_t value) {
  std::size_t bytes = 1;
  while ((value >>= 7) != 0)
    ++bytes;
  return bytes;
}

inline void append_varint(std::vector<std::byte>& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(static_cast<std::byte>(value | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

enum class Varint : std::uint8_t { read, cut_short, wrong };

/// Takes one off the front. Unchanged unless `read`.
inline Varint read_varint(std::span<const std::byte>& bytes, std::uint64_t& value) {
  std::uint64_t result = 0;
  for (std::size_t i = 0; i < varint_bytes_max; ++i) {
    if (i == bytes.size()) return Varint::cut_short;
    const auto byte = std::to_integer<std::uint64_t>(bytes[i]);
    result |= (byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    if (byte == 0 && i > 0) return Varint::wrong;  // not the shortest form
    value = result;
    bytes = bytes.subspan(i + 1);
    return Varint::read;
  }
  return Varint::wrong;
}

}  // namespace crosslink::core
