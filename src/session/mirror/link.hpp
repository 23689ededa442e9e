// The state of a mirror's link to its source.
//
//   down -> dialing -> beginning -> up -> closing -> down
//                 \-> down      \-> closing
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "crosslink/error.hpp"
#include "session/mirror/outbox.hpp"

namespace crosslink::core::mirror {

class Link {
 public:
  enum class State : std::uint8_t { down, dialing, beginning, up, closing };

  /// `out` must outlive this. `retry`: after what a hard rejection says; other failures wait in CrossClusterLink.
  Link(Outbox& out, Duration begin_deadline, Retry retry)
      : out_(&out), begin_deadline_(begin_deadline), retry_(retry) {}

  void on_connected(Instant now);
  void on_dial_failed(const MirrorError& error, Instant now);
  /// False: it was down already.
  bool on_disconnected(const MirrorError& error);
  /// The source's SessionBegin has come.
  void on_begun();
  /// Of the link or of a stream: what status shows as the last error. `error` becomes the reason as well if
  /// `is_reason`.
  void note(const MirrorError& error, bool is_reason = false);
  /// The source refuses for good: the next dial waits long.
  void refused(Instant now) { retry_.back_off_long(now, *out_); }
  void close(std::string reason = {});
  /// `wanted`: a link is to stand. `settled`: nothing of the last session is under way.
  void advance(bool wanted, bool settled, Lsn applied, Instant now);
  void retry_at_once() { retry_.clear(); }

  bool up() const { return state_ == State::up; }
  bool down() const { return state_ == State::down; }
  bool beginning() const { return state_ == State::beginning; }
  /// Frames may come and go.
  bool open() const { return up() || beginning(); }
  const std::string& reason() const { return reason_; }
  const std::optional<MirrorError>& last_error() const { return last_error_; }

 private:
  Outbox* out_;
  Duration begin_deadline_;
  Retry retry_;
  State state_ = State::down;
  bool dialed_before_ = false;
  Instant begin_by_{0};
  std::string reason_ = "it has not dialed yet";
  std::optional<MirrorError> last_error_;
};

}  // namespace crosslink::core::mirror
