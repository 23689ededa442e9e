// Settings of QUIC connections. Each says its default, when to change it, and what it can cost.
#pragma once

#include <boost/asio/ip/udp.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "crosslink/error.hpp"

namespace crosslink::quic {

using Address = boost::asio::ip::udp::endpoint;

/// Default ALPN on both sides. Another implementation may use its own. Contract.
inline constexpr const char* alpn_default = "crosslink/1";

enum class CongestionControl : std::uint8_t {
  bbr,    ///< for long lines with loss: 290-315 Mbit/s where CUBIC gives 10 (100 ms, 1 % loss, 500 Mbit/s)
  cubic,  ///< fair beside TCP on shared lines without much loss
};

/// Serial numbers of certificates that are let in no more, though the CA signed them and they have not expired. A
/// handshake with one is refused by either side from set() on; connections that stand are for their owner to end
/// (Connection::peer_certificate_serial). Thread safe.
class DeniedSerials {
 public:
  /// In place of those that were set before. Upper-case hexadecimal, without colons and leading zeros.
  void set(std::set<std::string> serials);
  bool contains(const std::string& serial) const;

 private:
  mutable std::mutex mutex_;
  std::set<std::string> serials_;
};

/// PEM files. TLS 1.3, mutual, always: there is no way to leave one out. A connection that is dialled reads them again
/// when one has changed; when they cannot be used then, it goes on with those that it read before, if it did. A
/// listener reads them at Listener::reload.
struct TlsFiles {
  std::filesystem::path ca;    ///< who may sign the peer's certificate
  std::filesystem::path cert;  ///< ours, followed by intermediates if any
  std::filesystem::path key;   ///< ours; not encrypted
  /// Shared with whoever changes it. Null: none is denied.
  std::shared_ptr<const DeniedSerials> denied = nullptr;
};

/// What both sides can set.
struct TransportSettings {
  std::vector<std::string> alpn{alpn_default};  ///< offered or accepted, best first; 1 to 255 bytes each
  CongestionControl congestion = CongestionControl::bbr;
  /// A connection on which nothing is heard for this long is dead; both sides agree on the smaller.
  /// 100 ms to 10 min.
  std::chrono::milliseconds idle_timeout{10'000};
  /// A PING after this much silence, so that a dead peer is noticed within idle_timeout; 0 turns it off, 10 min
  /// is the most.
  std::chrono::milliseconds keep_alive{2'500};
  /// Largest MTU to try, 1248 to 1500 (the transport's limits); path discovery goes up to it.
  std::uint16_t mtu_max = 1500;
  /// Unidirectional streams the peer may have open at once. crosslink's own protocol uses none.
  std::uint16_t uni_streams_allowed = 0;
  /// Outgoing rate to keep below, in bits per second; 0 is none. Name the line rate when it is known: BBR otherwise
  /// overruns a queue of one bandwidth-delay product. A stream then keeps up to 0.4 s of this rate (at most 64 MiB) in
  /// flight.
  std::uint64_t rate_cap_bits_per_s = 0;
};

/// The side that dials: the mirror. Worst-case receive memory per connection is connection_window_bytes().
struct ClientConfig {
  TlsFiles tls;
  TransportSettings transport;
  /// Receive window of each stream we open. A power of two (msquic's rule) of at least 64 KiB. One stream's throughput
  /// is at most this per round trip: 32 MiB carries 2.6 Gbit/s at 100 ms, and a lossy line needs several times what is
  /// on its way. It never grows by itself.
  std::uint32_t stream_window_bytes = 32 * 1024 * 1024;
  /// How many bulk streams the connection window leaves room for.
  std::uint32_t bulk_streams = 4;
  /// Never taken by bulk streams, so that control always flows. Design section 5.
  static constexpr std::uint32_t control_reserve_bytes = 1024 * 1024;
  std::uint64_t connection_window_bytes() const {
    return std::uint64_t{stream_window_bytes} * bulk_streams + control_reserve_bytes;
  }
};

/// The side that listens: the source. It receives little, so its windows are small: 1,000 mirrors cannot take more than
/// 1,000 * connection_window_bytes.
struct ServerConfig {
  TlsFiles tls;
  TransportSettings transport;
  std::uint32_t stream_window_bytes = 64 * 1024;       ///< power of two of at least 64 KiB
  std::uint32_t connection_window_bytes = 512 * 1024;  ///< at least stream_window_bytes
  /// Bidirectional streams a peer may have open before Connection::set_streams_allowed raises it. Contract: one.
  std::uint16_t streams_before_acceptance = 1;
  /// QUIC handshakes and accepted connections together; one more is refused by the transport. Bounds memory.
  std::uint32_t connections_max = 4096;
  std::chrono::milliseconds handshake_timeout{5'000};  ///< 100 ms to 10 min
  /// TLS refused a handshake (TlsRefused), over a certificate for the most part: accept() never hears of it. Called on
  /// a thread of the transport's, possibly after the listener has gone; it must not block. Null: nobody is told.
  std::function<void(const Address& peer, const MirrorError& why)> on_refused;
};

}  // namespace crosslink::quic
