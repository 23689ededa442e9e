#include "tls/certificate_authority.hpp"

#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "tls/peer_names.hpp"
#include "tls/pem_files.hpp"
#include "tls/pending_file.hpp"

namespace crosslink::tls {
namespace {

constexpr std::chrono::days authority_validity{3650};
constexpr std::chrono::days leaf_validity{825};
/// Clocks of two clusters differ: a certificate must hold on one that is a little slow.
constexpr std::chrono::hours not_before_margin{1};
constexpr int serial_bits = 128;
/// RFC 5280's upper bound of a common name.
constexpr std::size_t common_name_bytes_max = 64;

struct KeyAndCertificate {
  KeyPointer key;
  X509Pointer certificate;
};

MirrorError openssl_failed(std::string_view what) {
  const unsigned long code = ERR_peek_last_error();
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return MirrorError::configuration(fmt::format("cannot {}: {}", what, text.data()));
}

std::string random_hex() {
  std::array<unsigned char, 4> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) return "0";
  return fmt::format("{:02x}", fmt::join(random, ""));
}

bool set_serial(X509* certificate) {
  const BignumPointer number(BN_new());
  return number && BN_rand(number.get(), serial_bits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_dates(X509* certificate, std::chrono::seconds validity, const X509* issuer) {
  const auto margin = std::chrono::duration_cast<std::chrono::seconds>(not_before_margin);
  if (X509_gmtime_adj(X509_getm_notBefore(certificate), -static_cast<long>(margin.count())) == nullptr) return false;
  ASN1_TIME* end = X509_getm_notAfter(certificate);
  if (X509_gmtime_adj(end, static_cast<long>(validity.count())) == nullptr) return false;
  const bool outlives_issuer = issuer != nullptr && ASN1_TIME_compare(end, X509_get0_notAfter(issuer)) > 0;
  return !outlives_issuer || X509_set1_notAfter(certificate, X509_get0_notAfter(issuer)) == 1;
}

bool set_subject(X509* certificate, const std::string& common_name) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const auto add = [subject](const char* field, const std::string& text) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    return X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, bytes, static_cast<int>(text.size()), -1, 0) == 1;
  };
  if (!add("O", "crosslink")) return false;
  return common_name.size() > common_name_bytes_max || add("CN", common_name);
}

struct ExtensionText {
  int nid;
  std::string value;
};

bool add_extensions(X509* certificate, X509* issuer, const std::vector<ExtensionText>& extensions) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  return std::ranges::all_of(extensions, [&](const ExtensionText& one) {
    const ExtensionPointer extension(X509V3_EXT_nconf_nid(nullptr, &context, one.nid, one.value.c_str()));
    return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
  });
}

/// Everything but the extensions and the signature.
Result<KeyAndCertificate> begin_certificate(const std::string& common_name, std::chrono::seconds validity,
                                            const X509* issuer) {
  KeyPointer key(EVP_EC_gen("P-256"));
  X509Pointer certificate(X509_new());
  const bool good = key && certificate && X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
                    set_serial(certificate.get()) && set_dates(certificate.get(), validity, issuer) &&
                    set_subject(certificate.get(), common_name) && X509_set_pubkey(certificate.get(), key.get()) == 1;
  if (!good) return openssl_failed("make a key and certificate");
  return KeyAndCertificate{std::move(key), std::move(certificate)};
}

