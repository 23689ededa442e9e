// Frames: `[u8 kind][u32 big-endian payload length][payload]`, the unit of every crosslink stream.
//
// Both ends must agree on the layout and on the numbers here; those of the handshake are shared with another
// implementation and never change. Each is listed, with who is held to it, in docs/protocol.md, "Frames" and "Bounds".
// Everything in this header is plain computation: no I/O, and from any thread but for FrameAssembler.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink {

inline constexpr std::size_t frame_header_bytes = 5;
/// Largest payload of the two handshake frames; a peer that announces more is refused (HandshakeCodec) before it is
/// read.
inline constexpr std::size_t handshake_payload_bytes_max = 4096;
/// Largest payload of a control or request frame after the handshake; more is a ProtocolViolation. It is the worst-case
/// memory that a peer can make us hold for each stream of control.
inline constexpr std::size_t control_payload_bytes_max = 64 * 1024;
/// Most data bytes in one frame of log or snapshot. Large enough that frames cost next to nothing, small enough that
/// control frames wait for a few milliseconds at most; it is also what one bulk stream may hold beyond the throttle.
inline constexpr std::size_t bulk_data_bytes_max = 1024 * 1024;

/// The kinds that a user of the link alone meets. Those of sessions are in docs/protocol.md, "Frames".
namespace frame_kind {
inline constexpr std::uint8_t mirror_hello = 0x01;
inline constexpr std::uint8_t mirror_hello_ack = 0x02;
inline constexpr std::uint8_t bench = 0x60;  ///< `crosslink-bench` only
inline constexpr std::uint8_t failure = 0x7f;
}  // namespace frame_kind

/// 0x30-0x3f: vote, membership and proposal frames. A mirror is an observer: a source always refuses them with wire
/// code 0x02 (ObserverRoleViolation, the peer).
constexpr bool is_voter_class(std::uint8_t kind) { return kind >= 0x30 && kind <= 0x3f; }
/// 0x80-0xbf: a receiver that does not know such a kind skips the frame. Any other unknown kind is answered with a
/// Failure.
constexpr bool is_skippable(std::uint8_t kind) { return kind >= 0x80 && kind <= 0xbf; }

struct FrameHeader {
  std::uint8_t kind = 0;
  std::uint32_t payload_bytes = 0;
};

struct Frame {
  std::uint8_t kind = 0;
  std::vector<std::byte> payload;
};

/// Any kind and any length; the caller knows what its peer allows.
std::array<std::byte, frame_header_bytes> encode_frame_header(FrameHeader header);
FrameHeader decode_frame_header(std::span<const std::byte, frame_header_bytes> bytes);
/// Header and payload in one buffer. Precondition (ours): payload is at most 2^32 - 1 bytes.
std::vector<std::byte> encode_frame(std::uint8_t kind, std::span<const std::byte> payload);

/// Puts frames together, one after the other, from pieces of any size. Takes memory only as bytes arrive, and never
/// more than frame_header_bytes + payload_bytes_max; for a moment half as much again while it grows. Not thread safe.
class FrameAssembler {
 public:
  /// `payload_bytes_max`: the largest payload that this stream's peer may announce.
  explicit FrameAssembler(std::size_t payload_bytes_max) : payload_bytes_max_(payload_bytes_max) {}

  struct Progress {
    std::size_t consumed_bytes = 0;  ///< how much of `bytes` belongs to this frame; the rest is the next one's
    std::optional<Frame> frame;      ///< present once the frame is complete; the assembler is then ready for the next
  };
  /// Takes bytes until one frame is complete; call again with the rest. Errors (peer): ProtocolViolation when the
  /// header announces more than payload_bytes_max; nothing is kept then.
  Result<Progress> feed(std::span<const std::byte> bytes);
  /// The header, as soon as its five bytes are there: lets a kind be judged before its payload arrives.
  std::optional<FrameHeader> header() const;
  /// True when some but not all bytes of a frame have been fed: an end of stream here is an error.
  bool in_the_middle() const { return header_filled_ > 0; }

 private:
  std::size_t payload_bytes_max_;
  std::array<std::byte, frame_header_bytes> header_bytes_{};
  std::size_t header_filled_ = 0;
  std::vector<std::byte> payload_;
};

/// 0x7f Failure: {kind, detail}, a MessagePack map. `detail` is escaped and cut to 512 bytes on encoding.
struct Failure {
  std::string kind;  ///< an ErrorKind's name
  std::string detail;
};
std::vector<std::byte> encode_failure(const Failure& failure);  ///< the whole frame
/// Unknown fields are skipped. The texts are the peer's: escape them before printing. Errors (peer): ProtocolViolation
/// when the payload is no such map.
Result<Failure> decode_failure(std::span<const std::byte> payload);

}  // namespace crosslink
