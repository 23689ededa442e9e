#include "tls/peer_names.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "crosslink/types.hpp"
#include "tls/pem_files.hpp"

namespace crosslink::tls {
namespace {

MirrorError refuse(std::string message) { return MirrorError::tls_refused(CausedBy::peer, std::move(message)); }

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return result;
}

/// More than the 20 bytes that a serial may have: some authorities make longer ones.
constexpr std::size_t serial_digits_max = 128;

std::string without_leading_zeros(std::string digits) {
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  return digits;
}

/// Empty: memory ran out.
std::string serial_of(const X509* certificate) {
  const BignumPointer number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  const std::unique_ptr<char, decltype([](char* text) { OPENSSL_free(text); })> text(number ? BN_bn2hex(number.get())
                                                                                            : nullptr);
  if (!text) return {};
  std::string digits(text.get());
  const bool negative = digits.starts_with('-');
  if (negative) digits.erase(0, 1);
  return (negative ? "-" : "") + without_leading_zeros(std::move(digits));
}

}  // namespace

Result<std::string> parse_serial(std::string_view text) {
  const auto wrong = [text] {
    return MirrorError::configuration(
        fmt::format("'{}' is no serial number of a certificate, such as 4F:1A:09 or 4F1A09 (`openssl x509 -noout "
                    "-serial -in FILE`)",
                    escape(text, 160)));
  };
  auto rest = text;
  if (constexpr std::string_view label = "serial="; rest.starts_with(label)) rest.remove_prefix(label.size());
  const bool negative = rest.starts_with('-');
  if (negative) rest.remove_prefix(1);
  std::string digits;
  for (const char c : rest) {
    if (c == ':') continue;
    const bool is_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (!is_digit || digits.size() == serial_digits_max) return wrong();
    digits.push_back(c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c);
  }
  if (digits.empty()) return wrong();
  return (negative ? "-" : "") + without_leading_zeros(std::move(digits));
}

Result<std::vector<std::string>> dns_names_of(const X509* certificate) {
  int critical_or_state = 0;
  const GeneralNamesPointer names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical_or_state, nullptr)));
  ERR_clear_error();
  constexpr int absent = -1, doubled = -2;
  if (!names && critical_or_state == absent) return std::vector<std::string>{};
  if (!names && critical_or_state == doubled) return refuse("the certificate has two subjectAltName extensions");
  if (!names) return refuse("the certificate has a subjectAltName that cannot be read");

  std::vector<std::string> result;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    const std::string_view text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                                static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    // "good.example\0.evil" has fooled C programs: such a certificate is refused.
    if (text.contains('\0')) return refuse("the certificate has a DNS name with a NUL character in it");
    if (!is_dns_name(text)) continue;
    if (result.size() == peer_names_max) return refuse("the certificate has more than 64 DNS names");
    result.push_back(lower(text));
  }
  return result;
}

Result<std::vector<std::string>> dns_names_of_der(std::span<const std::byte> der) {
  auto certificate = peer_certificate_of_der(der);
  if (!certificate) return certificate.error();
  return std::move(certificate->names);
}

Result<PeerCertificate> peer_certificate_of_der(std::span<const std::byte> der) {
  if (der.size() > certificate_bytes_max) return refuse("the certificate is larger than 64 KiB");
  const auto* position = reinterpret_cast<const unsigned char*>(der.data());
  const auto* const end = position + der.size();
  const X509Pointer certificate(d2i_X509(nullptr, &position, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!certificate || position != end) return refuse("the certificate is not one complete X.509 certificate");
  auto names = dns_names_of(certificate.get());
  if (!names) return names.error();
  std::tm last{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &last) != 1) {
    ERR_clear_error();
    return refuse("the certificate's end is no time");
  }
  auto serial = serial_of(certificate.get());
  if (serial.empty()) return refuse("the certificate's serial number cannot be read");
  return PeerCertificate{*std::move(names), std::chrono::system_clock::from_time_t(::timegm(&last)), std::move(serial)};
}

}  // namespace crosslink::tls
