#include "tls_specimen.hpp"

#include <openssl/ec.h>
#include <openssl/pem.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

#include "tls/pem_files.hpp"

namespace crosslink::test {
namespace {

using tls::BioPointer;
using tls::ExtensionPointer;
using tls::GeneralNamesPointer;
using tls::KeyPointer;
using tls::X509Pointer;

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

GeneralNamesPointer alt_names(const SpecimenOptions& options) {
  GeneralNamesPointer names(options.other_names.empty() ? GENERAL_NAMES_new() : nullptr);
  if (!names) {
    const ExtensionPointer parsed(
        X509V3_EXT_nconf_nid(nullptr, nullptr, NID_subject_alt_name, options.other_names.c_str()));
    require(parsed != nullptr, "other_names");
    names.reset(static_cast<GENERAL_NAMES*>(X509V3_EXT_d2i(parsed.get())));
  }
  int position = 0;
  for (const auto& text : options.dns_names) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* string = ASN1_IA5STRING_new();
    require(ASN1_STRING_set(string, text.data(), static_cast<int>(text.size())) == 1, "name");
    GENERAL_NAME_set0_value(name, GEN_DNS, string);
    require(sk_GENERAL_NAME_insert(names.get(), name, position++) > 0, "insert");
  }
  return names;
}

void add_alt_names(X509* certificate, const SpecimenOptions& options) {
  if (options.dns_names.empty() && options.other_names.empty()) return;
  const auto names = alt_names(options);
  const ExtensionPointer extension(X509V3_EXT_i2d(NID_subject_alt_name, 0, names.get()));
  require(extension != nullptr, "extension");
  if (options.damaged_alt_name) {
    ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(extension.get());
    require(ASN1_OCTET_STRING_set(value, reinterpret_cast<const unsigned char*>("\x30\x7f\x82"), 3) == 1, "damage");
  }
  for (int i = 0; i < (options.doubled_alt_name ? 2 : 1); ++i) {
    require(X509_add_ext(certificate, extension.get(), -1) == 1, "add");
  }
}

std::string text_of(const BioPointer& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string key_text(EVP_PKEY* key, const EVP_CIPHER* cipher) {
  const BioPointer bio(BIO_new(BIO_s_mem()));
  const char* passphrase = cipher != nullptr ? "secret" : nullptr;
  const int length = cipher != nullptr ? 6 : 0;
  require(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, cipher, passphrase, length, nullptr, nullptr) == 1, "key");
  return text_of(bio);
}

}  // namespace

Specimen make_specimen(const SpecimenOptions& options) {
  const KeyPointer key(EVP_EC_gen("P-256"));
  const X509Pointer certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 7);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), static_cast<long>(options.valid_from.count()));
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), static_cast<long>(options.valid_to.count()));
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(options.common_name.data()),
                             static_cast<int>(options.common_name.size()), -1, 0);
  X509_set_issuer_name(certificate.get(), subject);
  X509_set_pubkey(certificate.get(), key.get());
  add_alt_names(certificate.get(), options);
  require(X509_sign(certificate.get(), key.get(), EVP_sha256()) != 0, "sign");

  Specimen specimen;
  const int size = i2d_X509(certificate.get(), nullptr);
  specimen.der.resize(static_cast<std::size_t>(size));
  auto* position = reinterpret_cast<unsigned char*>(specimen.der.data());
  i2d_X509(certificate.get(), &position);
  const BioPointer bio(BIO_new(BIO_s_mem()));
  require(PEM_write_bio_X509(bio.get(), certificate.get()) == 1, "certificate");
  specimen.certificate_pem = text_of(bio);
  specimen.key_pem = key_text(key.get(), nullptr);
  specimen.encrypted_key_pem = key_text(key.get(), EVP_aes_128_cbc());
  return specimen;
}

std::filesystem::path write_file(const std::filesystem::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary) << content;
  return file;
}

std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

}  // namespace crosslink::test
