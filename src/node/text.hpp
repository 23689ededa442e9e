// Texts that fmt can make, too: with all that it can do besides, compiled in each file that asks it to.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

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

/// "2026-11-29T05:44:00Z".
std::string utc_text(std::chrono::system_clock::time_point time);

}  // namespace crosslink::node
