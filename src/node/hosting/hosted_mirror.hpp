// A database of this node that follows a source: its Mirror, and what an operator wants to know of it.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "crosslink/mirror.hpp"
#include "node/hosting/mirror_spec.hpp"
#include "replication/session_clock.hpp"

namespace crosslink::node {

struct LastVerify {
  VerifyResult result;
  std::chrono::system_clock::time_point at;
  core::Instant ended;  ///< the same by replication::session_now(), which no operator can set
};

/// Thread safe.
class HostedMirror {
 public:
  HostedMirror(const std::string& name, MirrorSpec spec, std::unique_ptr<Mirror> mirror);

  Mirror& mirror() { return *mirror_; }
  const Mirror& mirror() const { return *mirror_; }
  MirrorSpec spec() const;
  void set_spec(MirrorSpec spec);

  /// Looks at it, as often as the caller likes: notes the rate, and logs when the status is another than at the last
  /// look.
  void look();
  /// Bytes per second that came in over the last seconds; absent: not looked at for long enough.
  std::optional<std::uint64_t> rate_bytes_per_s() const;
  std::chrono::milliseconds status_age() const;
  /// It is paused, or has been without its source for a while: another node that can may follow in its place.
  bool gives_way() const;

  void note_verify(VerifyResult result);
  std::optional<LastVerify> last_verify() const;

  /// A connection of a client accepts no more lag than this; the smallest one makes the probes.
  void add_max_lag(std::chrono::milliseconds max_lag);
  void remove_max_lag(std::chrono::milliseconds max_lag);

 private:
  struct Sample {
    std::chrono::steady_clock::time_point at;
    std::uint64_t received_bytes;
  };
  const std::string name_;
  const std::unique_ptr<Mirror> mirror_;
  mutable std::mutex mutex_;
  MirrorSpec spec_;
  std::deque<Sample> samples_;
  std::optional<StatusKind> seen_;
  std::optional<std::string> seen_error_;
  std::chrono::steady_clock::time_point status_since_ = std::chrono::steady_clock::now();
  std::optional<LastVerify> last_verify_;
  std::multiset<std::chrono::milliseconds> max_lags_;
};

}  // namespace crosslink::node
