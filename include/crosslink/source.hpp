// The source's side of the link: judging a hello, and serving many mirrors.
//
// 1. quic::Endpoint::listen() gives a Listener
// 2. MirrorAcceptor answers each hello by the SourcePolicy, and runs your session for each mirror that is accepted;
//    DatabaseSource::serve (database_source.hpp) is the session of a database
// 3. stop() ends it; await run()
//
// handle_mirror_connection and judge_hello are its parts, for an acceptor of your own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "crosslink/backoff.hpp"
#include "crosslink/frame.hpp"
#include "crosslink/handshake.hpp"
#include "crosslink/quic/endpoint.hpp"

namespace crosslink {

/// What the ack says about a snapshot. Estimates for the mirror's operator: the session decides anew.
struct SnapshotDecision {
  Lsn snapshot_lsn = no_snapshot;
  std::uint64_t snapshot_bytes_total = 0;
};

/// A rule for SourcePolicy::decide_snapshot: a mirror below the latest snapshot's LSN is sent that snapshot, any other
/// none. `latest_snapshot` absent: there is no snapshot.
SnapshotDecision default_snapshot_decision(Lsn last_applied, const std::optional<SnapshotDecision>& latest_snapshot);

/// Which mirrors a source accepts, and for what. The functions are called on a strand of the handshake's, over the
/// executor that awaits handle_mirror_connection or MirrorAcceptor::run: they must not block, and must be safe to call
/// for several mirrors at once if that executor has several threads.
struct SourcePolicy {
  /// What this source calls its cluster. A mirror that means another is refused (ClusterIdMismatch); the mirror demands
  /// it as a DNS name of the source's certificate as well.
  ClusterId cluster_id = {};
  /// May a mirror with these certificate names (any of them counts) see this database, whether it exists or not? False:
  /// NotAuthorized. Asked before database_exists, so that only a mirror that may see a name learns whether it exists.
  /// Empty (the default): no mirror may see any.
  std::function<bool(std::span<const std::string> peer_names, const DatabaseId& database)> authorize = {};
  /// False: UnknownDatabase. Empty (the default): none exists.
  std::function<bool(const DatabaseId& database)> database_exists = {};
  /// What the ack says of a snapshot. Empty (the default): none exists, streaming goes on from last_applied + 1.
  std::function<SnapshotDecision(const MirrorHello& hello)> decide_snapshot = {};
  /// Asked last, for limits of your own: an error (Busy) refuses the mirror. Empty (the default): no limit beyond
  /// AcceptorLimits.
  std::function<std::optional<MirrorError>(const MirrorHello& hello, std::span<const std::string> peer_names)> admit =
      {};
  /// Bidirectional streams an accepted mirror may have open at once; its next one waits. Default 5: control, log,
  /// snapshot, one that ends while its successor begins, and verify. Raise it for sessions of your own with more
  /// streams; each may make the source hold control_payload_bytes_max, and the stream's receive window.
  std::uint16_t streams_after_acceptance = 5;
  /// For the hello, from the connection's standing on, and for each later stream's first frame. Raise it for lines
  /// whose round trip takes seconds; a connection that says nothing keeps its place in handshakes_max for so long.
  std::chrono::milliseconds hello_deadline = crosslink::hello_deadline;
};

/// The checks alone, in the order that mirrors of every implementation rely on: version, cluster id (without regard to
/// case), authorization, database, admit. No I/O. nullopt: accepted. The error (peer; Busy: us) is of the kind
/// ProtocolVersionMismatch, ClusterIdMismatch, NotAuthorized, UnknownDatabase, or what admit returned.
std::optional<MirrorError> judge_hello(const MirrorHello& hello, std::span<const std::string> peer_names,
                                       const SourcePolicy& policy);

/// A stream a mirror opened after its hello, with the request frame that must come first on it.
struct IncomingStream {
  Frame request;
  quic::BidiStream stream;
};

/// A mirror whose hello was accepted. A value that can be moved; its connection closes with the last handle to it.
struct AcceptedMirror {
  quic::Connection connection;
  MirrorHello hello;
  MirrorHelloAck ack;
  /// First LSN of the log to send: after the snapshot if one was announced, else last_applied + 1 (held at 2^64 - 1).
  Lsn stream_from;
  std::vector<std::string> peer_names;

  /// Next stream with its first frame read (at most control_payload_bytes_max, within hello_deadline of its arrival).
  /// Several streams may be on their way; one that is slow holds back no other. The observer role is enforced here: a
  /// voter-class frame is answered with an ack of code 0x02, the connection is closed with 0x02, and this returns
  /// ObserverRoleViolation. Skippable unknown kinds before the request are passed over. A stream that breaks the
  /// framing gets a Failure and is dropped; the session goes on. One at a time: a second call while one waits gets
  /// Busy. Call on a strand or a single thread. Errors: ObserverRoleViolation (peer); Busy (us); what ended the
  /// connection; Cancelled. Cancelled: nothing is lost, neither a stream nor what has come of its first frame.
  Task<IncomingStream> accept_stream();
  /// Answers a request of a kind that this source does not serve: a Failure naming the kind, then the end of the
  /// stream. Errors: as quic::SendStream::write. Cancelled: the stream is reset; the answer may be missing.
  static Task<void> refuse_kind(IncomingStream incoming);

