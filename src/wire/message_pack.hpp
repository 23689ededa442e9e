// MessagePack maps of plain values, as all of crosslink's control messages are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink::core {

/// Anything else a field can hold (nil, float, binary, array, map, negative number) is `Other`: never what a message
/// wants.
struct Other {};
using FieldValue = std::variant<bool, std::uint64_t, std::string, Other>;
using Fields = std::vector<std::pair<std::string, FieldValue>>;

/// The first object of `payload`, which must be a map with text keys; bytes after it are ignored. Takes memory for at
/// most `fields_max` fields. Containers are allowed as values only if `skip_containers`, and are then passed over.
/// Errors (peer), of kind `kind`.
Result<Fields> decode_map(std::span<const std::byte> payload, std::size_t fields_max, bool skip_containers,
                          ErrorKind kind);

std::vector<std::byte> encode_map(const Fields& fields);

}  // namespace crosslink::core
