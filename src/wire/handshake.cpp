#include "crosslink/handshake.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <concepts>
#include <limits>

#include "crosslink/frame.hpp"
#include "wire/message_pack.hpp"

namespace crosslink {
namespace {

constexpr std::size_t hello_fields = 4;
constexpr std::size_t ack_fields = 6;

/// Takes the fields of one message by name, each exactly once.
class FieldReader {
 public:
  FieldReader(core::Fields fields, std::string_view message) : fields_(std::move(fields)), message_(message) {}

  template <class Value>
  Value take(std::string_view name) {
    const auto field = std::ranges::find(fields_, name, &core::Fields::value_type::first);
    if (field == fields_.end()) {
      note(fmt::format("{} lacks the field '{}'", message_, name));
      return {};
    }
    ++taken_;
    if (auto* held = std::get_if<Value>(&field->second)) return std::move(*held);
    note(fmt::format("{}: the field '{}' has the wrong type", message_, name));
    return {};
  }

  template <std::unsigned_integral Number>
  Number take_number(std::string_view name) {
    const auto value = take<std::uint64_t>(name);
    if (value > std::numeric_limits<Number>::max())
      note(fmt::format("{}: the field '{}' is out of range", message_, name));
    return static_cast<Number>(value);
  }

  /// After all fields have been taken: what was wrong, if anything.
  std::optional<MirrorError> problem() {
    if (fields_.size() > taken_) note(fmt::format("{} has an unknown or doubled field", message_));
    return problem_;
  }

 private:
  void note(std::string what) {
    if (!problem_) problem_ = MirrorError::codec(std::move(what));
  }

  core::Fields fields_;
  std::string_view message_;
  std::size_t taken_ = 0;
  std::optional<MirrorError> problem_;
};

Result<FieldReader> open_message(std::span<const std::byte> payload, std::size_t fields, std::string_view message) {
  if (payload.size() > handshake_payload_bytes_max) {
    return MirrorError::codec(
        fmt::format("{} has {} bytes, more than the {} allowed", message, payload.size(), handshake_payload_bytes_max));
  }
  // One more than belong there is enough to see that there are too many.
  auto decoded = core::decode_map(payload, fields + 1, false, ErrorKind::HandshakeCodec);
  if (!decoded) return decoded.error().with_context(message);
  return FieldReader(std::move(*decoded), message);
}

Result<std::vector<std::byte>> frame_of(std::uint8_t kind, const std::vector<std::byte>& payload,
                                        std::string_view message) {
  if (payload.size() > handshake_payload_bytes_max) {
    return MirrorError(ErrorKind::HandshakeCodec, CausedBy::us,
                       fmt::format("{} would have {} bytes, more than the {} allowed: a name is too long", message,
                                   payload.size(), handshake_payload_bytes_max));
  }
  return encode_frame(kind, payload);
}

ErrorData data_of_refusal(ErrorKind kind, const MirrorHelloAck& ack, const MirrorHello& sent) {
  if (kind == ErrorKind::ClusterIdMismatch)
    return ClusterIds{sent.source_cluster.str(), escape(ack.source_cluster_id.str())};
  if (kind == ErrorKind::ProtocolVersionMismatch) return VersionMismatch{sent.protocol_version};
  if (kind == ErrorKind::UnknownDatabase) return DatabaseName{sent.source_database_id.str()};
  return {};
}

}  // namespace

std::vector<std::byte> encode_payload(const MirrorHello& hello) {
  return core::encode_map({{"source_cluster", hello.source_cluster.str()},
                           {"source_database_id", hello.source_database_id.str()},
                           {"last_applied_lsn", hello.last_applied_lsn.value},
                           {"protocol_version", std::uint64_t{hello.protocol_version}}});
}

std::vector<std::byte> encode_payload(const MirrorHelloAck& ack) {
  return core::encode_map({{"accepted", ack.accepted},
                           {"error_code", std::uint64_t{ack.error_code}},
                           {"error_detail", ack.error_detail},
                           {"source_cluster_id", ack.source_cluster_id.str()},
                           {"snapshot_lsn", ack.snapshot_lsn.value},
                           {"snapshot_bytes_total", ack.snapshot_bytes_total}});
}

Result<std::vector<std::byte>> encode_frame(const MirrorHello& hello) {
  return frame_of(frame_kind::mirror_hello, encode_payload(hello), "MirrorHello");
}

Result<std::vector<std::byte>> encode_frame(const MirrorHelloAck& ack) {
  return frame_of(frame_kind::mirror_hello_ack, encode_payload(ack), "MirrorHelloAck");
}

Result<MirrorHello> decode_hello(std::span<const std::byte> payload) {
  auto reader = open_message(payload, hello_fields, "MirrorHello");
  if (!reader) return reader.error();
  MirrorHello hello;
  hello.source_cluster = ClusterId(reader->take<std::string>("source_cluster"));
  hello.source_database_id = DatabaseId(reader->take<std::string>("source_database_id"));
  hello.last_applied_lsn = Lsn{reader->take<std::uint64_t>("last_applied_lsn")};
  hello.protocol_version = reader->take_number<std::uint16_t>("protocol_version");
  if (auto problem = reader->problem()) return *problem;
  return hello;
}

Result<MirrorHelloAck> decode_ack(std::span<const std::byte> payload) {
  auto reader = open_message(payload, ack_fields, "MirrorHelloAck");
  if (!reader) return reader.error();
  MirrorHelloAck ack;
  ack.accepted = reader->take<bool>("accepted");
  ack.error_code = reader->take_number<std::uint8_t>("error_code");
  ack.error_detail = reader->take<std::string>("error_detail");
  ack.source_cluster_id = ClusterId(reader->take<std::string>("source_cluster_id"));
  ack.snapshot_lsn = Lsn{reader->take<std::uint64_t>("snapshot_lsn")};
  ack.snapshot_bytes_total = reader->take<std::uint64_t>("snapshot_bytes_total");
  if (auto problem = reader->problem()) return *problem;
  return ack;
}

MirrorHelloAck refusal(const MirrorError& error, const ClusterId& source_cluster_id) {
  MirrorHelloAck ack;
  ack.error_code = static_cast<std::uint8_t>(
      rule_of(error.kind()).wire_code.value_or(*rule_of(ErrorKind::ProtocolViolation).wire_code));
  ack.error_detail = escape(error.message(), error_detail_bytes_max);
  ack.source_cluster_id = source_cluster_id;
  return ack;
}

MirrorError refused(const MirrorHelloAck& ack, const MirrorHello& sent) {
  const auto kind = kind_of_wire_code(ack.error_code).value_or(ErrorKind::ProtocolViolation);
  auto message = fmt::format("the source refuses the mirror: {}", escape(ack.error_detail, error_detail_bytes_max));
  if (!kind_of_wire_code(ack.error_code)) message += fmt::format(" (unknown code {:#04x})", ack.error_code);
  return {kind, CausedBy::peer, std::move(message), data_of_refusal(kind, ack, sent)};
}

}  // namespace crosslink
