// UTF-8, as far as judging bytes from a peer needs it.
#pragma once

#include <cstddef>
#include <string_view>

namespace crosslink::core {

/// Length of the well-formed UTF-8 character that `text` begins with; 0 if it begins with none. RFC 3629: no overlong
/// forms, no surrogates, nothing above U+10FFFF.
std::size_t utf8_character_bytes(std::string_view text);
bool is_utf8(std::string_view text);

}  // namespace crosslink::core
