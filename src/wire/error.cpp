#include "crosslink/error.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdlib>

#include "wire/exit_codes.hpp"

namespace crosslink {
namespace {

using enum ErrorKind;
using enum InReconnect;

// In the order of ErrorKind; docs/protocol.md prints the same rows and a test compares the two.
constexpr std::array rules{
    ErrorRule{ClusterIdMismatch, "ClusterIdMismatch", "either", 0x01, hard, exit_refused, "Disconnected"},
    ErrorRule{ObserverRoleViolation, "ObserverRoleViolation", "source", 0x02, hard, exit_refused, "Disconnected"},
    ErrorRule{ProtocolVersionMismatch, "ProtocolVersionMismatch", "source", 0x03, hard, exit_refused, "Disconnected"},
    ErrorRule{UnknownDatabase, "UnknownDatabase", "source", 0x04, hard, exit_refused, "Disconnected"},
    ErrorRule{NotAuthorized, "NotAuthorized", "source", 0x06, hard, exit_refused, "Disconnected"},
    ErrorRule{Busy, "Busy", "either", 0x08, retry, exit_disconnected, "Disconnected"},
    ErrorRule{TlsRefused, "TlsRefused", "either", std::nullopt, hard, exit_refused, "Disconnected"},
    ErrorRule{HandshakeCodec, "HandshakeCodec", "either", 0x10, retry, exit_failed, "Disconnected"},
    ErrorRule{Transport, "Transport", "either", std::nullopt, retry, exit_disconnected, "Disconnected"},
    ErrorRule{Timeout, "Timeout", "either", 0x11, retry, exit_disconnected, "Disconnected"},
    ErrorRule{ProtocolViolation, "ProtocolViolation", "either", 0x12, retry, exit_failed, "Disconnected"},
    ErrorRule{NotConnected, "NotConnected", "local", std::nullopt, hard, exit_failed, "-"},
    ErrorRule{AlreadyConnected, "AlreadyConnected", "local", std::nullopt, hard, exit_failed, "-"},
    ErrorRule{Cancelled, "Cancelled", "local", std::nullopt, hard, exit_failed, "-"},
    ErrorRule{MirrorPromoted, "MirrorPromoted", "local", std::nullopt, hard, exit_refused, "Promoted"},
    ErrorRule{Configuration, "Configuration", "local", std::nullopt, hard, exit_usage, "-"},
    ErrorRule{Storage, "Storage", "local", std::nullopt, session_stays, exit_failed, "Degraded"},
    ErrorRule{OutcomeUnknown, "OutcomeUnknown", "local", std::nullopt, hard, exit_failed, "-"},
    ErrorRule{SnapshotOffsetRegression, "SnapshotOffsetRegression", "mirror", std::nullopt, restart_snapshot,
              exit_failed, "Bootstrapping"},
    ErrorRule{SnapshotCrcMismatch, "SnapshotCrcMismatch", "mirror", std::nullopt, last_good_chunk, exit_failed,
              "Bootstrapping"},
    ErrorRule{BytesInFlightCapExceeded, "BytesInFlightCapExceeded", "either", std::nullopt, retry, exit_failed,
              "Disconnected"},
    ErrorRule{LogWindowExceeded, "LogWindowExceeded", "source", std::nullopt, bootstrap, std::nullopt, "Bootstrapping"},
    ErrorRule{SourceBehind, "SourceBehind", "source", std::nullopt, halt, exit_refused, "Halted"},
    ErrorRule{HistoriesParted, "HistoriesParted", "source", std::nullopt, halt, exit_refused, "Halted"},
    ErrorRule{OriginChanged, "OriginChanged", "source", std::nullopt, halt, exit_refused, "Halted"},
    ErrorRule{UnsupportedOperation, "UnsupportedOperation", "either", std::nullopt, halt, exit_refused, "Halted"},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (static_cast<std::size_t>(rules[i].kind) != i) return false;
  }
  return static_cast<std::size_t>(UnsupportedOperation) + 1 == rules.size();
}
static_assert(in_order(), "one row per kind, in the order of ErrorKind");

CausedBy caused_by_of(TransportCause cause) {
  switch (cause) {
    case TransportCause::unresolved:
    case TransportCause::unreachable:
    case TransportCause::handshake_timeout:
    case TransportCause::idle_timeout:
    case TransportCause::peer_silent: return CausedBy::transport;
    case TransportCause::closed_locally:
    case TransportCause::stream_reset_locally:
    case TransportCause::stream_finished_locally:
    case TransportCause::local_failure: return CausedBy::us;
    case TransportCause::refused:
    case TransportCause::closed_by_peer:
    case TransportCause::stream_reset_by_peer:
    case TransportCause::stream_stopped_by_peer:
    case TransportCause::stream_ended_early:
    case TransportCause::protocol: return CausedBy::peer;
  }
  std::abort();
}

}  // namespace

