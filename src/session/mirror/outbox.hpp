// What the small machines of a mirror share: the way out to the driver, and waiting after a failure.
#pragma once

#include <optional>

#include "session/action_queue.hpp"
#include "session/mirror/actions.hpp"

namespace crosslink::core::mirror {

class Outbox : public ActionQueue<MirrorAction, mirror_action::Wake> {
 public:
  void send(StreamToken stream, const SessionMessage& message) {
    const bool opens_bulk =
        std::holds_alternative<LogRequest>(message) || std::holds_alternative<SnapshotRequest>(message);
    push(mirror_action::Send{stream, encode_message(message), opens_bulk});
  }
};

/// When to try again what failed: `base` after the first failure, twice as long after each further one, `cap` at most.
class Retry {
 public:
  Retry(Duration base, Duration cap) : base_(base), cap_(cap) {}

  /// It may be tried now; if not, the driver is asked to wake when it may.
  bool due(Instant now, Outbox& out) const;
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
