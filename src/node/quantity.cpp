#include "node/quantity.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <span>

namespace crosslink::node {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

/// The number times its unit's factor; absent: no such text, or more than `max`.
std::optional<std::uint64_t> parse(std::string_view text, std::span<const Unit> units, std::uint64_t max) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const auto& one : units) {
    if (one.name != unit) continue;
    if (number > max / one.factor) return std::nullopt;
    return number * one.factor;
  }
  return std::nullopt;
}

}  // namespace

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  constexpr std::uint64_t second = 1000, day = 24 * 3600 * second;
  static constexpr std::array<Unit, 5> units{
      {{"ms", 1}, {"s", second}, {"m", 60 * second}, {"h", 3600 * second}, {"d", day}}};
  const auto number = parse(text, units, 3653 * day);
  if (!number)
    return MirrorError::configuration(fmt::format("'{}' is not a duration such as 500ms, 5s, 10m, 24h or 7d", text));
  return std::chrono::milliseconds(*number);
}

Result<std::uint64_t> parse_size(std::string_view text) {
  constexpr std::uint64_t kib = 1024;
  static constexpr std::array<Unit, 6> units{
      {{"", 1}, {"B", 1}, {"KiB", kib}, {"MiB", kib * kib}, {"GiB", kib * kib * kib}, {"TiB", kib * kib * kib * kib}}};
  const auto number = parse(text, units, std::numeric_limits<std::int64_t>::max());
  if (!number) return MirrorError::configuration(fmt::format("'{}' is not a size such as 64MiB, 1GiB or 4096", text));
  return *number;
}

}  // namespace crosslink::node
