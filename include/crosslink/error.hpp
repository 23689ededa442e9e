// The one error type of crosslink, and the one table of what each kind means.
//
// Every fallible function returns Result<T> (result.hpp) holding a MirrorError: a kind, who caused it, data that
// programs can read, and a sentence for people. The table (error_rules) is the only place that says, for each kind, who
// raises it, its code on the wire, what a reconnect does with it, the exit code and the mirror's status.
// docs/protocol.md, "Errors", prints the same table, which says what each kind means; a test compares the two. A kind
// says what happened; who is to blame is CausedBy: NotAuthorized from a source is caused by the peer, from an etcd
// cluster of ours by us.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "crosslink/types.hpp"

namespace crosslink {

/// In JSON, in logs and on the wire each kind is spelled exactly as its enumerator. What each means and who raises it
/// is in error_rules().
enum class ErrorKind : std::uint8_t {
  ClusterIdMismatch,
  ObserverRoleViolation,
  ProtocolVersionMismatch,
  UnknownDatabase,
  NotAuthorized,
  Busy,
  TlsRefused,
  HandshakeCodec,
  Transport,
  Timeout,
  ProtocolViolation,
  NotConnected,
  AlreadyConnected,
  Cancelled,
  MirrorPromoted,
  Configuration,   ///< a file, address or option given to us cannot be used
  Storage,         ///< nothing of what was to be written is there
  OutcomeUnknown,  ///< it was written, and the disk did not confirm it: it may be there, now or later
  SnapshotOffsetRegression,
  SnapshotCrcMismatch,
  BytesInFlightCapExceeded,
  LogWindowExceeded,
  SourceBehind,
  HistoriesParted,
  OriginChanged,
  UnsupportedOperation,
};

/// Who caused an error: this program, the other side, or what lies between.
enum class CausedBy : std::uint8_t { us, peer, transport };

/// What exactly went wrong below the protocol. Each way a connection or stream can end has its own value.
enum class TransportCause : std::uint8_t {
  unresolved,               ///< the name has no address (transport)
  unreachable,              ///< no route, or no program listens at that port (transport)
  refused,                  ///< the peer's endpoint refuses new connections (peer)
  handshake_timeout,        ///< no complete QUIC handshake in time (transport)
  idle_timeout,             ///< nothing was heard for the idle timeout (transport)
  peer_silent,              ///< what we sent is no longer acknowledged: peer killed or line cut (transport)
  closed_locally,           ///< we closed the connection (us)
  closed_by_peer,           ///< the peer closed the connection with an application code (peer)
  stream_reset_locally,     ///< we gave the stream up (us)
  stream_finished_locally,  ///< we had already finished sending on the stream (us)
  stream_reset_by_peer,     ///< the peer gave up sending on the stream (peer)
  stream_stopped_by_peer,   ///< the peer no longer reads the stream (peer)
  stream_ended_early,       ///< the stream ended in the middle of what was to be read (peer)
  protocol,                 ///< the QUIC layers disagree (peer)
  local_failure,            ///< our own transport could not do it, out of memory for instance (us)
};

// Data of each kind. Kinds that need no more than the sentence carry std::monostate.

/// ClusterIdMismatch.
struct ClusterIds {
  std::string declared;  ///< what the mirror named
  std::string remote;    ///< what the source says it is
};
/// ProtocolVersionMismatch.
struct VersionMismatch {
  std::uint16_t local = 0;
};
/// UnknownDatabase.
struct DatabaseName {
  std::string database;
};
/// Transport, and other kinds that came about with the end of a connection.
struct TransportFault {
  TransportCause cause{};
  std::optional<std::uint64_t> code;  ///< QUIC application code, where the peer or we gave one
};
/// SnapshotOffsetRegression.
struct SnapshotOffsets {
  std::string database;
  std::uint64_t expected = 0, actual = 0;
};
/// SnapshotCrcMismatch.
struct SnapshotCrcs {
  std::string database;
  std::uint32_t stored = 0, computed = 0;
};
/// BytesInFlightCapExceeded.
struct CapExceeded {
  std::string database;
  std::uint64_t in_flight_bytes = 0, cap_bytes = 0;
};
/// LogWindowExceeded: the log that the source holds.
struct LogWindow {
  Lsn oldest, head;
};
/// HistoriesParted, SourceBehind: where.
struct AtLsn {
  Lsn lsn;
};
using ErrorData = std::variant<std::monostate, ClusterIds, VersionMismatch, DatabaseName, TransportFault,
                               SnapshotOffsets, SnapshotCrcs, CapExceeded, LogWindow, AtLsn>;

/// A value; copyable, no resources. The message is one sentence that names the thing and, where there is one, the way
/// out; text that came from a peer is already escaped in it.
class MirrorError {
 public:
  MirrorError(ErrorKind kind, CausedBy caused_by, std::string message, ErrorData data = {});

