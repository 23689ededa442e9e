#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "crosslink/quic/endpoint.hpp"
#include "quic/connection_state.hpp"
#include "quic/endpoint_state.hpp"
#include "quic/settings.hpp"
#include "quic/transport_error.hpp"

namespace crosslink::quic {
namespace detail {
namespace {

/// How long a listener waits for a port to become free. A listener that was closed moments ago leaves its port to the
/// transport's threads, which let go once the last of its connections is taken down (a millisecond or so; more on a
/// busy machine), and a program that is being restarted may still be on its way out.
constexpr std::chrono::milliseconds port_wait_max{250};
constexpr std::chrono::milliseconds port_wait_step{2};

/// The error of a plain bind to `address`, 0 when it can be bound.
Result<int> bind_error(const Address& address) {
  const int probe = ::socket(address.address().is_v6() ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return local_failure("cannot make a socket", static_cast<QUIC_STATUS>(errno));
  const int bound = ::bind(probe, address.data(), static_cast<socklen_t>(address.size()));
  const int error = bound == 0 ? 0 : errno;
  ::close(probe);
  return error;
}

// The transport binds with SO_REUSEPORT, one socket per processor, so a port that another process serves would be
// shared with it in silence and each would get some of the mirrors. A plain bind beforehand finds that out. It also
// finds an address that is not ours, with port 0 too: the transport itself would listen there and hear nothing.
Result<void> check_free(const Address& address) {
  const auto give_up = std::chrono::steady_clock::now() + port_wait_max;
  for (;;) {
    const auto error = bind_error(address);
    if (!error) return error.error();
    if (*error == 0) return {};
    if (*error != EADDRINUSE) {
      return MirrorError::configuration(
          fmt::format("cannot listen on {} ({}): give an address of this machine and a port this user may take",
                      to_text(address), std::strerror(*error)));
    }
    if (std::chrono::steady_clock::now() >= give_up) {
      return MirrorError::configuration(fmt::format(
          "cannot listen on {}: the port is in use; choose another or stop what uses it", to_text(address)));
    }
    std::this_thread::sleep_for(port_wait_step);
  }
}

}  // namespace

bool Inbox::enter() {
  const std::scoped_lock lock(mutex);
  if (closed || connections >= connections_max) return false;
  ++connections;
  return true;
}

void Inbox::put(const std::shared_ptr<ConnectionState>& connection) {
  {
    const std::scoped_lock lock(mutex);
    if (!closed) {
      ready.push_back(connection);
      waiters.notify_all();
      return;
    }
  }
  connection->close(normal_close_code);
}

void Inbox::leave() {
  const std::scoped_lock lock(mutex);
  --connections;
}

Result<void> ListenerState::start(Address address) {
  if (auto free = check_free(address); !free) return free;
  const Api api = endpoint_->api();
  HQUIC raw = nullptr;
  if (const auto status = api->ListenerOpen(endpoint_->registration(), &ListenerState::callback, this, &raw);
      QUIC_FAILED(status)) {
    return local_failure("cannot open a listener", status);
  }
  auto handle = listener_handle(api, raw);
  const auto alpn = alpn_buffers(config_.transport.alpn);
  const QUIC_ADDR local = to_transport(address);
  if (const auto status = api->ListenerStart(raw, alpn.data(), static_cast<std::uint32_t>(alpn.size()), &local);
      QUIC_FAILED(status)) {
    return MirrorError::configuration(
        fmt::format("cannot listen on {}: {}", to_text(address), describe_status(status)));
  }
  QUIC_ADDR bound{};
  std::uint32_t size = sizeof(bound);
  if (const auto status = api->GetParam(raw, QUIC_PARAM_LISTENER_LOCAL_ADDRESS, &size, &bound); QUIC_FAILED(status)) {
    return local_failure("cannot read the bound address", status);
  }
  const std::scoped_lock lock(mutex_);
  local_ = Address(address.address(), from_transport(bound).port());
  handle_ = std::move(handle);
  return {};
}

Task<std::shared_ptr<ConnectionState>> ListenerState::accept() {
  auto keep = shared_from_this();
  for (;;) {
    std::unique_lock lock(inbox_->mutex);
    if (!inbox_->ready.empty()) {
      auto connection = std::move(inbox_->ready.front());
      inbox_->ready.pop_front();
      co_return connection;
    }
    if (inbox_->closed) co_return MirrorError::not_connected("the listener is closed");
    const bool woken = co_await inbox_->waiters.wait(std::move(lock));
    if (!woken) co_return MirrorError::cancelled("accepting a connection");
  }
}

void ListenerState::close() {
  HandlePointer handle;
  {
    const std::scoped_lock lock(mutex_);
    handle = std::move(handle_);
  }
  std::deque<std::shared_ptr<ConnectionState>> unaccepted;
  {
    const std::scoped_lock lock(inbox_->mutex);
    inbox_->closed = true;
    unaccepted.swap(inbox_->ready);
    inbox_->waiters.notify_all();
  }
  for (const auto& connection : unaccepted)
    connection->close(normal_close_code);
}

Result<void> ListenerState::reload(const TlsFiles& tls) {
  const std::scoped_lock lock(mutex_);
  auto loaded = load_configuration(endpoint_->api(), endpoint_->registration(), config_.transport,
                                   server_settings(config_), tls, false);
  if (!loaded) return loaded.error();
  config_.tls = tls;
  configuration_ = *loaded;
  return {};
}

QUIC_STATUS ListenerState::callback(HQUIC, void* context, QUIC_LISTENER_EVENT* event) {
  // Closing the handle waits for running callbacks before the state can go, so the context is alive here.
  auto* self = static_cast<ListenerState*>(context);
  if (event->Type != QUIC_LISTENER_EVENT_NEW_CONNECTION) return QUIC_STATUS_SUCCESS;
  return self->on_connection(*event);
}

QUIC_STATUS ListenerState::on_connection(const QUIC_LISTENER_EVENT& event) {
  if (!inbox_->enter()) return QUIC_STATUS_CONNECTION_REFUSED;
  HandlePointer configuration;
  std::shared_ptr<const DeniedSerials> denied;
  std::function<void(const Address&, const MirrorError&)> on_refused;
  {
    const std::scoped_lock lock(mutex_);
    configuration = configuration_;
    on_refused = config_.on_refused;
    denied = config_.tls.denied;
  }
  const auto connection = std::make_shared<ConnectionState>(endpoint_->api(), config_.transport,
                                                            config_.stream_window_bytes, std::move(denied));
  const std::weak_ptr<ConnectionState> weak = connection;
  auto on_ready = [inbox = inbox_, weak](bool ready) {
    if (!ready) return inbox->leave();
    if (const auto accepted = weak.lock()) inbox->put(accepted);
  };
  const auto status = connection->adopt(event.NEW_CONNECTION.Connection, configuration->raw(),
                                        from_transport(*event.NEW_CONNECTION.Info->RemoteAddress), std::move(on_ready),
                                        std::move(on_refused));
  if (QUIC_FAILED(status)) inbox_->leave();
  return status;
}

}  // namespace detail

Listener::~Listener() {
  if (state_) state_->close();
}

Listener& Listener::operator=(Listener&& other) noexcept {
  if (state_ && state_ != other.state_) state_->close();
  state_ = std::move(other.state_);
  return *this;
}

Address Listener::local_address() const { return state_->local_address(); }

Task<Connection> Listener::accept() {
  auto state = state_;
  auto connection = co_await state->accept();
  if (!connection) co_return connection.error();
  co_return Connection(*connection);
}

void Listener::close() { state_->close(); }
Result<void> Listener::reload(const TlsFiles& tls) { return state_->reload(tls); }

}  // namespace crosslink::quic
