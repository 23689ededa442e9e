#include "quic/transport_error.hpp"

#include <fmt/format.h>

namespace crosslink::quic::detail {
namespace {

// RFC 9001, section 4.8: QUIC error codes 0x0100-0x01ff carry a TLS alert in their low byte.
constexpr QUIC_UINT62 crypto_error_first = 0x100;
constexpr QUIC_UINT62 crypto_error_last = 0x1ff;
// RFC 9000, section 20.1.
constexpr QUIC_UINT62 connection_refused_code = 0x02;

// RFC 8446, section 6.2: the alerts a mirror or source can meet; the rest by number.
std::string describe_alert(unsigned alert) {
  switch (alert) {
    case 40: return "no common TLS parameters (handshake_failure)";
    case 42: return "certificate refused (bad_certificate)";
    case 43: return "certificate of an unsupported kind (unsupported_certificate)";
    case 44: return "certificate revoked (certificate_revoked)";
    case 45: return "certificate expired or not yet valid (certificate_expired)";
    case 46: return "certificate refused (certificate_unknown)";
    case 48: return "certificate signed by an unknown CA (unknown_ca)";
    case 49: return "access denied (access_denied)";
    case 51: return "signature does not verify (decrypt_error)";
    case 80: return "internal TLS error (internal_error)";
    case 112: return "server name not known (unrecognized_name)";
    case 116: return "a client certificate is required (certificate_required)";
    case 120: return "no common ALPN (no_application_protocol)";
    default: return fmt::format("TLS alert {}", alert);
  }
}

constexpr unsigned alert_no_application_protocol = 120;
constexpr unsigned alert_certificate_required = 116;

MirrorError tls_error(unsigned alert, const ShutdownContext& context) {
  if (!context.refusal.empty()) {
    return MirrorError::tls_refused(CausedBy::us,
                                    fmt::format("{}: we refuse its certificate: {}", context.remote, context.refusal));
  }
  // Before a client is connected the peer has not yet seen its certificate, so any certificate alert is its own
  // verdict; the client's certificate is judged after that.
  const bool about_alpn = alert == alert_no_application_protocol;
  const bool ours = context.client && !context.connected && !about_alpn && alert != alert_certificate_required;
  const std::string what = describe_alert(alert);
  if (!context.client && !context.connected && alert != alert_certificate_required && !about_alpn) {
    // The transport does not tell which side said so.
    return MirrorError::tls_refused(
        CausedBy::peer,
        fmt::format("{}: the TLS handshake failed: {}: its certificate here, or ours there", context.remote, what));
  }
  if (!context.client && !context.connected) {
    return MirrorError::tls_refused(CausedBy::us,
                                    fmt::format("{}: we refuse the TLS handshake: {}", context.remote, what));
  }
  return ours ? MirrorError::tls_refused(CausedBy::us,
                                         fmt::format("{}: we refuse its certificate: {}", context.remote, what))
              : MirrorError::tls_refused(CausedBy::peer, fmt::format("{} refuses us: {}", context.remote, what));
}

}  // namespace

std::string describe_status(QUIC_STATUS status) {
  switch (status) {
    case QUIC_STATUS_OUT_OF_MEMORY: return "out of memory";
    case QUIC_STATUS_INVALID_PARAMETER: return "invalid parameter";
    case QUIC_STATUS_INVALID_STATE: return "invalid state";
    case QUIC_STATUS_ADDRESS_IN_USE: return "address in use";
    case QUIC_STATUS_ADDRESS_NOT_AVAILABLE: return "address not available on this machine";
    case QUIC_STATUS_ALPN_IN_USE: return "address in use with the same ALPN";
    case QUIC_STATUS_ABORTED: return "aborted";
    case QUIC_STATUS_TLS_ERROR: return "TLS error";
    default: return fmt::format("transport status {}", status);
  }
}

MirrorError transport_shutdown_error(QUIC_STATUS status, QUIC_UINT62 error_code, const ShutdownContext& context) {
  const auto& remote = context.remote;
  if (error_code >= crypto_error_first && error_code <= crypto_error_last) {
    return tls_error(static_cast<unsigned>(error_code & 0xff), context);
  }
  if (!context.refusal.empty()) {
    return tls_error(0, context);
  }
  if (error_code == connection_refused_code && status == QUIC_STATUS_CONNECTION_REFUSED) {
    return MirrorError::transport(TransportCause::refused, fmt::format("{} takes no more connections now", remote));
  }
  switch (status) {
    case QUIC_STATUS_UNREACHABLE:
      return MirrorError::transport(TransportCause::unreachable,
                                    fmt::format("{} is unreachable: nothing listens there for QUIC (UDP)", remote));
    case QUIC_STATUS_CONNECTION_REFUSED:
      return MirrorError::transport(TransportCause::refused, fmt::format("{} takes no more connections now", remote));
    case QUIC_STATUS_CONNECTION_IDLE:
      if (!context.connected) {
        return MirrorError::transport(TransportCause::handshake_timeout, fmt::format("{} does not answer", remote));
      }
      return MirrorError::transport(TransportCause::idle_timeout,
                                    fmt::format("nothing was heard from {} for the idle timeout", remote));
    case QUIC_STATUS_CONNECTION_TIMEOUT:
      if (!context.connected) {
        return MirrorError::transport(TransportCause::handshake_timeout, fmt::format("{} does not answer", remote));
      }
      return MirrorError::transport(TransportCause::peer_silent,
                                    fmt::format("{} no longer acknowledges: it was killed or the line is cut", remote));
    case QUIC_STATUS_ALPN_NEG_FAILURE: return tls_error(alert_no_application_protocol, context);
    case QUIC_STATUS_HANDSHAKE_FAILURE:
    case QUIC_STATUS_TLS_ERROR:
      return MirrorError::tls_refused(CausedBy::peer, fmt::format("the TLS handshake with {} failed", remote));
    case QUIC_STATUS_PROTOCOL_ERROR:
    case QUIC_STATUS_VER_NEG_ERROR:
      return MirrorError::transport(TransportCause::protocol, fmt::format("{} speaks another QUIC", remote),
                                    error_code);
    case QUIC_STATUS_OUT_OF_MEMORY:
      return MirrorError::transport(TransportCause::local_failure, "the transport is out of memory");
    default:
      return MirrorError::transport(TransportCause::protocol,
                                    fmt::format("the transport ended the connection with {}: QUIC error {:#x}, {}",
                                                remote, error_code, describe_status(status)),
                                    error_code);
  }
}

MirrorError closed_by_peer_error(QUIC_UINT62 code, std::string_view remote) {
  return MirrorError::transport(TransportCause::closed_by_peer,
                                fmt::format("{} closed the connection with code {:#04x}", remote, code), code);
}

MirrorError closed_locally_error() {
  return MirrorError::transport(TransportCause::closed_locally, "the connection was closed by this side");
}

MirrorError local_failure(std::string_view what, QUIC_STATUS status) {
  return MirrorError::transport(TransportCause::local_failure, fmt::format("{}: {}", what, describe_status(status)));
}

}  // namespace crosslink::quic::detail