  ErrorKind kind() const { return kind_; }
  CausedBy caused_by() const { return caused_by_; }
  const std::string& message() const { return message_; }
  const ErrorData& data() const { return data_; }
  /// The cause, if this is a Transport error (or any other error that carries one).
  std::optional<TransportCause> transport_cause() const;
  /// The same error with `context` and ": " before the sentence.
  MirrorError with_context(std::string_view context) const;

  // The usual ones: the first three caused by us, the next two by the peer, a timeout by the line, and transport by
  // whom TransportCause names.
  static MirrorError cancelled(std::string_view what);
  static MirrorError not_connected(std::string_view what);
  static MirrorError configuration(std::string message);
  static MirrorError codec(std::string message);
  static MirrorError protocol_violation(std::string message);
  static MirrorError timeout(std::string message);
  static MirrorError tls_refused(CausedBy caused_by, std::string message);
  static MirrorError transport(TransportCause cause, std::string message, std::optional<std::uint64_t> code = {});

 private:
  ErrorKind kind_;
  CausedBy caused_by_;
  std::string message_;
  ErrorData data_;
};

/// What schedule_reconnect does with a kind.
enum class InReconnect : std::uint8_t {
  hard,           ///< returned at once
  retry,          ///< next attempt after the backoff
  session_stays,  ///< does not end the session
  restart_snapshot,
  last_good_chunk,
  bootstrap,  ///< bootstrap anew
  halt,       ///< Halted, the data kept, an operator decides
};

/// One row of the table.
struct ErrorRule {
  ErrorKind kind;
  std::string_view name;       ///< spelling in JSON, logs and docs
  std::string_view raised_by;  ///< "source", "mirror", "either", "local"
  /// Application close code and `error_code` of an ack; absent: never on the wire as a code ("local" or in a Failure
  /// frame).
  std::optional<std::uint64_t> wire_code;
  InReconnect in_reconnect;
  std::optional<int> exit_code;  ///< absent: the kind never ends a command
  std::string_view status;       ///< status of the mirror while it lasts; "-" where it leaves the status alone
};

/// The table, one row per kind, in the order of ErrorKind.
std::span<const ErrorRule> error_rules();
const ErrorRule& rule_of(ErrorKind kind);
std::string_view to_string(ErrorKind kind);
std::string_view to_string(CausedBy caused_by);
std::string_view to_string(TransportCause cause);
std::string_view to_string(InReconnect in_reconnect);
/// The kind whose wire code this is; empty for 0x00 (normal close) and codes that are not defined.
std::optional<ErrorKind> kind_of_wire_code(std::uint64_t code);
/// Exit code of a command that ends with this error: the table's, but a name that does not resolve is 1.
int exit_code(const MirrorError& error);

/// Application close code of a connection that ended as planned (docs/protocol.md, "Close codes").
inline constexpr std::uint64_t normal_close_code = 0x00;

}  // namespace crosslink
