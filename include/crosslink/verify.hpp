// What a comparison of a mirror with its source found. How it is done: docs/protocol.md, "Verify".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/types.hpp"

namespace crosslink {

enum class DifferenceKind : std::uint8_t {
  missing,  ///< at the source only
  extra,    ///< at the mirror only
  value,    ///< at both, with other values
};
std::string_view to_string(DifferenceKind kind);

struct KeyDifference {
  std::string key;  ///< any bytes: escape before printing
  DifferenceKind kind = DifferenceKind::missing;
  friend bool operator==(const KeyDifference&, const KeyDifference&) = default;
};
/// Most differences that are named; the others are counted.
inline constexpr std::size_t named_differences_max = 100;

struct VerifyResult {
  enum class Outcome : std::uint8_t {
    equal,
    different,
    unknown,  ///< could not tell; `reason` says why
  };
  Outcome outcome = Outcome::unknown;
  std::string reason;  ///< why it ended before everything was compared; empty: it did not
  Lsn lsn;             ///< where both sides were compared; 0 when it never came to that
  std::uint64_t keys_compared = 0, difference_count = 0;
  /// false: there are difference_count differences or more. Beyond the named ones they are counted by at most 20,000
  /// questions, and keys that begin with the same 2,048 bytes, or are longer than 32 KiB, cannot be told apart.
  bool all_counted = true;
  std::vector<KeyDifference> differences;
};
std::string_view to_string(VerifyResult::Outcome outcome);

}  // namespace crosslink
