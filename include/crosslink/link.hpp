// Start here. CrossClusterLink is a mirror's link to its source cluster.
//
//   mirror                                                        source
//   CrossClusterLink --- QUIC, TLS 1.3, both certificates --->  MirrorAcceptor (source.hpp)
//     connect ---------- MirrorHello / MirrorHelloAck ---------   handle_mirror_connection
//     open_bidi_stream -------- sessions' streams -------------   AcceptedMirror::accept_stream
//
// 1. connect() once; a rejection returns at once.
// 2. open_bidi_stream() for each stream that the session needs; note_progress() when data is safe at the mirror.
// 3. When anything fails: await the end of what you apply, then schedule_reconnect(position); it comes back with a
//    new ack or with an error that no retry can mend.
//
// Mirror (mirror.hpp) does all of this for a database; use the link alone for a session of your own.
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

/// While schedule_reconnect() waits for its next attempt the state is disconnected; closed is final.
enum class LinkState : std::uint8_t { disconnected, connecting, connected, closed };
std::string_view to_string(LinkState state);

/// For an operator: how often a link has tried to connect, and when it tries again.
struct RetryFacts {
  std::uint64_t attempts = 0;            ///< dials since the last established handshake
  std::uint64_t reconnects = 0;          ///< established handshakes after the first
  std::chrono::milliseconds backoff{0};  ///< before jitter, what the next wait is drawn from
  std::optional<std::chrono::steady_clock::time_point> next_attempt;  ///< absent: none is scheduled
  std::optional<MirrorError> last_error;  ///< of the last attempt that failed; absent: none has
};

/// One outbound connection from a mirror to its source: establishment, authentication by cluster id, reconnect with
/// exponential backoff, a throttle of bytes in flight. Thread safe. Its coroutines keep what they need of it: it may be
/// destroyed while they run, which closes it, and they then return Cancelled.
class CrossClusterLink {
 public:
  /// Made disconnected; no I/O, nothing is checked yet. `source_addr` is HOST:PORT or several, comma separated; the
  /// next one is taken at each attempt and its name resolved anew; of a name with several addresses those that are
  /// unreachable are passed over, and each turn begins with the next. `endpoint` is a handle and is kept.
  /// `client_config`: its certificate files are looked at again at each attempt. `throttle`: pass one to set its cap,
  /// or to share it.
  CrossClusterLink(ClusterId source_cluster_id, DatabaseId source_database_id, std::string source_addr,
                   quic::Endpoint endpoint, quic::ClientConfig client_config, SendThrottle throttle = SendThrottle());
  /// As close().
  ~CrossClusterLink();
  CrossClusterLink(const CrossClusterLink&) = delete;
  CrossClusterLink& operator=(const CrossClusterLink&) = delete;

  /// Shared with what sends or receives on this link's streams. Reset by schedule_reconnect.
  SendThrottle throttle;

  const ClusterId& source_cluster_id() const;
  const DatabaseId& source_database_id() const;

  /// One attempt: QUIC + TLS, then the handshake on the first bidi stream, within handshake_deadline together. On
  /// success the link is connected. On any error nothing stays open and the link is disconnected; there is no backoff.
  /// `last_applied_lsn`: what the hello says; 0: nothing yet. Errors, ours: AlreadyConnected while connected; Busy
  /// while another connect or schedule_reconnect runs; Configuration (addresses, certificate files, a cluster id that
  /// is no DNS name, ids too long for a hello); Cancelled after or during close(), or by cancellation. The peer's: what
  /// the source answered (ClusterIdMismatch, ObserverRoleViolation, ProtocolVersionMismatch, UnknownDatabase,
  /// NotAuthorized, Busy); HandshakeCodec and ProtocolViolation for an answer that is none. Either side's: TlsRefused.
  /// The line's: Transport; Timeout after handshake_deadline. Cancelled: nothing stays open and the link is
  /// disconnected, unless the handshake was done by then, which is returned.
  Task<MirrorHelloAck> connect(Lsn last_applied_lsn);

  /// A new stream to the source. Waits until the source allows one more; other streams go on meanwhile. Nothing is sent
  /// before the first write. Errors: NotConnected (us) while disconnected: reconnect first; what ended the connection,
  /// when that happens while it waits; Cancelled. Cancelled: no stream is open, nothing is lost.
  Task<quic::BidiStream> open_bidi_stream();

  /// 1. marks disconnected, closes the old connection, resets the throttle; if a session had been established without
  ///    note_progress(), doubles the backoff first; 2. sleeps the backoff with jitter; 3. dials and shakes hands; 4.
  ///    success: returns the ack; 5. failure: doubles the backoff, capped, goes to 2. An error that no retry can mend
  ///    returns at once.
  /// Await the end of what applies received data, and read the position, before calling this: `last_applied_lsn` is
  /// what each hello says. It may try for ever: retry_facts() shows how it goes. Errors: Busy (us) while another
  /// connect or schedule_reconnect runs; Configuration, as connect(); the kinds whose rule in error_rules() is
  /// InReconnect::hard; Cancelled by close() and by cancellation. Cancelled: the link is disconnected, and what the
  /// backoff had grown to stays; call it again to go on.
  Task<MirrorHelloAck> schedule_reconnect(Lsn last_applied_lsn);

  /// Say so when the mirror's durable LSN rose, when a snapshot chunk is on disk, or when it has been caught up for 30
  /// s. Only this, not a mere handshake, sets the backoff back to its base: else a source that accepts and fails at
  /// once would be dialled without end. Without effect while disconnected.
  void note_progress();

  /// Ends everything: what waits returns Cancelled, the connection is closed with 0x00. Idempotent and final: later
  /// calls of connect and schedule_reconnect return Cancelled. Does not wait.
  void close();

  /// As of now: a connection that has just ended shows as disconnected.
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
