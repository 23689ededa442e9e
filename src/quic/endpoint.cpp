#include "crosslink/quic/endpoint.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "quic/connection_state.hpp"
#include "quic/endpoint_state.hpp"
#include "quic/settings.hpp"
#include "quic/transport_error.hpp"
#include "tls/credentials.hpp"

namespace crosslink::quic {
namespace detail {

Result<HandlePointer> load_configuration(const Api& api, HQUIC registration, const TransportSettings& transport,
                                         const QUIC_SETTINGS& settings, const TlsFiles& tls, bool client) {
  // The transport says only that loading failed; our own look at the files says which one and why.
  if (auto checked = tls::check_credentials(tls.ca, tls.cert, tls.key); !checked) return checked.error();
  const auto alpn = alpn_buffers(transport.alpn);
  HQUIC raw = nullptr;
  if (const auto status = api->ConfigurationOpen(registration, alpn.data(), static_cast<std::uint32_t>(alpn.size()),
                                                 &settings, sizeof(settings), nullptr, &raw);
      QUIC_FAILED(status)) {
    return local_failure("cannot use these transport settings", status);
  }
  auto configuration = configuration_handle(api, raw);
  const std::string ca = tls.ca.string();
  const std::string cert = tls.cert.string();
  const std::string key = tls.key.string();
  QUIC_CERTIFICATE_FILE files{key.c_str(), cert.c_str()};
  QUIC_CREDENTIAL_CONFIG credential{};
  credential.Type = QUIC_CREDENTIAL_TYPE_CERTIFICATE_FILE;
  credential.CertificateFile = &files;
  credential.CaCertificateFile = ca.c_str();
  credential.Flags =
      QUIC_CREDENTIAL_FLAG_SET_CA_CERTIFICATE_FILE | QUIC_CREDENTIAL_FLAG_USE_TLS_BUILTIN_CERTIFICATE_VALIDATION |
      QUIC_CREDENTIAL_FLAG_INDICATE_CERTIFICATE_RECEIVED | QUIC_CREDENTIAL_FLAG_USE_PORTABLE_CERTIFICATES |
      (client ? QUIC_CREDENTIAL_FLAG_CLIENT : QUIC_CREDENTIAL_FLAG_REQUIRE_CLIENT_AUTHENTICATION);
  if (const auto status = api->ConfigurationLoadCredential(raw, &credential); QUIC_FAILED(status)) {
    return MirrorError::configuration(
        fmt::format("the TLS library refuses {} with {} and {}: {}", cert, key, ca, describe_status(status)));
  }
  return configuration;
}

namespace {

/// Changes when a file does, so that renewed certificates are picked up without a restart.
std::string stamp_of(const TlsFiles& tls) {
  return fmt::format("{}|{}|{}", tls::stamp_of_file(tls.ca), tls::stamp_of_file(tls.cert), tls::stamp_of_file(tls.key));
}

/// All that a configuration is made of but what the files hold.
std::string configuration_key(const ClientConfig& config) {
  const auto& transport = config.transport;
  std::string key = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}", config.tls.ca.string(), config.tls.cert.string(),
                                config.tls.key.string(), config.stream_window_bytes, config.bulk_streams,
                                to_string(transport.congestion), transport.idle_timeout.count(),
                                transport.keep_alive.count(), transport.mtu_max);
  key += fmt::format("|{}", transport.uni_streams_allowed);
  for (const auto& alpn : transport.alpn)
    key += fmt::format("|{}:{}", alpn.size(), alpn);
  return key;
}

}  // namespace

Result<HandlePointer> EndpointState::client_configuration(const ClientConfig& config) {
  if (auto checked = check(config); !checked) return checked.error();
  auto key = configuration_key(config);
  const std::scoped_lock lock(mutex_);
  const auto known = std::ranges::find(loaded_, key, &Loaded::key);
  auto stamp = stamp_of(config.tls);
  if (known != loaded_.end() && known->stamp == stamp) return known->configuration;
  auto configuration =
      load_configuration(api_, registration_, config.transport, client_settings(config), config.tls, true);
  // A certificate is often renewed before its key is: what was good goes on meanwhile.
  if (!configuration && known != loaded_.end()) return known->configuration;
  if (!configuration) return configuration.error();
  if (known != loaded_.end()) {
    loaded_.erase(known);
  } else if (loaded_.size() == loaded_max) {
    loaded_.pop_front();
  }
  loaded_.push_back({std::move(key), std::move(stamp), *configuration});
  return *configuration;
}

