#include "session/mirror/flow_control.hpp"

#include <fmt/format.h>

namespace crosslink::core::mirror {
namespace {

/// What may pass the cap: it is tested between frames, on two streams.
constexpr std::uint64_t over_cap_bytes_max = 2 * 1024 * 1024;
/// What a batch or a chunk takes in memory beside its bytes, about.
constexpr std::uint64_t item_bytes = 512;

}  // namespace

Result<void> FlowControl::take_in(std::uint64_t units) {
  const auto cap = account_.cap();
  if (held_units_ >= cap + over_cap_bytes_max) {
    return MirrorError(ErrorKind::BytesInFlightCapExceeded, CausedBy::peer,
                       fmt::format("the source sends although {} bytes are held, and the cap is {}", held_units_, cap),
                       CapExceeded{{}, held_units_, cap});
  }
  received_bytes_ += units;
  held_units_ += units;
  return {};
}

void FlowControl::advance(const Held& held, bool link_up) {
  held_units_ = held.units;
  account_.set(held.bytes() + held.items * item_bytes);
  if (reading_ && link_up && !account_.can_send()) {
    reading_ = false;
    out_->push(mirror_action::ReadBulk{false});
  } else if (!reading_ && account_.can_resume()) {
    reading_ = true;
    out_->push(mirror_action::ReadBulk{true});
  }
}

}  // namespace crosslink::core::mirror
