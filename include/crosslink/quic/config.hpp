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

/// Default ALPN on both sides. A peer that offers none of those accepted is refused by TLS (TlsRefused), so that two
/// programs that speak different protocols over QUIC end with a reason.
inline constexpr const char* alpn_default = "crosslink/1";

enum class CongestionControl : std::uint8_t {
  bbr,    ///< for long lines with loss: 290-315 Mbit/s where CUBIC gives 10 (100 ms, 1 % loss, 500 Mbit/s)
  cubic,  ///< fair beside TCP on shared lines without much loss
};

/// Serial numbers of certificates that are let in no more, though the CA signed them and they have not expired. A
/// handshake with one is refused by either side from set() on; connections that stand are for their owner to end
/// (Connection::peer_certificate_serial). Share one object between the configs of a program. Thread safe.
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
  std::filesystem::path ca = {};    ///< the authorities that may sign the peer's certificate
  std::filesystem::path cert = {};  ///< ours, followed by intermediates if any
  std::filesystem::path key = {};   ///< ours; not encrypted
  /// Shared with the caller, who may change it at any time. Null (the default): none is denied.
  std::shared_ptr<const DeniedSerials> denied = nullptr;
};

/// What both sides can set. A value out of the range that is given here is a Configuration error (us) of connect() and
/// listen().
struct TransportSettings {
  /// Offered or accepted, best first; 1 to 255 bytes each. Default: alpn_default.
  std::vector<std::string> alpn{alpn_default};
  /// Default BBR. CUBIC on lines with little loss that TCP shares.
  CongestionControl congestion = CongestionControl::bbr;
  /// A connection on which nothing is heard for this long is dead; both sides agree on the smaller. Default 10 s; 100
  /// ms to 10 min. Raise it for lines that are silent for seconds, as satellites and mobile networks are; a peer that
  /// was killed is noticed that much later.
  std::chrono::milliseconds idle_timeout{10'000};
  /// A PING after this much silence, so that a dead peer is noticed within idle_timeout. Default 2.5 s; 0 turns it off
  /// and lets an idle connection die; 10 min is the most. Costs a packet each way.
  std::chrono::milliseconds keep_alive{2'500};
  /// Largest MTU to try, 1248 to 1500 (the transport's limits); path discovery goes up to it. Default 1500. Lower it on
  /// paths whose larger packets vanish without a word, as in some tunnels.
  std::uint16_t mtu_max = 1500;
  /// Unidirectional streams the peer may have open at once. Default 0: crosslink's own protocol uses none. Each may
  /// make us hold one stream's receive window.
  std::uint16_t uni_streams_allowed = 0;
  /// Outgoing rate to keep below, in bits per second; 0 (the default) is none. Name the line rate when it is known: BBR
  /// otherwise overruns a queue of one bandwidth-delay product. A stream then keeps up to 0.4 s of this rate (at most
  /// 64 MiB) in flight.
  std::uint64_t rate_cap_bits_per_s = 0;
};

/// The side that dials: the mirror. Worst-case receive memory per connection is connection_window_bytes().
struct ClientConfig {
  TlsFiles tls = {};
  TransportSettings transport = {};
  /// Receive window of each stream we open. A power of two (the transport's rule) of at least 64 KiB. One stream's
  /// throughput is at most this per round trip: the default, 32 MiB, carries 2.6 Gbit/s at 100 ms, and a lossy line
  /// needs several times what is on its way. Raise it for longer or faster lines; it never grows by itself, and is
  /// memory that a peer can fill.
  std::uint32_t stream_window_bytes = 32 * 1024 * 1024;
  /// How many bulk streams the connection window leaves room for. Default 4: log, snapshot, verify, and one that ends
  /// while its successor begins. More streams share the same window.
  std::uint32_t bulk_streams = 4;
  /// Never taken by bulk streams, so that control frames flow while the reader of every bulk stream has stopped.
  static constexpr std::uint32_t control_reserve_bytes = 1024 * 1024;
  /// Worst-case memory of a connection for what is received and not consumed: 129 MiB by default.
  std::uint64_t connection_window_bytes() const {
    return std::uint64_t{stream_window_bytes} * bulk_streams + control_reserve_bytes;
  }
};

/// The side that listens: the source. It receives little, so its windows are small: 1,000 mirrors cannot take more than
/// 1,000 * connection_window_bytes.
struct ServerConfig {
  TlsFiles tls = {};
  TransportSettings transport = {};
  /// Receive window of each stream; a power of two of at least 64 KiB, which is the default: requests are small. Raise
  /// it for sessions of your own in which the mirror sends much.
  std::uint32_t stream_window_bytes = 64 * 1024;
  /// Of a connection; at least stream_window_bytes. Default 512 KiB. Worst-case memory of one peer.
  std::uint32_t connection_window_bytes = 512 * 1024;
  /// Bidirectional streams a peer may have open before Connection::set_streams_allowed raises it. Default 1, the
  /// handshake's: a peer that is not accepted yet can use nothing else.
  std::uint16_t streams_before_acceptance = 1;
  /// QUIC handshakes and accepted connections together; one more is refused by the transport (the peer sees refused).
  /// Default 4,096. Raise it with AcceptorLimits::mirrors_max; each may take connection_window_bytes.
  std::uint32_t connections_max = 4096;
  /// A QUIC handshake that is not complete by then is dropped. Default 5 s; 100 ms to 10 min. Raise it for lines whose
  /// round trip takes seconds; a peer that says nothing keeps its place among connections_max for so long.
  std::chrono::milliseconds handshake_timeout{5'000};
  /// TLS refused a handshake (TlsRefused), over a certificate for the most part: accept() never hears of it. Called on
  /// a thread of the transport's, possibly after the listener has gone; it must not block. Null
  /// (the default): not called.
  std::function<void(const Address& peer, const MirrorError& why)> on_refused = {};
};

}  // namespace crosslink::quic
