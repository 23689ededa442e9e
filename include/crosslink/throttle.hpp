// SendThrottle: how many bytes one mirror's link holds in flight, shared by the link, the snapshot and the log sender.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "crosslink/awaitable.hpp"
#include "crosslink/bytes_in_flight.hpp"

namespace crosslink {

/// Copies share one counter. Every member may be called from any thread at any time.
///
///   auto may_send = co_await throttle.wait_for_resume();  // between frames only
///   if (!may_send) co_return may_send;
///   auto ticket = throttle.charge(frame.size());  // before the write
///   auto written = co_await stream.write(quic::SendBuffer(std::move(frame)));
///   // when the receiver says that it no longer holds it:
///   throttle.ack(ticket);
///
/// The unit is bytes the receiver holds: the larger of compressed and raw. The cap is tested between frames, so one
/// frame larger than the whole cap still goes (when nothing else is in flight), and the counter may stand above the cap
/// by at most one frame per sender.
class SendThrottle {
 public:
  /// `cap_bytes`: worst-case memory that the receiver holds for this link, and one frame of each sender. Raise it where
  /// a long, fast line is not filled: it should be at least the line's rate times its round trip, and the time the
  /// receiver takes to apply.
  explicit SendThrottle(std::uint64_t cap_bytes = throttle_cap_bytes_default);

  using Ticket = ThrottleTicket;

  /// Counts bytes that are about to be sent; never waits and never refuses.
  [[nodiscard]] Ticket charge(std::uint64_t bytes);
  /// Lets go of what the ticket charged. A ticket from before a reset changes nothing. Acking one twice is the caller's
  /// bug and is held at 0, never below.
  void ack(const Ticket& ticket);
  /// Lets go of bytes charged in the current stretch, for a caller without the ticket; held at 0, never below.
  void ack(std::uint64_t bytes);
  /// in_flight() < cap()
  bool can_send() const;
  /// in_flight() <= throttle_resume_percent of cap()
  bool can_resume() const;
  /// Forgets all bytes in flight and starts a new stretch; wakes every waiter.
  void reset();
  std::uint64_t in_flight() const;
  /// As it was made with; of a link on which a Mirror's session runs, what both ends agreed on, until reset().
  std::uint64_t cap() const;

  /// Returns at once while can_send(); once the cap was reached, waits until can_resume(). Any number of senders may
  /// wait. Errors: Cancelled. Cancelled: nothing was charged, nothing is lost.
  Task<void> wait_for_resume();

  /// For the implementation.
  struct State;
  const std::shared_ptr<State>& state() const { return state_; }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace crosslink
