// Where MessagePack's packer writes to: the end of some bytes.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace crosslink::core {

struct PackSink {
  std::vector<std::byte>& bytes;
  void write(const char* data, std::size_t size) {
    const auto added = std::as_bytes(std::span(data, size));
    bytes.insert(bytes.end(), added.begin(), added.end());
  }
};

}  // namespace crosslink::core
