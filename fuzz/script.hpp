// What the fuzzers of sequences share: the input read as a script, and frames taken apart.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crosslink/memory_engine.hpp"
#include "require.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::fuzz {

/// Bytes of the input, one after another; zeros once it has ended.
class Script {
 public:
  explicit Script(std::span<const std::byte> input) : rest_(input) {}
  bool ended() const { return rest_.empty(); }
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto value = std::to_integer<std::uint8_t>(rest_.front());
    rest_ = rest_.subspan(1);
    return value;
  }
  std::uint64_t below(std::uint64_t bound) { return byte() % bound; }
  bool chance() { return (byte() & 1) != 0; }
  std::vector<std::byte> bytes(std::size_t count) {
    const auto taken = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return {taken.begin(), taken.end()};
  }

 private:
  std::span<const std::byte> rest_;
};

/// Every kind of a session, some of a voter and some that are undefined.
inline constexpr std::uint8_t kinds[] = {0x01, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x10, 0x11, 0x12, 0x13,
                                         0x15, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x31, 0x40, 0x41,
                                         0x42, 0x43, 0x44, 0x50, 0x7f, 0x80, 0x95, 0xbf, 0xc0, 0xff};

struct SentFrame {
  core::SessionMessage message;
  bool bulk = false;
};
/// What a machine sends must be readable by the other side.
inline std::optional<SentFrame> read_sent(std::span<const std::byte> frame, std::size_t data_bytes) {
  require(frame.size() >= frame_header_bytes, "a frame has a header");
  const auto header = decode_frame_header(frame.first<frame_header_bytes>());
  require(header.payload_bytes == frame.size() - frame_header_bytes + data_bytes, "its length is what is sent");
  if (header.kind == frame_kind::mirror_hello_ack) return std::nullopt;  // the answer to a voter's frame
  std::vector<std::byte> payload(frame.begin() + frame_header_bytes, frame.end());
  payload.resize(payload.size() + data_bytes);
  auto decoded = core::decode_message(header.kind, payload);
  require(decoded.ok(), "the other side can read what is sent");
  return SentFrame{std::move(decoded->message), core::is_bulk_kind(header.kind)};
}

inline void commit(MemoryDatabase& database, Script& script) {
  const std::string key(1, static_cast<char>('a' + script.below(20)));
  const std::string value(script.below(4) == 0 ? 3000 : script.below(50), 'v');
  const Operation operation = script.below(4) == 0 ? Operation::erase(key) : Operation::put(key, value);
  static_cast<void>(database.commit(std::span(&operation, 1)).ok());
}

inline core::SessionBegin begin_frame(Script& script) {
  core::SessionBegin begin;
  begin.features = script.byte();
  begin.sync = script.below(8) == 0;
  begin.software = "fuzz";
  begin.bulk_data_bytes_max = 64 * 1024;
  begin.entry_bytes_max = 1024 * 1024;
  begin.in_flight_bytes_max = 2 * 1024 * 1024;
  return begin;
}

}  // namespace crosslink::fuzz
