// One stream of a session: frames out of a queue, frames in. Used on one strand.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "async/signal.hpp"
#include "crosslink/frame.hpp"
#include "crosslink/quic/stream.hpp"
#include "link/frame_reader.hpp"
#include "session/source/source_session.hpp"

namespace crosslink::replication {

class SessionStream {
 public:
  explicit SessionStream(core::StreamToken token) : token_(token) {}
  SessionStream(core::StreamToken token, quic::BidiStream stream) : token_(token), stream_(std::move(stream)) {}

  core::StreamToken token() const { return token_; }
  bool is_open() const { return stream_.has_value(); }
  void open(quic::BidiStream stream) { stream_.emplace(std::move(stream)); }
  quic::BidiStream& stream() { return *stream_; }

  struct Outgoing {
    std::vector<quic::SendBuffer> buffers;
    bool bulk = false;
  };
  void send(Outgoing frame);
  /// Nothing follows what was sent.
  void finish();
  /// finish(), and nothing more is read.
  void drop();
  bool dropped() const { return dropped_; }

  /// Writes what is sent until finish() or an error; `on_written` after each bulk frame that the transport has taken.
  awaitable<void> write_all(std::function<void()> on_written);
  /// After write_all(): until the peer's transport has everything and the end, if all was written.
  awaitable<void> wait_taken();
  /// The next frame. Errors: as FrameReader::read.
  Task<Frame> read();

 private:
  const core::StreamToken token_;
  std::optional<quic::BidiStream> stream_;
  std::deque<Outgoing> outgoing_;
  async::Signal more_;
  bool finished_ = false, dropped_ = false, ended_ = false;
  link::FrameReader reader_{core::bulk_payload_bytes_max, &check_session_header};
  static std::optional<MirrorError> check_session_header(FrameHeader header);
};

}  // namespace crosslink::replication
