// One connection of a session's, and the streams on it. Used on one strand.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "async/signal.hpp"
#include "crosslink/quic/connection.hpp"
#include "replication/session_stream.hpp"
#include "session/lag_tracker.hpp"
#include "session/session_tokens.hpp"

namespace crosslink::replication {

class SessionStreams {
 public:
  using StreamPointer = std::shared_ptr<SessionStream>;
  explicit SessionStreams(quic::Connection connection) : connection_(std::move(connection)) {}

  quic::Connection& connection() { return connection_; }

  /// `bulk`: it is read only while allow_bulk() says so.
  void add(StreamPointer stream, bool bulk = false);
  /// Null: it was dropped, has ended, or never was.
  StreamPointer find(core::StreamToken token) const;
  void drop(core::StreamToken token);
  void drop_all();
  /// The peer has ended it.
  void ended(const StreamPointer& stream);

  /// May bulk streams be read?
  void allow_bulk(bool allowed);
  /// Until this stream's next frame may be read. False when cancelled.
  awaitable<bool> may_read(StreamPointer stream, async::Signal::Heard& heard);
  /// Its reading has ended.
  void forget_reader(core::StreamToken token);

  /// Absent: it was asked for a moment ago.
  std::optional<std::chrono::microseconds> round_trip(core::Instant now);

 private:
  quic::Connection connection_;
  std::map<core::StreamToken, StreamPointer> streams_;
  bool bulk_allowed_ = true;
  std::map<core::StreamToken, std::shared_ptr<async::Signal>> readers_;  ///< of bulk; woken when it is allowed again
  std::optional<core::Instant> round_trip_read_at_;
};

}  // namespace crosslink::replication