Result<KeyAndCertificate> make_authority_certificate() {
  // A random part, so that two authorities in one CA file are told apart by people too.
  auto made = begin_certificate(fmt::format("crosslink CA {}", random_hex()), authority_validity, nullptr);
  if (!made) return made;
  X509* certificate = made->certificate.get();
  const bool good = X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
                    add_extensions(certificate, certificate,
                                   {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                    {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                    {NID_subject_key_identifier, "hash"}}) &&
                    X509_sign(certificate, made->key.get(), EVP_sha256()) != 0;
  if (!good) return openssl_failed("make the CA certificate");
  return made;
}

Result<KeyAndCertificate> make_leaf_certificate(const KeyAndCertificate& authority,
                                                const std::vector<std::string>& names) {
  X509* issuer = authority.certificate.get();
  auto made = begin_certificate(names.front(), leaf_validity, issuer);
  if (!made) return made;
  X509* certificate = made->certificate.get();
  const bool good = X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
                    add_extensions(certificate, issuer,
                                   {{NID_basic_constraints, "critical,CA:FALSE"},
                                    {NID_key_usage, "critical,digitalSignature"},
                                    {NID_ext_key_usage, "serverAuth,clientAuth"},
                                    {NID_subject_alt_name, fmt::format("DNS:{}", fmt::join(names, ",DNS:"))},
                                    {NID_subject_key_identifier, "hash"},
                                    {NID_authority_key_identifier, "keyid:always"}}) &&
                    X509_sign(certificate, authority.key.get(), EVP_sha256()) != 0;
  if (!good) return openssl_failed("make the certificate");
  return made;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

/// Both or none get their names; the key first, so that a certificate in place always has its key.
Result<void> store(const KeyAndCertificate& made, const std::filesystem::path& dir, const std::string& name,
                   bool force) {
  // Secure memory for the key's text would end in std::string all the same; its bytes are wiped below.
  const BioPointer key_bio(BIO_new(BIO_s_mem()));
  const BioPointer certificate_bio(BIO_new(BIO_s_mem()));
  const bool good =
      key_bio && certificate_bio &&
      PEM_write_bio_PKCS8PrivateKey(key_bio.get(), made.key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1 &&
      PEM_write_bio_X509(certificate_bio.get(), made.certificate.get()) == 1;
  if (!good) return openssl_failed("write the key and certificate as PEM");

  std::string key_text = text_of(key_bio.get());
  auto key_file = PendingFile::write(dir / (name + ".key"), key_text, 0600);
  OPENSSL_cleanse(key_text.data(), key_text.size());
  if (!key_file) return key_file.error();
  auto certificate_file = PendingFile::write(dir / (name + ".pem"), text_of(certificate_bio.get()), 0644);
  if (!certificate_file) return certificate_file.error();
  if (auto published = key_file->publish(force); !published) return published;
  return certificate_file->publish(force);
}

Result<void> refuse_existing(const std::filesystem::path& dir, const std::string& name) {
  for (const char* ending : {".key", ".pem"}) {
    const auto path = dir / (name + ending);
    struct stat facts{};
    if (::lstat(path.c_str(), &facts) == 0) return already_exists(path);
  }
  return {};
}

Result<void> make_folder(std::filesystem::path dir) {
  std::error_code error;
  if (!dir.has_filename()) dir = dir.parent_path();  // "certs/" is the folder certs, not a nameless one within it
  if (dir.has_parent_path()) std::filesystem::create_directories(dir.parent_path(), error);
  if (!error && ::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) error.assign(errno, std::generic_category());
  if (!error && !std::filesystem::is_directory(dir, error)) error = std::make_error_code(std::errc::not_a_directory);
  if (!error) return {};
  return MirrorError::configuration(
      fmt::format("cannot make the folder {} ({}): choose another for --dir", quoted(dir), error.message()));
}

Result<void> check_name(const std::string& name) {
  if (!is_dns_name(name)) {
    return MirrorError::configuration(fmt::format(
        "'{}' is not a DNS name: use letters, digits, hyphens and dots, such as prod-us", escape(name, 300)));
  }
  if (std::ranges::any_of(name, [](char c) { return c >= 'A' && c <= 'Z'; })) {
    return MirrorError::configuration(fmt::format("'{}' has upper-case letters: cluster ids are lower-case", name));
  }
  return {};
}

Result<std::vector<std::string>> checked_names(const std::string& name, std::span<const std::string> also) {
  if (name == "ca") {
    return MirrorError::configuration("the name 'ca' is taken by the authority's own files: choose another name");
  }
  std::vector<std::string> names;
  if (auto good = check_name(name); !good) return good.error();
  names.push_back(name);
  for (const auto& one : also) {
    if (auto good = check_name(one); !good) return good.error();
    if (std::ranges::find(names, one) == names.end()) names.push_back(one);
  }
  if (names.size() > peer_names_max) {
    return MirrorError::configuration(
        fmt::format("{} names are too many: a certificate holds 64 at most", names.size()));
  }
  return names;
}

Result<KeyAndCertificate> load_authority(const std::filesystem::path& dir) {
  const auto certificate_path = dir / "ca.pem";
  const auto key_path = dir / "ca.key";
  struct stat facts{};
  if (::stat(certificate_path.c_str(), &facts) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
    return MirrorError::configuration(
        fmt::format("there is no CA in {} (no ca.pem): make one with `crosslink certs init`", quoted(dir)));
  }
  auto certificates = load_certificates(certificate_path, "CA");
  if (!certificates) return certificates.error();
  auto key = load_key(key_path, "CA key");
  if (!key) return key.error();
  X509Pointer& certificate = certificates->front();
  const bool match = X509_check_private_key(certificate.get(), key->get()) == 1;
  ERR_clear_error();
  if (!match) {
    return MirrorError::configuration(
        fmt::format("the key in {} does not belong to the CA in {}: restore the right one", quoted(key_path),
                    quoted(certificate_path)));
  }
  if (X509_check_ca(certificate.get()) == 0) {
    return MirrorError::configuration(fmt::format(
        "the certificate in {} is not a CA: make one with `crosslink certs init`", quoted(certificate_path)));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) <= 0) {
    return MirrorError::configuration(
        fmt::format("the CA in {} expired on {}: make a new one with `crosslink certs init`", quoted(certificate_path),
                    to_text(X509_get0_notAfter(certificate.get()))));
  }
  return KeyAndCertificate{std::move(*key), std::move(certificate)};
}

}  // namespace

Result<void> make_authority(const std::filesystem::path& dir, bool force) {
  if (auto made = make_folder(dir); !made) return made;
  if (!force) {
    if (auto free = refuse_existing(dir, "ca"); !free) return free;
  }
  auto made = make_authority_certificate();
  if (!made) return made.error();
  return store(*made, dir, "ca", force);
}

Result<void> issue(const std::filesystem::path& dir, const std::string& name, std::span<const std::string> also,
                   bool force) {
  auto names = checked_names(name, also);
  if (!names) return names.error();
  auto authority = load_authority(dir);
  if (!authority) return authority.error();
  if (!force) {
    if (auto free = refuse_existing(dir, name); !free) return free;
  }
  auto made = make_leaf_certificate(*authority, *names);
  if (!made) return made.error();
  return store(*made, dir, name, force);
}

}  // namespace crosslink::tls
