// The arithmetic of SendThrottle (crosslink/throttle.hpp), for one thread.
#pragma once

#include <cstdint>

namespace crosslink::core {

/// Semantics of each member: crosslink/throttle.hpp. `can_send` is what is tested between frames: once the cap was
/// reached, sending goes on only at or below the resume mark.
class ThrottleAccount {
 public:
  struct Ticket {
    std::uint64_t bytes = 0;
    std::uint64_t stretch = 0;
  };
  explicit ThrottleAccount(std::uint64_t cap_bytes) : cap_bytes_(cap_bytes) {}

  Ticket charge(std::uint64_t bytes);
  /// For a side that counts what it holds itself: this much is in flight now.
  void set(std::uint64_t bytes) { in_flight_bytes_ = bytes; }
  void ack(const Ticket& ticket);
  void ack(std::uint64_t bytes);
  void reset();
  bool can_send() const { return in_flight_bytes_ < cap_bytes_; }
  bool can_resume() const;
  std::uint64_t in_flight() const { return in_flight_bytes_; }
  std::uint64_t cap() const { return cap_bytes_; }

 private:
  std::uint64_t cap_bytes_;
  std::uint64_t in_flight_bytes_ = 0;
  std::uint64_t stretch_ = 0;
};

}  // namespace crosslink::core
