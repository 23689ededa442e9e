#pragma once

#include <cstring>
#include <random>

#include "crosslink/position.hpp"

namespace crosslink::base {

/// From the system's own randomness: two databases must never have one id.
template <class Id>
Id random_id() {
  std::random_device device;
  Id id;
  for (std::size_t at = 0; at < id.bytes.size(); at += sizeof(std::random_device::result_type)) {
    const auto word = device();
    std::memcpy(id.bytes.data() + at, &word, sizeof word);
  }
  return id;
}

}  // namespace crosslink::base
