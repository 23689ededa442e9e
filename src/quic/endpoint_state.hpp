// The registration and what is loaded for it.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "async/waiter.hpp"
#include "crosslink/quic/config.hpp"
#include "crosslink/quic/connection.hpp"
#include "crosslink/result.hpp"
#include "quic/library.hpp"

namespace crosslink::quic::detail {

/// Loads settings and certificates. `client` tells which side's rules hold.
Result<HandlePointer> load_configuration(const Api& api, HQUIC registration, const TransportSettings& transport,
                                         const QUIC_SETTINGS& settings, const TlsFiles& tls, bool client);

class EndpointState {
 public:
  EndpointState(Api api, HQUIC registration) : api_(std::move(api)), registration_(registration) {}
  ~EndpointState();
  EndpointState(const EndpointState&) = delete;
  EndpointState& operator=(const EndpointState&) = delete;

  /// Loaded once for equal settings and unchanged files; the one before when the changed files cannot be used.
  Result<HandlePointer> client_configuration(const ClientConfig& config);
  HQUIC registration() const { return registration_; }
  const Api& api() const { return api_; }

 private:
  struct Loaded {
    std::string key, stamp;
    HandlePointer configuration;
  };
  static constexpr std::size_t loaded_max = 16;

  const Api api_;
  const HQUIC registration_;
  std::mutex mutex_;
  std::deque<Loaded> loaded_;
};

/// Connections on their way from the transport to accept(). Callbacks hold this and not the listener, whose end they
/// must not become: it could be the endpoint's end as well, and that must not happen on a transport thread.
struct Inbox {
  explicit Inbox(std::uint32_t most) : connections_max(most) {}
  const std::uint32_t connections_max;
  std::mutex mutex;
  std::uint32_t connections = 0;  ///< in their handshake, waiting or accepted
  bool closed = false;
  std::deque<std::shared_ptr<ConnectionState>> ready;
  async::WaitList waiters;

  bool enter();
  void put(const std::shared_ptr<ConnectionState>& connection);
  void leave();
};

class ListenerState : public std::enable_shared_from_this<ListenerState> {
 public:
  ListenerState(std::shared_ptr<EndpointState> endpoint, ServerConfig config, HandlePointer configuration)
      : endpoint_(std::move(endpoint)),
        inbox_(std::make_shared<Inbox>(config.connections_max)),
        config_(std::move(config)),
        configuration_(std::move(configuration)) {}
  ~ListenerState() = default;
  ListenerState(const ListenerState&) = delete;
  ListenerState& operator=(const ListenerState&) = delete;

  Result<void> start(Address address);
  Address local_address() const { return local_; }
  Task<std::shared_ptr<ConnectionState>> accept();
  void close();
  Result<void> reload(const TlsFiles& tls);

 private:
  static QUIC_STATUS callback(HQUIC raw, void* context, QUIC_LISTENER_EVENT* event);
  QUIC_STATUS on_connection(const QUIC_LISTENER_EVENT& event);

  const std::shared_ptr<EndpointState> endpoint_;
  const std::shared_ptr<Inbox> inbox_;
  std::mutex mutex_;  ///< guards what follows
  ServerConfig config_;
  HandlePointer configuration_;
  HandlePointer handle_;
  Address local_;
};

}  // namespace crosslink::quic::detail
