// Takes one frame off a stream, in as many pieces as it comes.
#pragma once

#include <array>
#include <optional>

#include "crosslink/awaitable.hpp"
#include "crosslink/frame.hpp"
#include "crosslink/quic/stream.hpp"

namespace crosslink::link {

/// Keeps what it has when read() is cancelled, and goes on from there at the next call.
class FrameReader {
 public:
  /// Judges a header before its payload is taken in; nullopt lets it pass.
  using HeaderCheck = std::optional<MirrorError> (*)(FrameHeader header);
  FrameReader(std::size_t payload_bytes_max, HeaderCheck check) : check_(check), assembler_(payload_bytes_max) {}

  /// The next frame; bytes after it stay in the stream. Errors: those of RecvStream::read, what the check says,
  /// ProtocolViolation for a payload over the limit, Transport/stream_ended_early when the stream ends before the frame
  /// does.
  Task<Frame> read(quic::RecvStream& stream);

 private:
  struct Step {
    std::size_t consumed_bytes = 0;
    std::optional<Frame> frame;
  };
  Result<Step> take(std::span<const std::byte> bytes);

  HeaderCheck check_;
  FrameAssembler assembler_;
  std::array<std::byte, frame_header_bytes> header_{};
  std::size_t header_filled_ = 0;
};

}  // namespace crosslink::link
