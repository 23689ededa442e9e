#include "quic/connection_state.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "quic/settings.hpp"
#include "quic/stream_state.hpp"
#include "quic/transport_error.hpp"
#include "tls/peer_names.hpp"

namespace crosslink::quic::detail {

// --- client side

Task<void> ConnectionState::connect(HQUIC registration, HandlePointer configuration, Address address,
                                    std::string server_name) {
  auto keep = shared_from_this();
  client_ = true;
  remote_ = address;
  server_name_ = std::move(server_name);
  HQUIC raw = nullptr;
  if (const auto status = api_->ConnectionOpen(registration, &ConnectionState::callback, this, &raw);
      QUIC_FAILED(status)) {
    co_return local_failure("cannot open a connection", status);
  }
  auto handle = connection_handle(api_, raw);
  const QUIC_ADDR remote = to_transport(address);
  if (const auto status = api_->SetParam(raw, QUIC_PARAM_CONN_REMOTE_ADDRESS, sizeof(remote), &remote);
      QUIC_FAILED(status)) {
    co_return local_failure("cannot set the address", status);
  }
  {
    const std::scoped_lock lock(mutex_);
    handle_ = handle;
    self_ = keep;
  }
  const QUIC_ADDRESS_FAMILY family = address.address().is_v6() ? AF_INET6 : AF_INET;
  const auto status = api_->ConnectionStart(raw, configuration->raw(), family, server_name_.c_str(), address.port());
  if (QUIC_FAILED(status)) {
    end(local_failure(fmt::format("cannot dial {}", to_text(address)), status), {});
    const std::scoped_lock lock(mutex_);
    handle_.reset();
    self_.reset();
    co_return *end_reason_;
  }
  for (;;) {
    std::unique_lock lock(mutex_);
    if (end_reason_) co_return *end_reason_;
    if (connected_) co_return Result<void>{};
    const bool woken = co_await connect_waiters_.wait(std::move(lock));
    if (!woken) {
      close(normal_close_code);
      co_return MirrorError::cancelled("dialling");
    }
  }
}

// --- server side

QUIC_STATUS ConnectionState::adopt(HQUIC raw, HQUIC configuration, Address remote, std::function<void(bool)> on_ready,
                                   std::function<void(const Address&, const MirrorError&)> on_refused) {
  remote_ = remote;
  api_->SetCallbackHandler(raw, reinterpret_cast<void*>(&ConnectionState::callback), this);
  const auto status = api_->ConnectionSetConfiguration(raw, configuration);
  // On failure the transport keeps the handle and rejects the connection by itself.
  if (QUIC_FAILED(status)) return status;
  const std::scoped_lock lock(mutex_);
  handle_ = connection_handle(api_, raw);
  self_ = shared_from_this();
  on_ready_ = std::move(on_ready);
  on_refused_ = std::move(on_refused);
  return QUIC_STATUS_SUCCESS;
}

// --- streams

Task<std::shared_ptr<StreamState>> ConnectionState::open_stream(bool bidirectional) {
  auto keep = shared_from_this();
  auto connection = handle();
  if (auto reason = end_reason()) co_return *reason;
  if (!connection) co_return closed_locally_error();
  auto stream = std::make_shared<StreamState>(
      keep, bidirectional ? StreamState::Directions::both : StreamState::Directions::send_only);
  if (auto started = co_await stream->start(std::move(connection)); !started) co_return started.error();
  co_return stream;
}

Task<std::shared_ptr<StreamState>> ConnectionState::accept_stream(bool bidirectional) {
  auto keep = shared_from_this();
  auto& queue = bidirectional ? bidi_streams_ : uni_streams_;
  for (;;) {
    std::unique_lock lock(mutex_);
    if (!queue.empty()) {
      auto stream = std::move(queue.front());
      queue.pop_front();
      co_return stream;
    }
    if (end_reason_) co_return *end_reason_;
    const bool woken = co_await stream_waiters_.wait(std::move(lock));
    if (!woken) co_return MirrorError::cancelled("waiting for a stream");
  }
}

void ConnectionState::forget(const StreamState* stream) {
  // A peer that opens and resets streams faster than we accept them must not fill the queue: an ended stream leaves it.
  std::shared_ptr<StreamState> dropped;
  const std::scoped_lock lock(mutex_);
  for (auto* queue : {&bidi_streams_, &uni_streams_}) {
    const auto found =
        std::find_if(queue->begin(), queue->end(), [&](const auto& waiting) { return waiting.get() == stream; });
    if (found != queue->end() && !end_reason_) {
      dropped = std::move(*found);
      queue->erase(found);
    }
  }
}

void ConnectionState::set_streams_allowed(std::uint16_t count) {
  const auto connection = handle();
  if (!connection) return;
  QUIC_SETTINGS settings{};
  settings.PeerBidiStreamCount = count;
  settings.IsSet.PeerBidiStreamCount = 1;
  api_->SetParam(connection->raw(), QUIC_PARAM_CONN_SETTINGS, sizeof(settings), &settings);
}

// --- ending

bool ConnectionState::end(MirrorError reason, std::optional<std::uint64_t> code) {
  const std::scoped_lock lock(mutex_);
  if (end_reason_) return false;
  end_reason_ = std::move(reason);
  close_code_ = code;
  connect_waiters_.notify_all();
  stream_waiters_.notify_all();
  end_waiters_.notify_all();
  return true;
}

void ConnectionState::close(std::uint64_t code) {
  const auto connection = handle();
  // The transport would let a second code replace the first while that is still on its way.
  if (!end(closed_locally_error(), code) || !connection) return;
  auto flags = QUIC_CONNECTION_SHUTDOWN_FLAG_NONE;
  {
    const std::scoped_lock lock(mutex_);
    if (!shut_down_) closing_ = api_.open_handles->closing();
    // A source that never answered would not acknowledge a close either; waiting for that would hold up the process's
    // end.
    if (client_ && !connected_) flags = QUIC_CONNECTION_SHUTDOWN_FLAG_SILENT;
  }
  api_->ConnectionShutdown(connection->raw(), flags, code);
}

Task<void> ConnectionState::closed() {
  auto keep = shared_from_this();
  for (;;) {
    std::unique_lock lock(mutex_);
    if (end_reason_) co_return Result<void>{};
    const bool woken = co_await end_waiters_.wait(std::move(lock));
    if (!woken) co_return MirrorError::cancelled("waiting for the end of a connection");
  }
}

std::optional<MirrorError> ConnectionState::end_reason() const {
  const std::scoped_lock lock(mutex_);
  return end_reason_;
}

std::optional<std::uint64_t> ConnectionState::close_code() const {
  const std::scoped_lock lock(mutex_);
  return close_code_;
}

HandlePointer ConnectionState::handle() const {
  const std::scoped_lock lock(mutex_);
  return handle_;
}

// --- callbacks: copy facts and post, nothing more

QUIC_STATUS ConnectionState::callback(HQUIC, void* context, QUIC_CONNECTION_EVENT* event) {
  // A copy, because SHUTDOWN_COMPLETE lets go of the state's own reference.
  const auto self = static_cast<ConnectionState*>(context)->shared_from_this();
  return self->on_event(*event);
}

QUIC_STATUS ConnectionState::on_event(QUIC_CONNECTION_EVENT& event) {
  switch (event.Type) {
    case QUIC_CONNECTION_EVENT_PEER_CERTIFICATE_RECEIVED: return on_certificate(event);
    case QUIC_CONNECTION_EVENT_CONNECTED: on_connected(event); return QUIC_STATUS_SUCCESS;
    case QUIC_CONNECTION_EVENT_PEER_STREAM_STARTED: on_stream(event); return QUIC_STATUS_SUCCESS;
    case QUIC_CONNECTION_EVENT_SHUTDOWN_INITIATED_BY_TRANSPORT: {
      const auto& shutdown = event.SHUTDOWN_INITIATED_BY_TRANSPORT;
      const auto context = shutdown_context();
      end(transport_shutdown_error(shutdown.Status, shutdown.ErrorCode, context), {});
      return QUIC_STATUS_SUCCESS;
    }
    case QUIC_CONNECTION_EVENT_SHUTDOWN_INITIATED_BY_PEER: {
      const auto code = event.SHUTDOWN_INITIATED_BY_PEER.ErrorCode;
      end(closed_by_peer_error(code, to_text(remote_)), code);
      return QUIC_STATUS_SUCCESS;
    }
    case QUIC_CONNECTION_EVENT_SHUTDOWN_COMPLETE: on_shutdown_complete(); return QUIC_STATUS_SUCCESS;
    case QUIC_CONNECTION_EVENT_LOCAL_ADDRESS_CHANGED:
    case QUIC_CONNECTION_EVENT_PEER_ADDRESS_CHANGED:
    case QUIC_CONNECTION_EVENT_STREAMS_AVAILABLE:
    case QUIC_CONNECTION_EVENT_PEER_NEEDS_STREAMS:
    case QUIC_CONNECTION_EVENT_IDEAL_PROCESSOR_CHANGED:
    case QUIC_CONNECTION_EVENT_DATAGRAM_STATE_CHANGED:
    case QUIC_CONNECTION_EVENT_DATAGRAM_RECEIVED:
    case QUIC_CONNECTION_EVENT_DATAGRAM_SEND_STATE_CHANGED:
    case QUIC_CONNECTION_EVENT_RESUMED:
    case QUIC_CONNECTION_EVENT_RESUMPTION_TICKET_RECEIVED:
    case QUIC_CONNECTION_EVENT_RELIABLE_RESET_NEGOTIATED:
    case QUIC_CONNECTION_EVENT_ONE_WAY_DELAY_NEGOTIATED:
    case QUIC_CONNECTION_EVENT_NETWORK_STATISTICS:
      return QUIC_STATUS_SUCCESS;  // facts of the path, and features that are not in use
  }
  return QUIC_STATUS_NOT_SUPPORTED;
}

QUIC_STATUS ConnectionState::on_certificate(const QUIC_CONNECTION_EVENT& event) {
  // The transport has verified the chain up to our CA; whose certificate it is, is for us to judge: it knows no server
  // name rule as strict as ours. The verdict must be given here, and takes no I/O.
  const auto refuse = [this](std::string why) {
    const std::scoped_lock lock(mutex_);
    refusal_ = std::move(why);
    return QUIC_STATUS_BAD_CERTIFICATE;
  };
  const auto* certificate = static_cast<const QUIC_BUFFER*>(event.PEER_CERTIFICATE_RECEIVED.Certificate);
  if (certificate == nullptr || certificate->Length == 0) return refuse("it sent none");
  const auto read = tls::peer_certificate_of_der(std::as_bytes(std::span(certificate->Buffer, certificate->Length)));
  if (!read) return refuse(read.error().message());
  const auto& names = read->names;
  if (names.empty()) return refuse("it has no DNS name (wildcards and common names do not count)");
  if (client_ && std::none_of(names.begin(), names.end(),
                              [this](const std::string& name) { return equal_ignoring_case(name, server_name_); })) {
    return refuse(fmt::format("it is for {}, not for {}", fmt::join(names, ", "), server_name_));
  }
  if (denied_ && denied_->contains(read->serial))
    return refuse(fmt::format("the certificate with the serial {} is denied here (tls.denied_serials)", read->serial));
  peer_names_ = names;
  peer_not_after_ = read->not_after;
  peer_serial_ = read->serial;
  return QUIC_STATUS_SUCCESS;
}

// The transport doubles a stream's window each time it is drained within a round trip, as long as it is below the
// *setting* of the connection's window: a few fast streams that are read no more could so take all of what was promised
// to the connection, and control with it. What was promised stands by now; lowering the setting only ends the doubling.
void ConnectionState::hold_stream_windows() {
  const auto connection = handle();
  if (!connection) return;
  QUIC_SETTINGS settings{};
  settings.ConnFlowControlWindow = stream_window_bytes_;
  settings.IsSet.ConnFlowControlWindow = 1;
  const auto status = api_->SetParam(connection->raw(), QUIC_PARAM_CONN_SETTINGS, sizeof(settings), &settings);
  if (QUIC_SUCCEEDED(status)) return;
  end(local_failure("cannot hold the windows of streams", status), {});
  api_->ConnectionShutdown(connection->raw(), QUIC_CONNECTION_SHUTDOWN_FLAG_NONE, normal_close_code);
}

void ConnectionState::on_connected(const QUIC_CONNECTION_EVENT& event) {
  hold_stream_windows();
  std::function<void(bool)> ready;
  {
    const std::scoped_lock lock(mutex_);
    connected_ = true;
    established_at_ = std::chrono::steady_clock::now();
    alpn_.assign(reinterpret_cast<const char*>(event.CONNECTED.NegotiatedAlpn), event.CONNECTED.NegotiatedAlpnLength);
    connect_waiters_.notify_all();
    ready = on_ready_;
  }
  if (ready) ready(true);
}

void ConnectionState::on_stream(const QUIC_CONNECTION_EVENT& event) {
  const bool bidirectional = !(event.PEER_STREAM_STARTED.Flags & QUIC_STREAM_OPEN_FLAG_UNIDIRECTIONAL);
  auto stream = std::make_shared<StreamState>(
      shared_from_this(), bidirectional ? StreamState::Directions::both : StreamState::Directions::receive_only);
  stream->adopt(handle(), event.PEER_STREAM_STARTED.Stream);
  const std::scoped_lock lock(mutex_);
  (bidirectional ? bidi_streams_ : uni_streams_).push_back(std::move(stream));
  stream_waiters_.notify_all();
}

ShutdownContext ConnectionState::shutdown_context() const {
  const std::scoped_lock lock(mutex_);
  return {client_, connected_, refusal_, to_text(remote_)};
}

void ConnectionState::on_shutdown_complete() {
  // Taken here, on the transport's own thread, where asking does not wait.
  const auto last = facts();
  HandlePointer handle;
  std::shared_ptr<ConnectionState> self;
  std::shared_ptr<void> closing;
  std::function<void(bool)> ready;
  std::function<void(const Address&, const MirrorError&)> refused;
  std::deque<std::shared_ptr<StreamState>> bidi;
  std::deque<std::shared_ptr<StreamState>> uni;
  end(closed_locally_error(), {});
  {
    const std::scoped_lock lock(mutex_);
    shut_down_ = true;
    last_facts_ = last;
    handle = std::move(handle_);
    self = std::move(self_);
    closing = std::move(closing_);
    ready = std::move(on_ready_);
    if (!connected_ && end_reason_->kind() == ErrorKind::TlsRefused) refused = std::move(on_refused_);
    bidi.swap(bidi_streams_);
    uni.swap(uni_streams_);
    end_waiters_.notify_all();
  }
  if (refused) refused(remote_, *end_reason());
  if (ready) ready(false);
}

// --- facts

ConnectionFacts ConnectionState::facts() const {
  const auto connection = handle();
  if (!connection) {
    const std::scoped_lock lock(mutex_);
    return last_facts_;
  }
  ConnectionFacts facts;
  read_transport_facts(*connection, facts);
  return facts;
}

void ConnectionState::read_transport_facts(const Handle& handle, ConnectionFacts& facts) const {
  facts.congestion = detail::to_string(congestion_);
  QUIC_STATISTICS_V2 statistics{};
  std::uint32_t size = sizeof(statistics);
  if (QUIC_SUCCEEDED(api_->GetParam(handle.raw(), QUIC_PARAM_CONN_STATISTICS_V2, &size, &statistics))) {
    facts.round_trip = std::chrono::microseconds(statistics.Rtt);
    facts.round_trip_min = std::chrono::microseconds(statistics.MinRtt);
    facts.handshake = std::chrono::microseconds(statistics.TimingHandshakeFlightEnd - statistics.TimingStart);
    facts.packets_sent = statistics.SendTotalPackets;
    facts.packets_received = statistics.RecvTotalPackets;
    facts.packets_lost = statistics.SendSuspectedLostPackets - statistics.SendSpuriousLostPackets;
    facts.bytes_sent = statistics.SendTotalBytes;
    facts.bytes_received = statistics.RecvTotalBytes;
    facts.congestion_window_bytes = statistics.SendCongestionWindow;
    facts.congestion_events = statistics.SendCongestionCount;
    facts.mtu = statistics.SendPathMtu;
  }
  QUIC_HANDSHAKE_INFO handshake{};
  size = sizeof(handshake);
  if (QUIC_SUCCEEDED(api_->GetParam(handle.raw(), QUIC_PARAM_TLS_HANDSHAKE_INFO, &size, &handshake))) {
    facts.tls_version = handshake.TlsProtocolVersion == QUIC_TLS_PROTOCOL_1_3 ? "TLS 1.3" : "unknown";
    switch (handshake.CipherSuite) {
      case QUIC_CIPHER_SUITE_TLS_AES_128_GCM_SHA256: facts.cipher_suite = "TLS_AES_128_GCM_SHA256"; break;
      case QUIC_CIPHER_SUITE_TLS_AES_256_GCM_SHA384: facts.cipher_suite = "TLS_AES_256_GCM_SHA384"; break;
      case QUIC_CIPHER_SUITE_TLS_CHACHA20_POLY1305_SHA256: facts.cipher_suite = "TLS_CHACHA20_POLY1305_SHA256"; break;
    }
  }
}

Address ConnectionState::address_parameter(std::uint32_t parameter) const {
  QUIC_ADDR address{};
  std::uint32_t size = sizeof(address);
  const auto connection = handle();
  if (connection && QUIC_SUCCEEDED(api_->GetParam(connection->raw(), parameter, &size, &address))) {
    return from_transport(address);
  }
  return {};
}

Address ConnectionState::remote_address() const { return remote_; }
Address ConnectionState::local_address() const { return address_parameter(QUIC_PARAM_CONN_LOCAL_ADDRESS); }

std::string ConnectionState::alpn() const {
  const std::scoped_lock lock(mutex_);
  return alpn_;
}

}  // namespace crosslink::quic::detail