namespace {
constexpr std::chrono::milliseconds handles_wait{5'000};
}  // namespace

EndpointState::~EndpointState() {
  loaded_.clear();
  const auto deadline = std::chrono::steady_clock::now() + handles_wait;
  // RegistrationShutdown overtakes a ConnectionShutdown that was asked for just before: its code would replace the one
  // that tells the peer why. Those are let through first; what is still open after that gets the normal code.
  api_.open_handles->wait_for_none_closing(deadline);
  api_->RegistrationShutdown(registration_, QUIC_CONNECTION_SHUTDOWN_FLAG_NONE, normal_close_code);
  // RegistrationClose waits for every handle, without a bound. A reader that still holds a view keeps one open: rather
  // than hang for ever in a destructor, leave the transport to the end of the process.
  if (!api_.open_handles->wait_for_none(deadline)) return;
  api_->RegistrationClose(registration_);
  MsQuicClose(api_.table);
}

}  // namespace detail

Result<Endpoint> Endpoint::open() {
  const QUIC_API_TABLE* table = nullptr;
  if (const auto status = MsQuicOpen2(&table); QUIC_FAILED(status)) {
    return detail::local_failure("cannot start the QUIC transport", status);
  }
  const QUIC_REGISTRATION_CONFIG registration_config{"crosslink", QUIC_EXECUTION_PROFILE_TYPE_MAX_THROUGHPUT};
  HQUIC registration = nullptr;
  if (const auto status = table->RegistrationOpen(&registration_config, &registration); QUIC_FAILED(status)) {
    MsQuicClose(table);
    return detail::local_failure("cannot start the QUIC transport", status);
  }
  const detail::Api api{table, std::make_shared<detail::OpenHandles>()};
  return Endpoint(std::make_shared<detail::EndpointState>(api, registration));
}

namespace {

// The transport sends into the void until its handshake times out where the system knows at once that there is no way:
// an IPv6 address on a machine without IPv6, a line that is down. Connecting a UDP socket asks, and sends nothing.
Result<void> check_route(const Address& address) {
  const auto unreachable = [&address](int error) {
    return MirrorError::transport(TransportCause::unreachable, fmt::format("{} is unreachable from here ({})",
                                                                           to_text(address), std::strerror(error)));
  };
  const int probe = ::socket(address.address().is_v6() ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (probe < 0 && errno == EAFNOSUPPORT) return unreachable(errno);
  if (probe < 0) return detail::local_failure("cannot make a socket", static_cast<QUIC_STATUS>(errno));
  const int connected = ::connect(probe, address.data(), static_cast<socklen_t>(address.size()));
  const int error = connected == 0 ? 0 : errno;
  ::close(probe);
  if (error != 0) return unreachable(error);
  return {};
}

}  // namespace

Task<Connection> Endpoint::connect(Address address, std::string server_name, ClientConfig config) {
  auto state = state_;
  if (!is_dns_name(server_name)) {
    co_return MirrorError::configuration(
        fmt::format("'{}' is no DNS name: a cluster id must be one, such as prod-us", escape(server_name)));
  }
  if (address.address().is_unspecified()) {
    co_return MirrorError::configuration(
        fmt::format("{} is no address to dial: name the one the source listens at", to_text(address)));
  }
  auto configuration = state->client_configuration(config);
  if (!configuration) co_return configuration.error();
  if (auto reachable = check_route(address); !reachable) co_return reachable.error();
  auto connection = std::make_shared<detail::ConnectionState>(state->api(), config.transport,
                                                              config.stream_window_bytes, config.tls.denied);
  Connection handle(connection);  // closes it on every way out but the last
  auto connected = co_await connection->connect(state->registration(), *configuration, address, std::move(server_name));
  if (!connected) co_return connected.error();
  co_return handle;
}

Result<Listener> Endpoint::listen(Address address, const ServerConfig& config) {
  if (auto checked = detail::check(config); !checked) return checked.error();
  auto configuration = detail::load_configuration(state_->api(), state_->registration(), config.transport,
                                                  detail::server_settings(config), config.tls, false);
  if (!configuration) return configuration.error();
  auto listener = std::make_shared<detail::ListenerState>(state_, config, *configuration);
  if (auto started = listener->start(address); !started) return started.error();
  return Listener(std::move(listener));
}

}  // namespace crosslink::quic
