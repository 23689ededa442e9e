#include "tls/peer_names.hpp"

#include <openssl/err.h>

#include <algorithm>
#include <ctime>

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

}  // namespace

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
    // "good.example\0.evil" has fooled C programs: whoever makes such a certificate gets nothing.
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
  return PeerCertificate{*std::move(names), std::chrono::system_clock::from_time_t(::timegm(&last))};
}

}  // namespace crosslink::tls
