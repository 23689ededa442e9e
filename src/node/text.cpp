#include "node/text.hpp"

#include <algorithm>
#include <array>
#include <ctime>

#include "crosslink/types.hpp"

namespace crosslink::node {

std::optional<std::string> twice_in(const std::vector<std::string>& texts, Case letters) {
  for (auto one = texts.begin(); one != texts.end(); ++one) {
    const auto same = [&](const std::string& before) {
      return letters == Case::counts ? before == *one : equal_ignoring_case(before, *one);
    };
    if (std::any_of(texts.begin(), one, same)) return *one;
  }
  return std::nullopt;
}

std::string utc_text(std::chrono::system_clock::time_point time) {
  const auto seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  static_cast<void>(::gmtime_r(&seconds, &parts));
  std::array<char, 64> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

}  // namespace crosslink::node
