#include <fmt/format.h>

#include <algorithm>

#include "crosslink/types.hpp"
#include "wire/utf8.hpp"

namespace crosslink {
namespace core {

std::size_t utf8_character_bytes(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  }
  const unsigned second = byte(1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool surrogate = first == 0xed && second > 0x9f;
  const bool too_high = first == 0xf4 && second > 0x8f;
  return overlong || surrogate || too_high ? 0 : length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto length = utf8_character_bytes(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace core

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_label_character(char c) {
  const char small = lower(c);
  return (small >= 'a' && small <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool is_label(std::string_view label) {
  constexpr std::size_t label_bytes_max = 63;  // RFC 1035
  return !label.empty() && label.size() <= label_bytes_max && label.front() != '-' && label.back() != '-' &&
         std::ranges::all_of(label, is_label_character);
}

}  // namespace

bool is_dns_name(std::string_view text) {
  constexpr std::size_t name_bytes_max = 253;  // RFC 1035, in text form
  if (text.size() > name_bytes_max) return false;
  for (;;) {
    const auto dot = text.find('.');
    if (!is_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool equal_ignoring_case(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, lower, lower); }

namespace {

enum class Keep : std::uint8_t { quotes_and_backslash, neither };

std::string escaped(std::string_view text, std::size_t bytes_max, Keep keep) {
  std::string out;
  while (!text.empty()) {
    const auto length = core::utf8_character_bytes(text);
    const auto first = static_cast<unsigned char>(text.front());
    // U+0080-U+009f are control characters as well, some of which terminals obey.
    const bool control =
        first < 0x20 || first == 0x7f || (first == 0xc2 && length == 2 && static_cast<unsigned char>(text[1]) < 0xa0);
    const bool quoting = first == '"' || first == '\'' || first == '\\';
    const bool plain = length > 0 && !control && (!quoting || keep == Keep::quotes_and_backslash);
    const auto taken = std::max<std::size_t>(length, 1);
    std::string piece;
    if (plain) {
      piece = text.substr(0, taken);
    } else {
      for (const char c : text.substr(0, taken))
        piece += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    if (out.size() + piece.size() > bytes_max) return out;
    out += piece;
    text.remove_prefix(taken);
  }
  return out;
}

}  // namespace

std::string escape(std::string_view text, std::size_t bytes_max) { return escaped(text, bytes_max, Keep::neither); }
std::string printable(std::string_view text, std::size_t bytes_max) {
  return escaped(text, bytes_max, Keep::quotes_and_backslash);
}

}  // namespace crosslink
