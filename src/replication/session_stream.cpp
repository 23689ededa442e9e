#include "replication/session_stream.hpp"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "crosslink/backoff.hpp"

namespace crosslink::replication {

std::optional<MirrorError> SessionStream::check_session_header(FrameHeader header) {
  const auto bytes_max = core::payload_bytes_max(header.kind);
  if (header.payload_bytes <= bytes_max) return std::nullopt;
  return MirrorError::protocol_violation(fmt::format("a {} frame announces {} bytes, more than {}",
                                                     core::kind_name(header.kind), header.payload_bytes, bytes_max));
}

void SessionStream::send(Outgoing frame) {
  outgoing_.push_back(std::move(frame));
  more_.notify();
}

void SessionStream::finish() {
  finished_ = true;
  more_.notify();
}

void SessionStream::drop() {
  dropped_ = true;
  if (stream_) stream_->recv.stop(normal_close_code);
  finish();
}

awaitable<void> SessionStream::write_all(std::function<void()> on_written) {
  if (dropped_) stream_->recv.stop(normal_close_code);
  async::Signal::Heard heard = 0;
  for (;;) {
    while (!outgoing_.empty()) {
      auto frame = std::move(outgoing_.front());
      outgoing_.pop_front();
      const auto written = co_await stream_->send.write(std::move(frame.buffers));
      if (!written) co_return;  // the reader, or the connection's end, says why
      if (frame.bulk && on_written) on_written();
    }
    if (finished_) break;
    const bool woken = co_await more_.wait(heard);
    if (!woken) co_return;
  }
  stream_->send.finish();
  ended_ = true;
}

awaitable<void> SessionStream::wait_taken() {
  if (!ended_) co_return;
  static_cast<void>(co_await stream_->send.wait_acknowledged());  // who is gone takes nothing
}

Task<Frame> SessionStream::read() { return reader_.read(stream_->recv); }

}  // namespace crosslink::replication
