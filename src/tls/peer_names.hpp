// Who a certificate says its owner is.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink::tls {

/// More names than this in one certificate are refused: allow lists are compared with each of them.
inline constexpr std::size_t peer_names_max = 64;
/// A larger certificate is refused unread.
inline constexpr std::size_t certificate_bytes_max = 64 * 1024;

/// DNS names of the subjectAltName, lower-cased, in the certificate's order. Wildcards and names that is_dns_name
/// refuses are left out, and the common name never counts, so the result may be empty: the caller decides what that
/// means. Does no I/O and never blocks: made for a TLS callback on a transport thread. Errors (peer), TlsRefused: not
/// one complete DER certificate, an unreadable or doubled subjectAltName, a name with a NUL in it, more than
/// peer_names_max names.
Result<std::vector<std::string>> dns_names_of_der(std::span<const std::byte> der);

struct PeerCertificate {
  std::vector<std::string> names;                   ///< as dns_names_of_der
  std::chrono::system_clock::time_point not_after;  ///< the last second in which it is valid
  std::string serial;                               ///< as parse_serial gives it
};
/// As dns_names_of_der; TlsRefused also for an end that is no time.
Result<PeerCertificate> peer_certificate_of_der(std::span<const std::byte> der);

/// A serial number as people write it (hexadecimal, in either case, with colons or without, with a leading `serial=` as
/// openssl prints it) in the one form that serials are compared in: upper case, no colons, no leading zeros. Errors:
/// Configuration.
Result<std::string> parse_serial(std::string_view text);

}  // namespace crosslink::tls
