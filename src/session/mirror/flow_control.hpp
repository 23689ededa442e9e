// What a mirror holds of what its source sends, against the cap: whether more is read, and when the source breaks it.
#pragma once

#include <cstdint>

#include "session/mirror/outbox.hpp"
#include "session/throttle_account.hpp"

namespace crosslink::core::mirror {

/// Received, neither applied nor stored yet.
struct Held {
  std::uint64_t units = 0;           ///< as the source counts: the larger of compressed and raw
  std::uint64_t fragment_bytes = 0;  ///< whole entries that came in fragments, whose units are released already
  std::uint64_t items = 0;           ///< batches and chunks: many small ones take memory beside their bytes

  friend Held operator+(Held a, const Held& b) {
    return {a.units + b.units, a.fragment_bytes + b.fragment_bytes, a.items + b.items};
  }
  std::uint64_t bytes() const { return units + fragment_bytes; }
};

class FlowControl {
 public:
  /// Both must outlive this.
  FlowControl(Outbox& out, Throttle& throttle) : out_(&out), throttle_(&throttle) {}

  /// A session begins. `cap_bytes`: the smaller one of both sides'.
  void on_session_begin(std::uint64_t cap_bytes) {
    cap_bytes_ = cap_bytes;
    throttle_->agree(cap_bytes);
  }
  /// What comes next is read from a new link.
  void on_session_end() { reading_ = true; }
  /// As many units came. Errors (peer): BytesInFlightCapExceeded.
  Result<void> take_in(std::uint64_t units);
  /// Came and was stored at once: it is not held.
  void pass(std::uint64_t bytes) { received_bytes_ += bytes; }
  /// Tells the driver when it is to stop reading bulk frames, at the cap, and to go on, at three quarters of it.
  void advance(const Held& held, bool link_up);

  /// Since the machine was made.
  std::uint64_t received_bytes() const { return received_bytes_; }

 private:
  Outbox* out_;
  Throttle* throttle_;
  Throttle::Ticket ticket_;  ///< of what is held
  std::uint64_t cap_bytes_ = 0;
  bool reading_ = true;
  std::uint64_t held_units_ = 0;
  std::uint64_t received_bytes_ = 0;
};

}  // namespace crosslink::core::mirror
