// Start here. CrossClusterLink is a mirror's link to its source cluster.
//
//   mirror                                                        source
//   CrossClusterLink --- QUIC, TLS 1.3, both certificates --->  MirrorAcceptor (source.hpp)
//     connect ---------- MirrorHello / MirrorHelloAck ---------   handle_mirror_connection
//     open_bidi_stream -------- sessions' streams -------------   AcceptedMirror::accept_stream
//
// 1. connect() once; a rejection returns at once.
// 2. open_bidi_stream() for whatever the session needs; note_progress() when data is safe at the mirror.
// 3. When anything fails: await the end of what you apply, then schedule_reconnect(position); it comes back with a
//    new ack or with an error that no retry can mend.
//
// Other headers: source.hpp (the other side), throttle.hpp, handshake.hpp and frame.hpp (bytes), error.hpp, quic/
// (transport).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "crosslink/awaitable.hpp"
#include "crosslink/backoff.hpp"
#include "crosslink/handshake.hpp"
#include "crosslink/quic/endpoint.hpp"
#include "crosslink/throttle.hpp"

namespace crosslink {

enum class LinkState : std::uint8_t { disconnected, connecting, connected, closed };
std::string_view to_string(LinkState state);

/// What an operator wants to see of a link that is trying.
struct RetryFacts {
  std::uint64_t attempts = 0;            ///< dials since the last established handshake
  std::uint64_t reconnects = 0;          ///< established handshakes after the first
  std::chrono::milliseconds backoff{0};  ///< before jitter, what the next wait is drawn from
  std::optional<std::chrono::steady_clock::time_point> next_attempt;  ///< while waiting
  std::optional<MirrorError> last_error;
};

/// One outbound connection from a mirror to its source: establishment, authentication by cluster id, reconnect with
/// exponential backoff, a throttle of bytes in flight. Thread safe. Coroutines started on it must end (close() makes
/// them) before it is destroyed.
class CrossClusterLink {
 public:
  /// Made disconnected; no I/O, nothing is checked yet. `source_addr` is HOST:PORT or several, comma separated; the
  /// next one is taken at each attempt and its name resolved anew; of a name with several addresses those that are
  /// unreachable are passed over, and each turn begins with the next. `endpoint` is a handle and is kept.
  CrossClusterLink(ClusterId source_cluster_id, DatabaseId source_database_id, std::string source_addr,
                   quic::Endpoint endpoint, quic::ClientConfig client_config, SendThrottle throttle = SendThrottle());
  /// Closes.
  ~CrossClusterLink();
  CrossClusterLink(const CrossClusterLink&) = delete;
  CrossClusterLink& operator=(const CrossClusterLink&) = delete;

  /// Shared with the snapshot and log sender or receiver. Reset by schedule_reconnect.
  SendThrottle throttle;

  const ClusterId& source_cluster_id() const;
  const DatabaseId& source_database_id() const;

  /// One attempt: QUIC + TLS, then the handshake on the first bidi stream, within handshake_deadline together.
  /// On success the link is connected. On any error nothing stays open and the link is disconnected; there is no
  /// backoff. Errors: AlreadyConnected while connected; Busy while another connect or schedule_reconnect runs;
  /// Cancelled after or during close(), or by cancellation; Configuration (addresses, files, a cluster id that is
  /// no DNS name, ids too long for a hello); what the source answered (ClusterIdMismatch, ObserverRoleViolation,
  /// ProtocolVersionMismatch, UnknownDatabase, NotAuthorized, Busy); TlsRefused; HandshakeCodec; ProtocolViolation;
  /// Transport; Timeout.
  Task<MirrorHelloAck> connect(Lsn last_applied_lsn);

  /// A new stream to the source. Waits until the source allows one more, delaying nobody else.
  /// Errors: NotConnected while disconnected (reconnect first), and when the connection ends while waiting: what ended
  /// it; Cancelled.
  Task<quic::BidiStream> open_bidi_stream();

  /// 1. marks Disconnected, closes the old connection, resets the throttle; if a session had been established without
  ///    note_progress(), doubles the backoff first; 2. sleeps the backoff with jitter; 3. dials and shakes hands; 4.
  ///    success: returns the ack; 5. failure: doubles the backoff, capped, goes to 2. An error that no retry can mend
  ///    returns at once.
  /// Await the end of whatever applies received data, and read the position, before calling this.
  /// Errors: Busy while another connect or schedule_reconnect runs; Cancelled; the hard kinds of error_rules().
  Task<MirrorHelloAck> schedule_reconnect(Lsn last_applied_lsn);

  /// Said by the session when durable rose, a snapshot chunk is on disk, or it was caught up for 30 s. Only this, not a
  /// mere handshake, sets the backoff back to its base. Without effect while disconnected.
  void note_progress();

  /// Ends everything: what waits returns Cancelled, the connection is closed with 0x00. Idempotent and final: later
  /// calls of connect and schedule_reconnect return Cancelled. Does not wait.
  void close();

  LinkState state() const;
  RetryFacts retry_facts() const;
  /// What the source answered in the last attempt, accepting or refusing, as it was sent: its text is not escaped.
  /// Empty when that attempt ended without an ack, or before the first.
  std::optional<MirrorHelloAck> last_ack() const;
  /// The connection, while connected: for its facts and for waiting on closed().
  std::optional<quic::Connection> connection() const;

  /// For the implementation.
  struct Impl;
  explicit CrossClusterLink(std::shared_ptr<Impl> impl);

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace crosslink
