#include "crosslink/quic/connection.hpp"

#include "quic/connection_state.hpp"
#include "quic/stream_state.hpp"

namespace crosslink::quic {

// The last handle closes the connection; the state lives on until the transport is done with it.
struct Connection::Handle {
  explicit Handle(std::shared_ptr<detail::ConnectionState> connection) : state(std::move(connection)) {}
  ~Handle() {
    if (!state->end_reason()) state->close(normal_close_code);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  const std::shared_ptr<detail::ConnectionState> state;
};

Connection::Connection(std::shared_ptr<detail::ConnectionState> state)
    : handle_(std::make_shared<Handle>(std::move(state))) {}

// Each coroutine keeps the state, not the handle: waiting for a stream does not keep a dropped connection open.
namespace {

Task<BidiStream> bidi(Task<std::shared_ptr<detail::StreamState>> stream) {
  auto state = co_await std::move(stream);
  if (!state) co_return state.error();
  co_return BidiStream{detail::StreamState::make_send(*state), detail::StreamState::make_recv(*state)};
}

Task<SendStream> send_only(Task<std::shared_ptr<detail::StreamState>> stream) {
  auto state = co_await std::move(stream);
  if (!state) co_return state.error();
  co_return detail::StreamState::make_send(*state);
}

Task<RecvStream> receive_only(Task<std::shared_ptr<detail::StreamState>> stream) {
  auto state = co_await std::move(stream);
  if (!state) co_return state.error();
  co_return detail::StreamState::make_recv(*state);
}

Task<std::shared_ptr<detail::StreamState>> opened(std::shared_ptr<detail::ConnectionState> state, bool bidirectional) {
  co_return co_await state->open_stream(bidirectional);
}

Task<std::shared_ptr<detail::StreamState>> accepted(std::shared_ptr<detail::ConnectionState> state,
                                                    bool bidirectional) {
  co_return co_await state->accept_stream(bidirectional);
}

Task<void> ended(std::shared_ptr<detail::ConnectionState> state) { co_return co_await state->closed(); }

}  // namespace

Task<BidiStream> Connection::open_bidi_stream() { return bidi(opened(handle_->state, true)); }
Task<SendStream> Connection::open_uni_stream() { return send_only(opened(handle_->state, false)); }
Task<BidiStream> Connection::accept_bidi_stream() { return bidi(accepted(handle_->state, true)); }
Task<RecvStream> Connection::accept_uni_stream() { return receive_only(accepted(handle_->state, false)); }

void Connection::set_streams_allowed(std::uint16_t count) { handle_->state->set_streams_allowed(count); }
void Connection::close(std::uint64_t code) { handle_->state->close(code); }
Task<void> Connection::closed() { return ended(handle_->state); }
std::optional<MirrorError> Connection::end_reason() const { return handle_->state->end_reason(); }
std::optional<std::uint64_t> Connection::close_code() const { return handle_->state->close_code(); }
const std::vector<std::string>& Connection::peer_names() const { return handle_->state->peer_names(); }
std::chrono::system_clock::time_point Connection::peer_certificate_not_after() const {
  return handle_->state->peer_not_after();
}
const std::string& Connection::peer_certificate_serial() const { return handle_->state->peer_serial(); }
Address Connection::remote_address() const { return handle_->state->remote_address(); }
Address Connection::local_address() const { return handle_->state->local_address(); }
std::string Connection::alpn() const { return handle_->state->alpn(); }
std::chrono::steady_clock::time_point Connection::established_at() const { return handle_->state->established_at(); }
ConnectionFacts Connection::facts() const { return handle_->state->facts(); }

}  // namespace crosslink::quic
