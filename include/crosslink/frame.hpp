// Frames: `[u8 kind][u32 big-endian payload length][payload]`, the unit of every crosslink stream.
// Source of the layout and of every number here: design sections 4 and 5 (the handshake part is contract);
// docs/protocol.md.
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
/// Largest payload of the two handshake frames. Contract.
inline constexpr std::size_t handshake_payload_bytes_max = 4096;
/// Largest payload of a control or request frame after the handshake. Worst-case memory a peer can make us hold per
/// stream.
inline constexpr std::size_t control_payload_bytes_max = 64 * 1024;
/// Most data bytes in one bulk frame. Design section 5.
inline constexpr std::size_t bulk_data_bytes_max = 1024 * 1024;

/// Kinds in use up to now. Others exist in docs/protocol.md and come with what uses them.
namespace frame_kind {
inline constexpr std::uint8_t mirror_hello = 0x01;
inline constexpr std::uint8_t mirror_hello_ack = 0x02;
inline constexpr std::uint8_t bench = 0x60;  ///< `crosslink-bench` only
inline constexpr std::uint8_t failure = 0x7f;
}  // namespace frame_kind

/// 0x30-0x3f: vote, membership and proposal frames. A link is an observer: they are always refused with wire code 0x02.
constexpr bool is_voter_class(std::uint8_t kind) { return kind >= 0x30 && kind <= 0x3f; }
/// 0x80-0xbf: a receiver that does not know such a kind skips the frame. Any other unknown kind is a Failure.
constexpr bool is_skippable(std::uint8_t kind) { return kind >= 0x80 && kind <= 0xbf; }

struct FrameHeader {
  std::uint8_t kind = 0;
  std::uint32_t payload_bytes = 0;
};

struct Frame {
  std::uint8_t kind = 0;
  std::vector<std::byte> payload;
};

std::array<std::byte, frame_header_bytes> encode_frame_header(FrameHeader header);
FrameHeader decode_frame_header(std::span<const std::byte, frame_header_bytes> bytes);
/// Header and payload in one buffer. Precondition (ours): payload is at most 2^32 - 1 bytes.
std::vector<std::byte> encode_frame(std::uint8_t kind, std::span<const std::byte> payload);

/// Puts one frame together from pieces of any size. Takes memory only as bytes arrive and never more than
/// frame_header_bytes + payload_bytes_max, for a moment half as much again while it grows. Not thread safe.
class FrameAssembler {
 public:
  explicit FrameAssembler(std::size_t payload_bytes_max) : payload_bytes_max_(payload_bytes_max) {}

  struct Progress {
    std::size_t consumed_bytes = 0;  ///< how much of `bytes` belongs to this frame; the rest is the next one's
    std::optional<Frame> frame;      ///< present once the frame is complete; the assembler is then ready for the next
  };
  /// Errors (peer): ProtocolViolation when the header announces more than payload_bytes_max; nothing is kept then.
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
/// Unknown fields are skipped. Errors (peer): ProtocolViolation.
Result<Failure> decode_failure(std::span<const std::byte> payload);

}  // namespace crosslink
