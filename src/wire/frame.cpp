#include "crosslink/frame.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "wire/message_pack.hpp"

namespace crosslink {

std::array<std::byte, frame_header_bytes> encode_frame_header(FrameHeader header) {
  const auto byte = [&](int shift) { return static_cast<std::byte>((header.payload_bytes >> shift) & 0xffU); };
  return {std::byte{header.kind}, byte(24), byte(16), byte(8), byte(0)};
}

FrameHeader decode_frame_header(std::span<const std::byte, frame_header_bytes> bytes) {
  FrameHeader header{std::to_integer<std::uint8_t>(bytes[0]), 0};
  for (const auto byte : bytes.subspan<1>())
    header.payload_bytes = header.payload_bytes << 8U | std::to_integer<std::uint32_t>(byte);
  return header;
}

std::vector<std::byte> encode_frame(std::uint8_t kind, std::span<const std::byte> payload) {
  const auto header = encode_frame_header({kind, static_cast<std::uint32_t>(payload.size())});
  std::vector<std::byte> frame(header.size() + payload.size());
  std::ranges::copy(payload, std::ranges::copy(header, frame.begin()).out);
  return frame;
}

std::optional<FrameHeader> FrameAssembler::header() const {
  if (header_filled_ < frame_header_bytes) return std::nullopt;
  return decode_frame_header(header_bytes_);
}

Result<FrameAssembler::Progress> FrameAssembler::feed(std::span<const std::byte> bytes) {
  Progress progress;
  const auto of_header = std::min(bytes.size(), frame_header_bytes - header_filled_);
  std::copy_n(bytes.begin(), of_header, header_bytes_.begin() + static_cast<std::ptrdiff_t>(header_filled_));
  header_filled_ += of_header;
  progress.consumed_bytes = of_header;
  const auto known = header();
  if (!known) return progress;
  if (known->payload_bytes > payload_bytes_max_) {
    header_filled_ = 0;
    payload_.clear();
    return MirrorError::protocol_violation(
        fmt::format("a frame of kind {:#04x} announces {} bytes, more than the {} allowed", known->kind,
                    known->payload_bytes, payload_bytes_max_));
  }
  const auto rest = bytes.subspan(of_header);
  const auto of_payload = std::min<std::size_t>(rest.size(), known->payload_bytes - payload_.size());
  // A vector that doubles would overshoot what was announced, and with it the bound.
  const auto needed = payload_.size() + of_payload;
  if (needed > payload_.capacity()) {
    payload_.reserve(std::min<std::size_t>(known->payload_bytes, std::max(needed, 2 * payload_.capacity())));
  }
  payload_.insert(payload_.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(of_payload));
  progress.consumed_bytes += of_payload;
  if (payload_.size() == known->payload_bytes) {
    progress.frame = Frame{known->kind, std::exchange(payload_, {})};
    header_filled_ = 0;
  }
  return progress;
}

std::vector<std::byte> encode_failure(const Failure& failure) {
  return encode_frame(frame_kind::failure,
                      core::encode_map({{"kind", failure.kind}, {"detail", escape(failure.detail)}}));
}

Result<Failure> decode_failure(std::span<const std::byte> payload) {
  constexpr std::size_t fields_max = 32;  // room for what later versions add
  auto fields = core::decode_map(payload, fields_max, true, ErrorKind::ProtocolViolation);
  if (!fields) return fields.error();
  std::optional<std::string> kind;
  std::optional<std::string> detail;
  for (auto& [name, value] : *fields) {
    auto* text = std::get_if<std::string>(&value);
    if (name != "kind" && name != "detail") continue;
    auto& wanted = name == "kind" ? kind : detail;
    if (text == nullptr || wanted)
      return MirrorError::protocol_violation(fmt::format("a Failure's field '{}' is wrong or doubled", name));
    wanted = std::move(*text);
  }
  if (!kind || !detail) return MirrorError::protocol_violation("a Failure lacks its kind or detail");
  return Failure{std::move(*kind), std::move(*detail)};
}

}  // namespace crosslink
