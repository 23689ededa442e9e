// What the small machines of a mirror share: the way out to the driver, and waiting after a failure.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "core/mirror/actions.hpp"

namespace crosslink::core::mirror {

/// Actions in the order in which the driver is to carry them out.
class Outbox {
 public:
  void push(MirrorAction action) { actions_.push_back(std::move(action)); }
  void send(StreamToken stream, const SessionMessage& message) {
    const bool opens_bulk =
        std::holds_alternative<LogRequest>(message) || std::holds_alternative<SnapshotRequest>(message);
    push(mirror_action::Send{stream, encode_message(message), opens_bulk});
  }
  void wake(Instant at) { push(mirror_action::Wake{at}); }
  std::vector<MirrorAction> take() { return std::exchange(actions_, {}); }

 private:
  std::vector<MirrorAction> actions_;
};

/// When to try again what failed: `base` after the first failure, twice as long after each further one, `cap` at most.
class Retry {
 public:
  Retry(Duration base, Duration cap) : base_(base), cap_(cap) {}

  bool due(Instant now) const { return !at_ || now >= *at_; }
  /// Precondition: not due.
  Instant at() const { return *at_; }
  void back_off(Instant now, Outbox& out);
  /// After a failure that waiting mends seldom: `cap` from the first one on.
  void back_off_long(Instant now, Outbox& out);
  /// It is tried now: due until the next failure.
  void taken() { at_.reset(); }
  void clear();

 private:
  Duration base_, cap_, delay_{0};
  std::optional<Instant> at_;
};

}  // namespace crosslink::core::mirror
