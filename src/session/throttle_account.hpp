// The rule of bytes in flight: a cap, and a quarter of it free again before more is sent. The one account behind
// SendThrottle (crosslink/throttle.hpp), a source's send window and a mirror's flow control.
#pragma once

#include <cstdint>

#include "crosslink/bytes_in_flight.hpp"

namespace crosslink::core {

/// The account that a mirror's machine keeps what it holds in: in the product that of its link's SendThrottle, which
/// other threads read and wait for.
class Throttle {
 public:
  using Ticket = ThrottleTicket;
  virtual ~Throttle() = default;
  Throttle(const Throttle&) = default;
  Throttle& operator=(const Throttle&) = default;

  /// A session begins: this cap holds, which both its ends agreed on, until reset().
  virtual void agree(std::uint64_t cap_bytes) = 0;
  /// So much is held now in place of what `held` charged, if that was in this stretch.
  [[nodiscard]] virtual Ticket hold(const Ticket& held, std::uint64_t bytes) = 0;
  /// Asked between frames: false from the cap on, until can_resume().
  virtual bool may_go_on() = 0;

 protected:
  Throttle() = default;
};

/// For one thread. Semantics of each member: crosslink/throttle.hpp.
class ThrottleAccount final : public Throttle {
 public:
  explicit ThrottleAccount(std::uint64_t cap_bytes) : own_cap_bytes_(cap_bytes), cap_bytes_(cap_bytes) {}

  Ticket charge(std::uint64_t bytes);
  void ack(const Ticket& ticket);
  void ack(std::uint64_t bytes);
  void reset();
  bool can_send() const { return in_flight_bytes_ < cap_bytes_; }
  bool can_resume() const;
  std::uint64_t in_flight() const { return in_flight_bytes_; }
  std::uint64_t cap() const { return cap_bytes_; }

  void agree(std::uint64_t cap_bytes) override { cap_bytes_ = cap_bytes; }
  [[nodiscard]] Ticket hold(const Ticket& held, std::uint64_t bytes) override;
  bool may_go_on() override;

 private:
  std::uint64_t own_cap_bytes_, cap_bytes_;
  std::uint64_t in_flight_bytes_ = 0;
  std::uint64_t stretch_ = 0;
  bool held_back_ = false;
};

}  // namespace crosslink::core
