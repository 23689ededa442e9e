// The source's side of the link: judging a hello, and serving many mirrors.
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

/// What the ack says about a snapshot: estimates.
struct SnapshotDecision {
  Lsn snapshot_lsn = no_snapshot;
  std::uint64_t snapshot_bytes_total = 0;
};

/// The other implementation's rule: last_applied below the latest snapshot's LSN means that snapshot, else none.
SnapshotDecision default_snapshot_decision(Lsn last_applied, const std::optional<SnapshotDecision>& latest_snapshot);

/// Whom and what a source accepts. The functions are called on the executor of whoever runs handle_mirror_connection,
/// must not block, and must be safe to call for several mirrors at once if that executor has several threads.
struct SourcePolicy {
  ClusterId cluster_id;
  /// May a mirror with these certificate names (any of them counts) see this database, whether it exists or not?
  std::function<bool(std::span<const std::string> peer_names, const DatabaseId& database)> authorize;
  std::function<bool(const DatabaseId& database)> database_exists;
  /// Absent: no snapshot exists, streaming from last_applied + 1.
  std::function<SnapshotDecision(const MirrorHello& hello)> decide_snapshot;
  /// Asked last, for limits: an error (Busy) refuses the mirror. Absent: no limit.
  std::function<std::optional<MirrorError>(const MirrorHello& hello, std::span<const std::string> peer_names)> admit;
  /// Bidirectional streams an accepted mirror may have open at once: 4 and one for verify. Design section 5.
  std::uint16_t streams_after_acceptance = 5;
  std::chrono::milliseconds hello_deadline = crosslink::hello_deadline;
};

/// The checks alone, in contract order: version, cluster id (without regard to case), authorization, database, admit.
/// No I/O. nullopt: accepted.
std::optional<MirrorError> judge_hello(const MirrorHello& hello, std::span<const std::string> peer_names,
                                       const SourcePolicy& policy);

/// A stream a mirror opened after its hello, with the request frame that must come first on it.
struct IncomingStream {
  Frame request;
  quic::BidiStream stream;
};

/// A mirror whose hello was accepted.
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
  /// framing gets a Failure and is dropped; the session goes on. One
  /// at a time: a second call while one waits gets Busy. Call on a strand or a single thread; being cancelled loses no
  /// stream. Errors: ObserverRoleViolation, Busy, any end of the connection, Cancelled.
  Task<IncomingStream> accept_stream();
  /// Answers a request of a kind nobody serves: Failure naming the kind, then the end of the stream.
  static Task<void> refuse_kind(IncomingStream incoming);

  struct Streams;
  std::shared_ptr<Streams> streams;  ///< for the implementation
};

/// Takes the hello off a fresh connection, judges it, answers. On acceptance raises the streams allowed and returns the
/// mirror. On refusal sends the ack, waits until it is acknowledged or the mirror closes (refusal_linger at most),
/// closes with the wire code and returns that error. Errors: the kinds of judge_hello; ObserverRoleViolation for a
/// voter-class first frame (answered with an ack); HandshakeCodec (answered with an ack of its code); Timeout when no
/// hello came within hello_deadline of the connection's standing (closed with 0x11); any end of the connection;
/// Cancelled.
Task<AcceptedMirror> handle_mirror_connection(quic::Connection connection, const SourcePolicy& policy);

struct AcceptorLimits {
  /// Accepted mirrors at once of one database by one certificate name (the first name of the certificate).
  std::uint32_t mirrors_per_name_max = 16;
  /// Of all databases and names.
  std::uint32_t mirrors_max = 1024;
  /// Connections in the middle of their handshake; further ones wait in the transport's bounded queue.
  std::uint32_t handshakes_max = 256;
  /// Of those by one certificate name; one more is closed with 0x08 (Busy), so that one name's silent connections hold
  /// up no other's.
  std::uint32_t handshakes_per_name_max = 64;
};

/// What happened to one hello, for a log line. Text in it is escaped.
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
/// total, runs a session for each accepted mirror and awaits their ends.
class MirrorAcceptor {
 public:
  /// Runs one mirror's session until it ends. What it returns as an error is reported by on_session_end only. The
  /// mirror's connection is closed (0x00) after it returns.
  using Session = std::function<Task<void>(AcceptedMirror& mirror)>;
  struct Callbacks {
    std::function<void(const HandshakeReport&)> on_handshake;                        ///< may be absent
    std::function<void(const AcceptedMirror&, const Result<void>&)> on_session_end;  ///< may be absent
  };
  MirrorAcceptor(quic::Listener listener, SourcePolicy policy, AcceptorLimits limits, Session session,
                 Callbacks callbacks = {});
  ~MirrorAcceptor();

  /// Serves until stop() or cancellation, then ends every session and returns when all have ended. Call once. All
  /// callbacks and sessions run on the caller's executor, which must be a strand or a single thread.
  Task<void> run();
  /// Idempotent, from any thread; run() then returns.
  void stop();
  quic::Address local_address() const;
  /// As quic::Listener::reload: for mirrors from now on. From any thread.
  Result<void> reload(const quic::TlsFiles& tls);
  /// Accepted mirrors now.
  std::size_t mirrors() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// The session of a bare source: refuses every request by name until the mirror leaves.
Task<void> refuse_all_requests(AcceptedMirror& mirror);

}  // namespace crosslink
