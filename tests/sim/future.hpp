// What a peer of a later version adds to the wire. docs/protocol.md, "Evolution".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "sim/world.hpp"

namespace crosslink::sim {

/// The same payload with fields and feature bits that this version does not know.
std::vector<std::byte> as_a_later_version(std::uint8_t kind, std::vector<std::byte> payload);
/// A kind that may be skipped, and a payload in no form that is known.
std::uint8_t skippable_kind(World& world);
std::shared_ptr<const std::vector<std::byte>> unreadable_payload(World& world);

}  // namespace crosslink::sim
