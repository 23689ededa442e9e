// FrameAssembler gives the same frames however the stream is cut, and those frames are the stream.
//
// Input: [u8 which bound][u8 number of cuts][a size each][the stream]; the sizes are used round and round.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "crosslink/frame.hpp"
#include "require.hpp"

namespace crosslink::fuzz {
namespace {

using Bytes = std::span<const std::byte>;

struct Outcome {
  std::vector<std::byte> frames;  ///< encoded again, one after the other
  std::size_t consumed_bytes = 0;
  bool refused = false;
  bool in_the_middle = false;
};

/// Feeds one piece to its end. False once the assembler has refused.
bool feed(FrameAssembler& assembler, Bytes piece, std::size_t bound, Outcome& outcome) {
  do {
    const auto progress = assembler.feed(piece);
    if (!progress) {
      require(progress.error().kind() == ErrorKind::ProtocolViolation, "a refusal is a ProtocolViolation");
      require(!assembler.in_the_middle(), "nothing is kept after a refusal");
      outcome.refused = true;
      return false;
    }
    require(progress->consumed_bytes <= piece.size(), "no more is consumed than was given");
    require(progress->frame || progress->consumed_bytes == piece.size(), "only the end of a frame leaves bytes over");
    outcome.consumed_bytes += progress->consumed_bytes;
    piece = piece.subspan(progress->consumed_bytes);
    if (!progress->frame) continue;
    require(progress->frame->payload.size() <= bound, "no payload is above the bound");
    const auto encoded = encode_frame(progress->frame->kind, progress->frame->payload);
    outcome.frames.insert(outcome.frames.end(), encoded.begin(), encoded.end());
  } while (!piece.empty());
  return true;
}

Outcome in_pieces(Bytes stream, Bytes sizes, std::size_t bound) {
  FrameAssembler assembler(bound);
  Outcome outcome;
  std::size_t turn = 0;
  while (!stream.empty()) {
    std::size_t size = sizes.empty() ? stream.size() : std::to_integer<std::size_t>(sizes[turn++ % sizes.size()]);
    if (size == 0) {
      if (!feed(assembler, {}, bound, outcome)) break;
      size = 1;
    }
    const auto piece = stream.first(std::min(size, stream.size()));
    stream = stream.subspan(piece.size());
    if (!feed(assembler, piece, bound, outcome)) break;
  }
  outcome.in_the_middle = assembler.in_the_middle();
  return outcome;
}

void check(Bytes input) {
  constexpr std::size_t bounds[] = {0, 7, handshake_payload_bytes_max, control_payload_bytes_max};
  if (input.size() < 2) return;
  const auto bound = bounds[std::to_integer<std::size_t>(input[0]) % std::size(bounds)];
  const auto sizes = input.subspan(2, std::min(std::to_integer<std::size_t>(input[1]), input.size() - 2));
  const auto stream = input.subspan(2 + sizes.size());

  const auto cut = in_pieces(stream, sizes, bound);
  const auto whole = in_pieces(stream, {}, bound);
  require(cut.frames == whole.frames, "the cuts do not change the frames");
  require(cut.refused == whole.refused, "the cuts do not change whether it is refused");
  require(cut.in_the_middle == whole.in_the_middle, "the cuts do not change where it ends");
  require(std::ranges::equal(whole.frames, stream.first(whole.frames.size())), "the frames are the stream");
  require(whole.refused || whole.consumed_bytes == stream.size(), "all is consumed unless it is refused");
}

}  // namespace
}  // namespace crosslink::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  crosslink::fuzz::check(std::as_bytes(std::span(data, size)));
  return 0;
}
