// A QUIC connection. Made by Endpoint::connect or Listener::accept.
#pragma once

#include <boost/asio/ip/udp.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "crosslink/quic/config.hpp"
#include "crosslink/quic/stream.hpp"

namespace crosslink::quic {

namespace detail {
class ConnectionState;
}

/// "1.2.3.4:port" or "[v6]:port": parse_host_port takes it.
std::string to_text(const Address& address);

/// What the transport measures, at one instant; after the end of the connection: the last values.
struct ConnectionFacts {
  std::chrono::microseconds round_trip{0};  ///< smoothed
  std::chrono::microseconds round_trip_min{0};
  std::chrono::microseconds handshake{0};  ///< first packet to connected
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_received = 0;
  std::uint64_t packets_lost = 0;  ///< suspected minus found spurious
  std::uint64_t bytes_sent = 0;    ///< UDP payloads
  std::uint64_t bytes_received = 0;
  std::uint32_t congestion_window_bytes = 0;
  std::uint32_t congestion_events = 0;
  std::uint16_t mtu = 0;
  std::string tls_version;   ///< "TLS 1.3"
  std::string cipher_suite;  ///< for instance "TLS_AES_256_GCM_SHA384"
  std::string congestion;    ///< "bbr" or "cubic"
};

/// Copies are handles to one connection. When the last handle goes, the connection is closed with code 0x00 and its
/// streams with it; streams alone do not keep it open. Thread safe.
class Connection {
 public:
  // The coroutines below keep what they need of the connection, but do not keep it open: when the last handle goes
  // while they wait, they return closed_locally. "What ended the connection" is end_reason().

  /// Waits until the peer allows one more stream, while others go on, then opens it. Nothing is sent until the first
  /// write. Errors: what ended the connection; Cancelled. Cancelled: no stream was opened, nothing is lost.
  Task<BidiStream> open_bidi_stream();
  Task<SendStream> open_uni_stream();
  /// Next stream that the peer opened, in the order they arrived. At most the number allowed wait here.
  /// Errors: what ended the connection; Cancelled. Cancelled: the stream stays for the next call, nothing is lost.
  Task<BidiStream> accept_bidi_stream();
  Task<RecvStream> accept_uni_stream();

  /// How many bidirectional streams the peer may have open at once. Can only be raised usefully: what was allowed
  /// stays.
  void set_streams_allowed(std::uint16_t count);

  /// Starts to close with an application code; everything waiting returns closed_locally. Idempotent: the first code
  /// counts.
  void close(std::uint64_t code);
  /// Waits until the connection has ended, by either side or the line; end_reason() then says how. Errors: Cancelled.
  /// Cancelled: nothing is lost.
  Task<void> closed();
  /// How it ended, and what caused that (Transport or TlsRefused); empty while it stands.
  std::optional<MirrorError> end_reason() const;
  /// Application code that closed it, by the peer or by us; empty while it stands and for every other end.
  std::optional<std::uint64_t> close_code() const;

  /// DNS names of the peer's certificate (subjectAltName only; wildcards left out), lower-case, in its order. Never
  /// empty.
  const std::vector<std::string>& peer_names() const;
  /// The last second in which the peer's certificate is valid. A connection that stands is not ended by it.
  std::chrono::system_clock::time_point peer_certificate_not_after() const;
  /// The serial number of the peer's certificate, in the form of DeniedSerials.
  const std::string& peer_certificate_serial() const;
  Address remote_address() const;
  Address local_address() const;
  std::string alpn() const;
  /// When TLS was done and the peer known.
  std::chrono::steady_clock::time_point established_at() const;
  ConnectionFacts facts() const;

  /// For the implementation.
  explicit Connection(std::shared_ptr<detail::ConnectionState> state);

 private:
  struct Handle;
  std::shared_ptr<Handle> handle_;
};

}  // namespace crosslink::quic
