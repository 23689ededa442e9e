// Endpoint: where QUIC connections are made and accepted.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "crosslink/quic/config.hpp"
#include "crosslink/quic/connection.hpp"

namespace crosslink::quic {

namespace detail {
class EndpointState;
class ListenerState;
}  // namespace detail

/// Accepts connections at one UDP port. Move-only; dropping it is close(). It keeps its endpoint alive. Thread safe,
/// but for moving.
class Listener {
 public:
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) noexcept;
  ~Listener();
  /// The bound address with the real port.
  Address local_address() const;
  /// Next connection whose TLS handshake is complete: certificate of our CA, with at least one DNS name, ALPN agreed.
  /// Connections that fail before that are never seen here (ServerConfig::on_refused). Errors: NotConnected (us) after
  /// close(); Cancelled. Cancelled: the connection stays for the next call, nothing is lost.
  Task<Connection> accept();
  /// Takes no more connections; those accepted live on. Idempotent. Blocks until the transport has let go
  /// (milliseconds). Not from a thread of the transport's.
  void close();
  /// Uses new certificate files (or the same, changed ones) for connections from now on; blocks while it reads them.
  /// Errors: Configuration (us); the old ones stay in use then.
  Result<void> reload(const TlsFiles& tls);

 private:
  friend class Endpoint;
  explicit Listener(std::shared_ptr<detail::ListenerState> state) : state_(std::move(state)) {}
  std::shared_ptr<detail::ListenerState> state_;
};

/// Copies are handles to one endpoint. It owns the transport's worker threads (one per processor). The last handle must
/// go before main() ends and not on a transport thread; going closes every connection and waits for that
/// (milliseconds). Thread safe.
class Endpoint {
 public:
  /// Errors (us): Transport/local_failure when the transport cannot start.
  static Result<Endpoint> open();

  /// Dials. `server_name` is demanded as a DNS name of the source's certificate (exact, case folded; no wildcard, no
  /// common name). Errors: Configuration (files, settings, an address that cannot be dialled), TlsRefused (either
  /// side), Transport with unreachable, refused, handshake_timeout or what ended it, Cancelled. The transport gives
  /// up after about ten seconds (handshake_timeout); wrap the call for another deadline. Cancelled: nothing stays open.
  Task<Connection> connect(Address address, std::string server_name, ClientConfig config);

  /// Blocks for up to 250 ms while the port is in use: a listener closed just before leaves it to the transport, which
  /// lets go when the last of its connections is taken down. Errors (us): Configuration (settings out of range, files
  /// unusable, address in use or not this machine's); Transport/local_failure.
  Result<Listener> listen(Address address, const ServerConfig& config);

 private:
  explicit Endpoint(std::shared_ptr<detail::EndpointState> state) : state_(std::move(state)) {}
  std::shared_ptr<detail::EndpointState> state_;
};

/// "host:port", "1.2.3.4:port" or "[v6]:port", split. Errors: Configuration.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
Result<HostPort> parse_host_port(std::string_view text);
/// Resolves anew each time: every address, each once, the system's first choice first; at least one, at most 16. The
/// lookup has a thread of its own: a caller that gives up does not wait for a resolver that hangs. Errors:
/// Transport/unresolved (also when 64 lookups hang already), Cancelled. Cancelled: the lookup ends by itself, unheard.
Task<std::vector<Address>> resolve_all(HostPort host_port);
/// The first of them. Errors and cancellation as resolve_all.
Task<Address> resolve(HostPort host_port);

}  // namespace crosslink::quic
