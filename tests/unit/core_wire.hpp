// MessagePack written by hand, every form of it, so that the decoders are judged by bytes they did not make themselves.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "crosslink/handshake.hpp"

namespace crosslink::test {

using Bytes = std::vector<std::byte>;

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A leading byte and `width` bytes of `value`, big-endian.
inline Bytes tagged(unsigned tag, std::uint64_t value, unsigned width) {
  Bytes bytes{static_cast<std::byte>(tag)};
  for (unsigned i = width; i > 0; --i)
    bytes.push_back(static_cast<std::byte>(value >> (8 * (i - 1)) & 0xffU));
  return bytes;
}

inline Bytes nil() { return tagged(0xc0, 0, 0); }
inline Bytes flag(bool value) { return tagged(value ? 0xc3 : 0xc2, 0, 0); }
inline Bytes fixint(unsigned value) { return tagged(value, 0, 0); }
inline Bytes uint8(std::uint64_t value) { return tagged(0xcc, value, 1); }
inline Bytes uint16(std::uint64_t value) { return tagged(0xcd, value, 2); }
inline Bytes uint32(std::uint64_t value) { return tagged(0xce, value, 4); }
inline Bytes uint64(std::uint64_t value) { return tagged(0xcf, value, 8); }
inline Bytes int8(std::int64_t value) { return tagged(0xd0, static_cast<std::uint64_t>(value), 1); }
inline Bytes int16(std::int64_t value) { return tagged(0xd1, static_cast<std::uint64_t>(value), 2); }
inline Bytes int32(std::int64_t value) { return tagged(0xd2, static_cast<std::uint64_t>(value), 4); }
inline Bytes int64(std::int64_t value) { return tagged(0xd3, static_cast<std::uint64_t>(value), 8); }
inline Bytes float32_one() { return tagged(0xca, 0x3f800000, 4); }
inline Bytes float64_one() { return tagged(0xcb, 0x3ff0000000000000, 8); }
inline Bytes str8(std::string_view text) { return tagged(0xd9, text.size(), 1) + bytes_of(text); }
inline Bytes str16(std::string_view text) { return tagged(0xda, text.size(), 2) + bytes_of(text); }
inline Bytes str32(std::string_view text) { return tagged(0xdb, text.size(), 4) + bytes_of(text); }
inline Bytes str(std::string_view text) {
  return text.size() < 32 ? tagged(0xa0U | static_cast<unsigned>(text.size()), 0, 0) + bytes_of(text) : str16(text);
}
inline Bytes bin8(std::string_view text) { return tagged(0xc4, text.size(), 1) + bytes_of(text); }
inline Bytes fixext1() { return tagged(0xd4, 0x0100, 2); }

inline Bytes fixmap(std::size_t count) { return tagged(0x80U | static_cast<unsigned>(count), 0, 0); }
inline Bytes map16(std::size_t count) { return tagged(0xde, count, 2); }
inline Bytes map32(std::size_t count) { return tagged(0xdf, count, 4); }
inline Bytes fixarray(std::size_t count) { return tagged(0x90U | static_cast<unsigned>(count), 0, 0); }

struct WireField {
  std::string name;
  Bytes value;
};
using WireFields = std::vector<WireField>;

inline Bytes body_of(const WireFields& fields) {
  Bytes bytes;
  for (const auto& [name, value] : fields)
    bytes = std::move(bytes) + str(name) + value;
  return bytes;
}

inline Bytes map_of(const WireFields& fields) { return fixmap(fields.size()) + body_of(fields); }

inline WireFields with(WireFields fields, std::string_view name, Bytes value) {
  std::ranges::find(fields, name, &WireField::name)->value = std::move(value);
  return fields;
}

/// One handshake message as test material: a value, its fields written by hand, and which fields have which type.
struct HelloMessage {
  static MirrorHello specimen() { return {ClusterId("prod-us"), DatabaseId("orders"), Lsn{5}, 1}; }
  static WireFields fields() {
    return {{"source_cluster", str("prod-us")},
            {"source_database_id", str("orders")},
            {"last_applied_lsn", fixint(5)},
            {"protocol_version", fixint(1)}};
  }
  static std::vector<std::string> texts() { return {"source_cluster", "source_database_id"}; }
  static std::vector<std::string> flags() { return {}; }
  /// Name, value in the specimen, largest value allowed.
  static std::vector<std::tuple<std::string, std::uint64_t, std::uint64_t>> numbers() {
    return {{"last_applied_lsn", 5, UINT64_MAX}, {"protocol_version", 1, UINT16_MAX}};
  }
  static Result<MirrorHello> decode(std::span<const std::byte> payload) { return decode_hello(payload); }
};

struct AckMessage {
  static MirrorHelloAck specimen() { return {true, 7, "why", ClusterId("prod-us"), Lsn{9}, 77}; }
  static WireFields fields() {
    return {{"accepted", flag(true)},     {"error_code", fixint(7)},
            {"error_detail", str("why")}, {"source_cluster_id", str("prod-us")},
            {"snapshot_lsn", fixint(9)},  {"snapshot_bytes_total", fixint(77)}};
  }
  static std::vector<std::string> texts() { return {"error_detail", "source_cluster_id"}; }
  static std::vector<std::string> flags() { return {"accepted"}; }
  static std::vector<std::tuple<std::string, std::uint64_t, std::uint64_t>> numbers() {
    return {{"error_code", 7, UINT8_MAX}, {"snapshot_lsn", 9, UINT64_MAX}, {"snapshot_bytes_total", 77, UINT64_MAX}};
  }
  static Result<MirrorHelloAck> decode(std::span<const std::byte> payload) { return decode_ack(payload); }
};

/// So that a test's name says which message it is about.
struct MessageNames {
  template <class Message>
  static std::string GetName(int) {
    return std::is_same_v<Message, HelloMessage> ? "hello" : "ack";
  }
};

}  // namespace crosslink::test
