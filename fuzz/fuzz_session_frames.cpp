// Every frame of a session: what can be read is written again as the same message.
//
// Input: [u8 kind][payload]
#include "wire/session_frames.hpp"

#include <cstdint>
#include <span>
#include <vector>

#include "require.hpp"

namespace crosslink::fuzz {
namespace {

void run(std::span<const std::byte> input) {
  if (input.empty()) return;
  const auto kind = std::to_integer<std::uint8_t>(input.front());
  const auto payload = input.subspan(1);
  const auto decoded = core::decode_message(kind, payload);
  if (!decoded) {
    require(decoded.error().kind() == ErrorKind::ProtocolViolation, "a refusal is a ProtocolViolation");
    return;
  }
  require(core::kind_of(decoded->message) == kind, "a message is of the kind it came as");
  require(decoded->data_at <= payload.size(), "the data begins within the payload");
  const auto data = payload.subspan(decoded->data_at);
  auto frame = core::is_bulk_kind(kind) ? core::encode_bulk_head(decoded->message, data.size())
                                        : core::encode_message(decoded->message);
  require(core::is_bulk_kind(kind) || data.empty(), "only bulk frames carry data");
  frame.insert(frame.end(), data.begin(), data.end());
  const auto again = core::decode_message(kind, std::span(frame).subspan(frame_header_bytes));
  require(again.ok(), "what is written can be read");
  // What a peer says for people is escaped when it is written; everything else stays as it is.
  const bool for_people = std::holds_alternative<core::SessionFailure>(decoded->message) ||
                          std::holds_alternative<core::VerifyEnd>(decoded->message);
  require(for_people || again->message == decoded->message, "written again it is the same message");
  if (for_people) require(core::encode_message(again->message) == frame, "what was escaped once is not escaped again");
  if (const auto* failure = std::get_if<core::SessionFailure>(&decoded->message)) {
    require(core::to_error(*failure).caused_by() == CausedBy::peer, "a peer's failure is the peer's");
  }
}

}  // namespace
}  // namespace crosslink::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  crosslink::fuzz::run(std::as_bytes(std::span(data, size)));
  return 0;
}
