#include "crosslink/quic/stream.hpp"

#include <algorithm>

#include "quic/stream_state.hpp"

// The public handles: thin, they only forward and clean up.
namespace crosslink::quic {

SendBuffer::SendBuffer(std::vector<std::byte> bytes) {
  auto owned = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  bytes_ = *owned;
  owner_ = std::move(owned);
}

SendStream::~SendStream() {
  if (state_) state_->drop_send();
}

SendStream& SendStream::operator=(SendStream&& other) noexcept {
  if (state_ && state_ != other.state_) state_->drop_send();
  state_ = std::move(other.state_);
  return *this;
}

Task<void> SendStream::write(std::vector<SendBuffer> buffers) { return state_->write(std::move(buffers)); }

Task<void> SendStream::write(SendBuffer buffer) {
  std::vector<SendBuffer> buffers;
  buffers.push_back(std::move(buffer));
  return state_->write(std::move(buffers));
}

void SendStream::finish() { state_->finish(); }
Task<void> SendStream::wait_acknowledged() { return state_->wait_acknowledged(); }
void SendStream::reset(std::uint64_t code) { state_->reset(code); }
Result<void> SendStream::set_priority(std::uint16_t priority) { return state_->set_priority(priority); }
std::uint64_t SendStream::bytes_in_flight() const { return state_->bytes_in_flight(); }

RecvStream::~RecvStream() {
  if (state_) state_->drop_recv();
}

RecvStream& RecvStream::operator=(RecvStream&& other) noexcept {
  if (state_ && state_ != other.state_) state_->drop_recv();
  state_ = std::move(other.state_);
  return *this;
}

Task<ReadView> RecvStream::read() { return state_->read(); }
void RecvStream::consume(std::size_t bytes) { state_->consume(bytes); }
void RecvStream::stop(std::uint64_t code) { state_->stop(code); }

Task<void> RecvStream::read_exactly(std::span<std::byte> out) {
  auto state = state_;
  while (!out.empty()) {
    auto view = co_await state->read();
    if (!view) co_return view.error();
    if (view->total_bytes == 0) {
      co_return MirrorError::transport(TransportCause::stream_ended_early,
                                       "the peer ended the stream in the middle of a message");
    }
    std::size_t copied = 0;
    for (std::size_t piece = 0; piece < view->piece_count && !out.empty(); ++piece) {
      const auto taken = std::min(out.size(), view->pieces[piece].size());
      std::copy_n(view->pieces[piece].begin(), taken, out.begin());
      out = out.subspan(taken);
      copied += taken;
    }
    state->consume(copied);
  }
  co_return Result<void>{};
}

}  // namespace crosslink::quic
