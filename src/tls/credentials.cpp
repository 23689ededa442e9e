#include "tls/credentials.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <optional>

#include "tls/pem_files.hpp"

namespace crosslink::tls {
namespace {

Result<void> check_dates(const X509* certificate, const std::filesystem::path& path, std::string_view what) {
  const ASN1_TIME* begin = X509_get0_notBefore(certificate);
  const ASN1_TIME* end = X509_get0_notAfter(certificate);
  if (X509_cmp_current_time(begin) > 0) {
    return MirrorError::configuration(fmt::format("the {} in {} is not valid before {}: check this machine's clock",
                                                  what, quoted(path), to_text(begin)));
  }
  if (X509_cmp_current_time(end) <= 0) {
    return MirrorError::configuration(
        fmt::format("the {} in {} expired on {}: replace it by a new one", what, quoted(path), to_text(end)));
  }
  return {};
}

Result<void> check_authorities(const std::filesystem::path& path) {
  auto authorities = load_certificates(path, "CA");
  if (!authorities) return authorities.error();
  const bool one_is_valid = std::ranges::any_of(
      *authorities, [&path](const X509Pointer& one) { return check_dates(one.get(), path, "CA").ok(); });
  if (one_is_valid) return {};
  return check_dates(authorities->front().get(), path, "CA certificate");
}

Result<void> check_pair(const std::filesystem::path& cert, const std::filesystem::path& key) {
  auto chain = load_certificates(cert, "certificate");
  if (!chain) return chain.error();
  auto private_key = load_key(key, "key");
  if (!private_key) return private_key.error();

  const X509* own = chain->front().get();
  const bool match = X509_check_private_key(own, private_key->get()) == 1;
  ERR_clear_error();
  if (!match) {
    return MirrorError::configuration(
        fmt::format("the key in {} does not belong to the certificate in {}: give two files that were made together",
                    quoted(key), quoted(cert)));
  }
  return check_dates(own, cert, "certificate");
}

Result<std::chrono::system_clock::time_point> not_after_of(const X509* certificate, const std::filesystem::path& file) {
  std::tm last{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &last) == 1)
    return std::chrono::system_clock::from_time_t(::timegm(&last));
  ERR_clear_error();
  return MirrorError::configuration(fmt::format("the end of a certificate in {} is no time", quoted(file)));
}

}  // namespace

Result<void> check_credentials(const std::filesystem::path& ca, const std::filesystem::path& cert,
                               const std::filesystem::path& key) {
  if (auto checked = check_authorities(ca); !checked) return checked.error();
  if (auto checked = check_pair(cert, key); !checked) return checked.error();
  auto names = dns_names_of_file(cert);
  if (!names) return names.error();
  if (names->empty()) {
    return MirrorError::configuration(
        fmt::format("the certificate in {} has no DNS name in its subjectAltName (wildcards and common names do not "
                    "count): issue one "
                    "for the cluster id, for instance with `crosslink certs issue`",
                    quoted(cert)));
  }
  return {};
}

Result<void> check_client_credentials(const std::filesystem::path& ca, const std::filesystem::path& cert,
                                      const std::filesystem::path& key) {
  if (!ca.empty()) {
    if (auto checked = check_authorities(ca); !checked) return checked.error();
  }
  return cert.empty() ? Result<void>{} : check_pair(cert, key);
}

Result<std::chrono::system_clock::time_point> not_after_of_file(const std::filesystem::path& file, CertificateUse use) {
  auto certificates = load_certificates(file, use == CertificateUse::own ? "certificate" : "CA");
  if (!certificates) return certificates.error();
  std::optional<std::chrono::system_clock::time_point> chosen;
  for (const auto& one : *certificates) {
    const auto last = not_after_of(one.get(), file);
    if (!last) return last.error();
    const bool counts = !chosen || (use == CertificateUse::own ? *last < *chosen : *last > *chosen);
    if (counts) chosen = *last;
  }
  return *chosen;  // a file has one certificate at least
}

std::string stamp_of_file(const std::filesystem::path& file) {
  struct stat facts{};
  if (::stat(file.c_str(), &facts) != 0) return "missing";
  return fmt::format("{}:{}:{}:{}.{}:{}.{}", facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtim.tv_sec,
                     facts.st_mtim.tv_nsec, facts.st_ctim.tv_sec, facts.st_ctim.tv_nsec);
}

Result<std::vector<std::string>> dns_names_of_file(const std::filesystem::path& cert) {
  auto chain = load_certificates(cert, "certificate");
  if (!chain) return chain.error();
  auto names = dns_names_of(chain->front().get());
  if (!names) {
    return MirrorError::configuration(
        fmt::format("the certificate in {} cannot be used: {}", quoted(cert), names.error().message()));
  }
  return names;
}

}  // namespace crosslink::tls