MirrorError::MirrorError(ErrorKind kind, CausedBy caused_by, std::string message, ErrorData data)
    : kind_(kind), caused_by_(caused_by), message_(std::move(message)), data_(std::move(data)) {}

std::optional<TransportCause> MirrorError::transport_cause() const {
  const auto* fault = std::get_if<TransportFault>(&data_);
  return fault != nullptr ? std::optional(fault->cause) : std::nullopt;
}

MirrorError MirrorError::with_context(std::string_view context) const {
  return {kind_, caused_by_, fmt::format("{}: {}", context, message_), data_};
}

MirrorError MirrorError::cancelled(std::string_view what) {
  return {ErrorKind::Cancelled, CausedBy::us, fmt::format("cancelled: {}", what)};
}
MirrorError MirrorError::not_connected(std::string_view what) {
  return {ErrorKind::NotConnected, CausedBy::us, fmt::format("not connected: {}", what)};
}
MirrorError MirrorError::configuration(std::string message) {
  return {ErrorKind::Configuration, CausedBy::us, std::move(message)};
}
MirrorError MirrorError::codec(std::string message) {
  return {ErrorKind::HandshakeCodec, CausedBy::peer, std::move(message)};
}
MirrorError MirrorError::protocol_violation(std::string message) {
  return {ErrorKind::ProtocolViolation, CausedBy::peer, std::move(message)};
}
MirrorError MirrorError::timeout(std::string message) {
  return {ErrorKind::Timeout, CausedBy::transport, std::move(message)};
}
MirrorError MirrorError::tls_refused(CausedBy caused_by, std::string message) {
  return {ErrorKind::TlsRefused, caused_by, std::move(message)};
}
MirrorError MirrorError::transport(TransportCause cause, std::string message, std::optional<std::uint64_t> code) {
  return {ErrorKind::Transport, caused_by_of(cause), std::move(message), TransportFault{cause, code}};
}

std::span<const ErrorRule> error_rules() { return rules; }
const ErrorRule& rule_of(ErrorKind kind) { return rules.at(static_cast<std::size_t>(kind)); }
std::string_view to_string(ErrorKind kind) { return rule_of(kind).name; }

std::string_view to_string(CausedBy caused_by) {
  switch (caused_by) {
    case CausedBy::us: return "us";
    case CausedBy::peer: return "peer";
    case CausedBy::transport: return "transport";
  }
  std::abort();
}

std::string_view to_string(TransportCause cause) {
  switch (cause) {
    case TransportCause::unresolved: return "unresolved";
    case TransportCause::unreachable: return "unreachable";
    case TransportCause::refused: return "refused";
    case TransportCause::handshake_timeout: return "handshake_timeout";
    case TransportCause::idle_timeout: return "idle_timeout";
    case TransportCause::peer_silent: return "peer_silent";
    case TransportCause::closed_locally: return "closed_locally";
    case TransportCause::closed_by_peer: return "closed_by_peer";
    case TransportCause::stream_reset_locally: return "stream_reset_locally";
    case TransportCause::stream_finished_locally: return "stream_finished_locally";
    case TransportCause::stream_reset_by_peer: return "stream_reset_by_peer";
    case TransportCause::stream_stopped_by_peer: return "stream_stopped_by_peer";
    case TransportCause::stream_ended_early: return "stream_ended_early";
    case TransportCause::protocol: return "protocol";
    case TransportCause::local_failure: return "local_failure";
  }
  std::abort();
}

std::string_view to_string(InReconnect in_reconnect) {
  switch (in_reconnect) {
    case InReconnect::hard: return "hard";
    case InReconnect::retry: return "retry";
    case InReconnect::session_stays: return "session stays";
    case InReconnect::restart_snapshot: return "restart the snapshot";
    case InReconnect::last_good_chunk: return "from the last good chunk";
    case InReconnect::bootstrap: return "bootstrap anew";
    case InReconnect::halt: return "halt";
  }
  std::abort();
}

std::optional<ErrorKind> kind_of_wire_code(std::uint64_t code) {
  for (const auto& rule : rules) {
    if (rule.wire_code == code) return rule.kind;
  }
  return std::nullopt;
}

int exit_code(const MirrorError& error) {
  // A name that does not resolve is a mistake in the command more often than a fault of the line.
  if (error.transport_cause() == TransportCause::unresolved) return exit_failed;
  return rule_of(error.kind()).exit_code.value_or(exit_failed);
}

}  // namespace crosslink
