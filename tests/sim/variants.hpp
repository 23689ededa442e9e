// The deliberate mistakes of src/session/mistakes.hpp that the simulator must catch.
#pragma once

#include <span>
#include <string_view>

#include "session/mistakes.hpp"

namespace crosslink::sim {

struct Variant {
  core::Mistake mistake;
  std::string_view name, what;
  std::string_view caught_by;  ///< what the violation says: being caught for another reason proves nothing
  /// What else comes of the same mistake, and may come first: such a seed proves nothing either, and the next are looked
  /// at. Empty: nothing.
  std::string_view shows_as_well = {};
};
std::span<const Variant> variants();
/// The one in force for this thread; empty: none.
void set_variant(std::string_view name);

}  // namespace crosslink::sim
