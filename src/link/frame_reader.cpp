#include "link/frame_reader.hpp"

#include <algorithm>
#include <utility>

namespace crosslink::link {

Result<FrameReader::Step> FrameReader::take(std::span<const std::byte> bytes) {
  Step step;
  const auto header_part = std::min(bytes.size(), frame_header_bytes - header_filled_);
  std::copy_n(bytes.begin(), header_part, header_.begin() + static_cast<std::ptrdiff_t>(header_filled_));
  header_filled_ += header_part;
  step.consumed_bytes = header_part;
  if (header_filled_ < frame_header_bytes) return step;
  if (header_part > 0) {
    // The header is complete only now: its kind is judged before its length, and both before any payload.
    if (auto refused = check_(decode_frame_header(header_))) return *std::move(refused);
    auto begun = assembler_.feed(header_);
    if (!begun) return begun.error();
    step.frame = std::move(begun->frame);
  }
  if (!step.frame) {
    auto progress = assembler_.feed(bytes.subspan(header_part));
    if (!progress) return progress.error();
    step.consumed_bytes += progress->consumed_bytes;
    step.frame = std::move(progress->frame);
  }
  if (step.frame) header_filled_ = 0;
  return step;
}

Task<Frame> FrameReader::read(quic::RecvStream& stream) {
  for (;;) {
    const auto view = co_await stream.read();
    if (!view) co_return view.error();
    if (view->total_bytes == 0 && view->end) {
      co_return MirrorError::transport(TransportCause::stream_ended_early,
                                       "the peer ended the stream before a whole frame");
    }
    std::size_t consumed_bytes = 0;
    std::optional<Frame> frame;
    for (std::size_t piece = 0; piece < view->piece_count && !frame; ++piece) {
      auto bytes = view->pieces[piece];
      while (!bytes.empty() && !frame) {
        auto step = take(bytes);
        if (!step) co_return step.error();
        consumed_bytes += step->consumed_bytes;
        bytes = bytes.subspan(step->consumed_bytes);
        frame = std::move(step->frame);
      }
    }
    stream.consume(consumed_bytes);
    if (frame) co_return *std::move(frame);
  }
}

}  // namespace crosslink::link
