#include "node/clients/glob.hpp"

#include <cstddef>
#include <optional>
#include <utility>

namespace crosslink::node {
namespace {

/// Does the class that begins behind its bracket at `at` contain `c`? Moves `at` behind the class.
bool class_contains(std::string_view pattern, std::size_t& at, char c) {
  const bool negated = at < pattern.size() && pattern[at] == '^';
  if (negated) ++at;
  bool found = false;
  while (at < pattern.size() && pattern[at] != ']') {
    if (pattern[at] == '\\' && at + 1 < pattern.size()) ++at;
    auto low = static_cast<unsigned char>(pattern[at]);
    auto high = low;
    if (at + 2 < pattern.size() && pattern[at + 1] == '-' && pattern[at + 2] != ']') {
      high = static_cast<unsigned char>(pattern[at + 2]);
      at += 2;
    }
    if (low > high) std::swap(low, high);
    found = found || (low <= static_cast<unsigned char>(c) && static_cast<unsigned char>(c) <= high);
    ++at;
  }
  if (at < pattern.size()) ++at;
  return found != negated;
}

/// One element of the pattern that is no star against one character; moves `at` behind the element.
bool element_matches(std::string_view pattern, std::size_t& at, char c) {
  const char element = pattern[at++];
  if (element == '?') return true;
  if (element == '[') return class_contains(pattern, at, c);
  if (element == '\\' && at < pattern.size()) return pattern[at++] == c;
  return element == c;
}

}  // namespace

bool matches_glob(std::string_view pattern, std::string_view text) {
  std::size_t at = 0;
  std::size_t in_text = 0;
  std::optional<std::pair<std::size_t, std::size_t>> star;  // behind the last star, and what it may eat up to
  while (in_text < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star.emplace(++at, in_text);
      continue;
    }
    auto next = at;
    if (at < pattern.size() && element_matches(pattern, next, text[in_text])) {
      at = next;
      ++in_text;
      continue;
    }
    // Only the last star need ever be moved on.
    if (!star) return false;
    at = star->first;
    in_text = ++star->second;
  }
  while (at < pattern.size() && pattern[at] == '*')
    ++at;
  return at == pattern.size();
}

}  // namespace crosslink::node
