// Texts that fmt can make, too: with all that it can do besides, compiled in each file that asks it to.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crosslink::node {

template <class Texts>
std::string joined(const Texts& texts, std::string_view between) {
  std::string all;
  bool first = true;
  for (const auto& text : texts) {
    if (!first) all += between;
    first = false;
    all += text;
  }
  return all;
}

enum class Case : std::uint8_t { counts, is_ignored };
/// The first text that is there twice; absent: none is.
std::optional<std::string> twice_in(const std::vector<std::string>& texts, Case letters);

/// "2026-11-29T05:44:00Z".
std::string utc_text(std::chrono::system_clock::time_point time);

}  // namespace crosslink::node
