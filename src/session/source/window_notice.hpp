// What a source tells a mirror that is behind: how long until the log it needs next is dropped.
#pragma once

#include <functional>
#include <optional>

#include "crosslink/engine.hpp"
#include "session/source/outbox.hpp"

namespace crosslink::core::source {

class WindowNotice {
 public:
  using WindowLeftOf = std::function<std::optional<WindowLeft>(Lsn after)>;
  /// `out` must outlive this. `window_left`: SourceEngine::window_left; empty: nothing is said.
  WindowNotice(Outbox& out, WindowLeftOf window_left, Duration every)
      : out_(&out), window_left_(std::move(window_left)), every_(every) {}

  /// `feeding`: the mirror has asked for log or snapshot. `needed`: what it needs next, asked when a notice is due;
  /// absent: it is not behind.
  void advance(bool feeding, const std::function<std::optional<Lsn>()>& needed, StreamToken control, Instant now);
  /// When advance() is due.
  const std::optional<Instant>& due_at() const { return due_at_; }

 private:
  struct Sample {
    Instant at;
    std::uint64_t bytes = 0;
  };
  Outbox* out_;
  WindowLeftOf window_left_;
  Duration every_;
  std::optional<Sample> last_;
  std::optional<Instant> due_at_;
};

}  // namespace crosslink::core::source
