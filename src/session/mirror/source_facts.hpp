// What a mirror's source said of itself, checked: in this session, or in the last.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "session/mirror_status.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::core::mirror {

class SourceFacts {
 public:
  /// `self`: the mirror's own "cluster/database". Errors (peer): ProtocolViolation when it lacks what it must say;
  /// UnsupportedOperation when the source follows `self`, or the chain is too long: an operator has to break the loop.
  Result<void> on_begin(const SessionBegin& begin, const std::string& self, std::uint64_t in_flight_bytes_max);
  void on_reply(const ProbeReply& reply);
  /// Each Notice speaks of what it names only.
  void on_notice(const Notice& notice);
  /// An entry of this LSN came.
  void on_entry(Lsn lsn) { head_ = std::max(head_.value_or(lsn), lsn); }
  void on_snapshot_begin() { notice_.snapshot_queue.reset(); }
  /// The mirror has all of the log: the window does not matter.
  void on_caught_up() { notice_.window_left_bytes = notice_.window_left_ms = std::nullopt; }
  void on_session_end() { notice_ = {}; }

  bool can_verify() const { return (features_ & feature_verify) != 0; }
  bool can_limit() const { return (features_ & feature_limit) != 0; }
  /// Most that may be held of what it sends.
  std::uint64_t cap_bytes() const { return cap_bytes_; }
  /// Absent before the first session.
  const std::optional<SessionBegin::Source>& source() const { return source_; }
  const std::optional<Lsn>& head() const { return head_; }
  /// It waits for this mirror.
  bool sync_named() const { return sync_named_; }
  const std::optional<SyncPromise>& sync_promise() const { return sync_promise_; }
  const std::optional<UpstreamAge>& upstream() const { return upstream_; }
  const Notice& notice() const { return notice_; }

 private:
  std::uint64_t features_ = 0, cap_bytes_ = 0;
  std::optional<SessionBegin::Source> source_;
  bool sync_named_ = false;
  std::optional<SyncPromise> sync_promise_;
  std::optional<Lsn> head_;
  std::optional<UpstreamAge> upstream_;
  Notice notice_;
};

}  // namespace crosslink::core::mirror
