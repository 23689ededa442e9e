#include "session/mirror/outbox.hpp"

#include <algorithm>

namespace crosslink::core::mirror {

bool Retry::due(Instant now, Outbox& out) const {
  if (!at_ || now >= *at_) return true;
  out.wake(*at_);
  return false;
}

void Retry::back_off(Instant now, Outbox& out) {
  delay_ = delay_ == Duration(0) ? base_ : std::min(2 * delay_, cap_);
  at_ = now + delay_;
  out.wake(*at_);
}

void Retry::back_off_long(Instant now, Outbox& out) {
  delay_ = cap_;
  back_off(now, out);
}

void Retry::clear() {
  delay_ = Duration(0);
  at_.reset();
}

}  // namespace crosslink::core::mirror
