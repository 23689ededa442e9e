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
  if (held_units_ >= cap_bytes_ + over_cap_bytes_max) {
    return MirrorError(
        ErrorKind::BytesInFlightCapExceeded, CausedBy::peer,
        fmt::format("the source sends although {} bytes are held, and the cap is {}", held_units_, cap_bytes_),
        CapExceeded{{}, held_units_, cap_bytes_});
  }
  received_bytes_ += units;
  held_units_ += units;
  return {};
}

void FlowControl::advance(const Held& held, bool link_up) {
  held_units_ = held.units;
  ticket_ = throttle_->hold(ticket_, held.bytes() + held.items * item_bytes);
  if (!link_up || throttle_->may_go_on() == reading_) return;
  reading_ = !reading_;
  out_->push(mirror_action::ReadBulk{reading_});
}

}  // namespace crosslink::core::mirror
