// One connection between the transport's callbacks and our coroutines.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "async/waiter.hpp"
#include "crosslink/quic/config.hpp"
#include "crosslink/quic/connection.hpp"
#include "quic/library.hpp"
#include "quic/pacer.hpp"
#include "quic/transport_error.hpp"

namespace crosslink::quic::detail {

class ConnectionState : public std::enable_shared_from_this<ConnectionState> {
 public:
  ConnectionState(Api api, const TransportSettings& transport, std::uint32_t stream_window_bytes,
                  std::shared_ptr<const DeniedSerials> denied)
      : api_(std::move(api)),
        denied_(std::move(denied)),
        congestion_(transport.congestion),
        stream_window_bytes_(stream_window_bytes),
        pacer_(transport.rate_cap_bits_per_s) {}
  ~ConnectionState() = default;
  ConnectionState(const ConnectionState&) = delete;
  ConnectionState& operator=(const ConnectionState&) = delete;

  /// Client: dials and waits until connected.
  Task<void> connect(HQUIC registration, HandlePointer configuration, Address address, std::string server_name);
  /// Server: takes over a connection inside the listener's callback. `on_ready(true)` once the handshake is complete,
  /// `on_ready(false)` once, when the connection has ended, in either case.
  QUIC_STATUS adopt(HQUIC raw, HQUIC configuration, Address remote, std::function<void(bool ready)> on_ready,
                    std::function<void(const Address&, const MirrorError&)> on_refused);

  Task<std::shared_ptr<StreamState>> open_stream(bool bidirectional);
  Task<std::shared_ptr<StreamState>> accept_stream(bool bidirectional);
  void forget(const StreamState* stream);  ///< an unaccepted stream that has ended

  void set_streams_allowed(std::uint16_t count);
  void close(std::uint64_t code);
  Task<void> closed();
  std::optional<MirrorError> end_reason() const;
  std::optional<std::uint64_t> close_code() const;
  std::vector<std::string> const& peer_names() const { return peer_names_; }
  std::chrono::system_clock::time_point peer_not_after() const { return peer_not_after_; }
  const std::string& peer_serial() const { return peer_serial_; }
  Address remote_address() const;
  Address local_address() const;
  std::string alpn() const;
  std::chrono::steady_clock::time_point established_at() const {
    const std::scoped_lock lock(mutex_);
    return established_at_;
  }
  ConnectionFacts facts() const;

  Pacer& pacer() { return pacer_; }

 private:
  static QUIC_STATUS callback(HQUIC raw, void* context, QUIC_CONNECTION_EVENT* event);
  QUIC_STATUS on_event(QUIC_CONNECTION_EVENT& event);
  QUIC_STATUS on_certificate(const QUIC_CONNECTION_EVENT& event);
  void on_connected(const QUIC_CONNECTION_EVENT& event);
  void hold_stream_windows();
  void on_stream(const QUIC_CONNECTION_EVENT& event);
  void on_shutdown_complete();
  /// Notes how the connection ended; false when it had ended before.
  bool end(MirrorError reason, std::optional<std::uint64_t> code);
  HandlePointer handle() const;
  ShutdownContext shutdown_context() const;
  void read_transport_facts(const Handle& handle, ConnectionFacts& facts) const;
  Address address_parameter(std::uint32_t parameter) const;

  const Api api_;
  const std::shared_ptr<const DeniedSerials> denied_;  ///< null: none is denied
  const CongestionControl congestion_;
  const std::uint32_t stream_window_bytes_;
  Pacer pacer_;
  mutable std::mutex mutex_;
  HandlePointer handle_;
  std::shared_ptr<ConnectionState> self_;  ///< while the transport may call back
  std::function<void(bool)> on_ready_;
  std::function<void(const Address&, const MirrorError&)> on_refused_;  ///< null: no report

  bool client_ = false;
  std::string server_name_;
  Address remote_;
  // Written in the certificate event, before anybody can see the connection.
  std::vector<std::string> peer_names_;
  std::chrono::system_clock::time_point peer_not_after_;
  std::string peer_serial_;
  std::string refusal_;
  std::string alpn_;
  std::chrono::steady_clock::time_point established_at_;
  bool connected_ = false;
  async::WaitList connect_waiters_;

  std::deque<std::shared_ptr<StreamState>> bidi_streams_, uni_streams_;
  async::WaitList stream_waiters_;

  std::optional<MirrorError> end_reason_;
  std::optional<std::uint64_t> close_code_;
  bool shut_down_ = false;
  std::shared_ptr<void> closing_;  ///< from close() until the transport is done with it
  async::WaitList end_waiters_;
  ConnectionFacts last_facts_;
};

/// An Address in the transport's form and back.
QUIC_ADDR to_transport(const Address& address);
Address from_transport(const QUIC_ADDR& address);

}  // namespace crosslink::quic::detail
