#include "session/throttle_account.hpp"

#include <algorithm>
#include <limits>

namespace crosslink::core {

ThrottleAccount::Ticket ThrottleAccount::charge(std::uint64_t bytes) {
  const auto room = std::numeric_limits<std::uint64_t>::max() - in_flight_bytes_;
  in_flight_bytes_ += std::min(bytes, room);
  return {bytes, stretch_};
}

void ThrottleAccount::ack(const Ticket& ticket) {
  if (ticket.stretch == stretch_) ack(ticket.bytes);
}

void ThrottleAccount::ack(std::uint64_t bytes) { in_flight_bytes_ -= std::min(bytes, in_flight_bytes_); }

void ThrottleAccount::reset() {
  cap_bytes_ = own_cap_bytes_;
  in_flight_bytes_ = 0;
  held_back_ = false;
  ++stretch_;
}

ThrottleAccount::Ticket ThrottleAccount::hold(const Ticket& held, std::uint64_t bytes) {
  ack(held);
  return charge(bytes);
}

bool ThrottleAccount::may_go_on() {
  held_back_ = held_back_ ? !can_resume() : !can_send();
  return !held_back_;
}

bool ThrottleAccount::can_resume() const {
  // Split so that no cap overflows.
  const auto mark = cap_bytes_ / 100 * throttle_resume_percent + cap_bytes_ % 100 * throttle_resume_percent / 100;
  return in_flight_bytes_ <= mark;
}

}  // namespace crosslink::core
