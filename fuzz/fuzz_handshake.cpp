// What a handshake decoder accepts comes back the same from its own encoding; what it refuses is the peer's error.
//
// Input: the payload of a frame, given to every decoder.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>

#include "crosslink/frame.hpp"
#include "crosslink/handshake.hpp"
#include "require.hpp"
#include "wire/utf8.hpp"

namespace crosslink::fuzz {
namespace {

using Bytes = std::span<const std::byte>;

bool is_printable(std::string_view text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return core::is_utf8(text) && std::ranges::none_of(text, is_control);
}

void check_error(const MirrorError& error, ErrorKind kind) {
  require(error.kind() == kind, "a decoder refuses with its own kind");
  require(error.caused_by() == CausedBy::peer, "the peer caused what cannot be decoded");
  require(is_printable(error.message()), "a sentence can be printed");
}

template <class Message>
void check_again(const Message& message, Result<Message> (*decode)(Bytes)) {
  const auto frame = encode_frame(message);
  require(frame.ok(), "what was decoded fits into a frame");
  const auto again = decode(Bytes(*frame).subspan(frame_header_bytes));
  require(again && *again == message, "what was decoded comes back from its own encoding");
}

void check_hello(Bytes payload) {
  const auto hello = decode_hello(payload);
  if (!hello) return check_error(hello.error(), ErrorKind::HandshakeCodec);
  check_again(*hello, decode_hello);
}

void check_ack(Bytes payload) {
  const auto ack = decode_ack(payload);
  if (!ack) return check_error(ack.error(), ErrorKind::HandshakeCodec);
  check_again(*ack, decode_ack);
  const auto error = refused(*ack, MirrorHello{});
  require(is_printable(error.message()), "the sentence of a refusal can be printed");
  check_again(refusal(error, ClusterId("prod-us")), decode_ack);
}

void check_failure(Bytes payload) {
  const auto failure = decode_failure(payload);
  if (!failure) return check_error(failure.error(), ErrorKind::ProtocolViolation);
  const auto frame = encode_failure(*failure);
  const auto again = decode_failure(Bytes(frame).subspan(frame_header_bytes));
  require(again && again->kind == failure->kind && again->detail == escape(failure->detail),
          "a Failure comes back with its detail escaped");
}

}  // namespace
}  // namespace crosslink::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto payload = std::as_bytes(std::span(data, size));
  crosslink::fuzz::check_hello(payload);
  crosslink::fuzz::check_ack(payload);
  crosslink::fuzz::check_failure(payload);
  return 0;
}