  struct Streams;
  std::shared_ptr<Streams> streams;  ///< for the implementation
};

/// Takes the hello off a fresh connection, judges it, answers. On acceptance raises the streams allowed and returns the
/// mirror. On refusal sends the ack, waits until it is acknowledged or the mirror closes (refusal_linger at most),
/// closes with the wire code and returns that error. `policy` must live until this has ended.
/// Errors, the peer's: the kinds of judge_hello; ObserverRoleViolation for a voter-class first frame (answered with an
/// ack); HandshakeCodec (answered with an ack of its code). Timeout when no hello came within hello_deadline of the
/// connection's standing (closed with 0x11); what ended the connection; Cancelled. Cancelled: the connection is closed.
Task<AcceptedMirror> handle_mirror_connection(quic::Connection connection, const SourcePolicy& policy);

/// How much of a source mirrors may take. What is over a limit is refused with Busy, and tries again by itself.
struct AcceptorLimits {
  /// Accepted mirrors at once of one database by one certificate name (the first name of the certificate). Default 16:
  /// a cluster's few copies, and room for those that reconnect before their old connection is known to be dead.
  std::uint32_t mirrors_per_name_max = 16;
  /// Of all databases and names. Default 1,024. An idle mirror costs the source about 120 kB of memory, a busy one up
  /// to DatabaseSourceOptions::in_flight_bytes_max; lower it where memory is short, raise it with the file and memory
  /// limits of the process.
  std::uint32_t mirrors_max = 1024;
  /// Connections in the middle of their handshake; further ones wait in the transport's bounded queue
  /// (quic::ServerConfig::connections_max). Default 256: raise it where thousands of mirrors return at once.
  std::uint32_t handshakes_max = 256;
  /// Of those by one certificate name; one more is closed with 0x08 (Busy), so that one name's silent connections hold
  /// up no other's.
  std::uint32_t handshakes_per_name_max = 64;
};

/// What happened to one hello, for a log line. Text in it is escaped already.
struct HandshakeReport {
  quic::Address peer;
  std::vector<std::string> peer_names;
  std::string certificate_serial;     ///< in the form of quic::DeniedSerials
  std::optional<MirrorHello> hello;   ///< absent when none could be read
  std::optional<MirrorHelloAck> ack;  ///< present when accepted
  std::optional<MirrorError> error;   ///< present when refused or failed
  std::chrono::microseconds took{0};
};

/// Serves many mirrors at one listener: accepts, shakes hands with bounded concurrency, counts limits per name and in
/// total, runs a session for each accepted mirror and awaits their ends. stop(), reload(), local_address() and
/// mirrors() are for any thread.
class MirrorAcceptor {
 public:
  /// Runs one mirror's session until it ends; `mirror` lives as long. It must end soon after it is cancelled: run()
  /// waits for it. What it returns as an error is reported by on_session_end only. The mirror's connection is closed
  /// (0x00) after it returns.
  using Session = std::function<Task<void>(AcceptedMirror& mirror)>;
  /// Called on run()'s executor; they must not block.
  struct Callbacks {
    std::function<void(const HandshakeReport&)> on_handshake;                        ///< may be absent
    std::function<void(const AcceptedMirror&, const Result<void>&)> on_session_end;  ///< may be absent
  };
  /// Accepts nothing before run().
  MirrorAcceptor(quic::Listener listener, SourcePolicy policy, AcceptorLimits limits, Session session,
                 Callbacks callbacks = {});
  /// As stop(). run() may still be on its way out: it keeps what it needs.
  ~MirrorAcceptor();

  /// Serves until stop() or cancellation, then closes the listener, ends every handshake and session and returns when
  /// all have ended. Call once. All callbacks and sessions run on the executor that awaits it, which must be a strand
  /// or a single thread. Errors: none after stop(); NotConnected (us) when the listener was closed; Cancelled.
  /// Cancelled: the same orderly end as by stop(); connections that were waiting to be accepted are closed.
  Task<void> run();
  /// Idempotent; run() then returns. Does not wait.
  void stop();
  quic::Address local_address() const;
  /// As quic::Listener::reload: for mirrors from now on; those that are served stay.
  Result<void> reload(const quic::TlsFiles& tls);
  /// Accepted mirrors now.
  std::size_t mirrors() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// The session of a bare source: refuses every request by name until the mirror leaves. Errors: what ended the
/// connection, other than the mirror's leaving; ObserverRoleViolation; Cancelled. Cancelled: the connection stays open.
Task<void> refuse_all_requests(AcceptedMirror& mirror);

}  // namespace crosslink
