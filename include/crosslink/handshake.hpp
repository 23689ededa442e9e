// The two handshake messages and their bytes. Another implementation speaks the same, byte for byte, and refuses
// unknown fields: so nothing is ever added to them, and what the two sides have to say beyond them follows in the
// session (docs/protocol.md, "Handshake" and "Sessions"). Plain computation, from any thread.
//
//   mirror                        source
//     | -- 0x01 MirrorHello ----->  |   first bidi stream, opened by the mirror
//     | <----- 0x02 MirrorHelloAck -|
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "crosslink/result.hpp"
#include "crosslink/types.hpp"

namespace crosslink {

/// Of the handshake. A source refuses any other with ProtocolVersionMismatch (caused by the peer).
inline constexpr std::uint16_t protocol_version = 1;
/// `error_detail` of a refusal is escaped and cut to this, so that an ack always fits its frame.
inline constexpr std::size_t error_detail_bytes_max = 512;

/// What a mirror says first.
struct MirrorHello {
  ClusterId source_cluster;  ///< the cluster the mirror believes it talks to
  DatabaseId source_database_id;
  Lsn last_applied_lsn;  ///< 0: nothing yet
  std::uint16_t protocol_version = crosslink::protocol_version;
  friend bool operator==(const MirrorHello&, const MirrorHello&) = default;
};

/// What a source answers, accepting or refusing.
struct MirrorHelloAck {
  bool accepted = false;
  std::uint8_t error_code = 0;             ///< a wire code of error_rules(); 0 when accepted
  std::string error_detail;                ///< empty when accepted; from the peer: escape before printing
  ClusterId source_cluster_id;             ///< what the source calls its cluster
  Lsn snapshot_lsn;                        ///< no_snapshot (all ones): streaming goes on from last_applied + 1
  std::uint64_t snapshot_bytes_total = 0;  ///< an estimate
  friend bool operator==(const MirrorHelloAck&, const MirrorHelloAck&) = default;
};

/// The MessagePack map alone: fields in the order above, each in its smallest form, as the golden vectors have them.
std::vector<std::byte> encode_payload(const MirrorHello& hello);
std::vector<std::byte> encode_payload(const MirrorHelloAck& ack);
/// Header and payload. Errors (us): HandshakeCodec when the payload would exceed handshake_payload_bytes_max.
Result<std::vector<std::byte>> encode_frame(const MirrorHello& hello);
Result<std::vector<std::byte>> encode_frame(const MirrorHelloAck& ack);

/// Lenient: any key order, wider integer and string forms, map16 and map32, bytes after the map.
/// Errors (peer), all HandshakeCodec: empty payload, over 4096 bytes, not a map (array form included), a missing,
/// unknown or doubled field, a value of the wrong type or out of range, text that is not UTF-8, truncated bytes.
Result<MirrorHello> decode_hello(std::span<const std::byte> payload);
Result<MirrorHelloAck> decode_ack(std::span<const std::byte> payload);

/// What a source answers when it refuses: `error_code` is the kind's wire code, `error_detail` the message, escaped and
/// cut.
MirrorHelloAck refusal(const MirrorError& error, const ClusterId& source_cluster_id);
/// What a mirror makes of a refusing ack: an error (peer) of the kind whose wire code it carries, ProtocolViolation for
/// a code that is not defined, with its detail escaped. Precondition: `ack` does not accept.
MirrorError refused(const MirrorHelloAck& ack, const MirrorHello& sent);

}  // namespace crosslink
