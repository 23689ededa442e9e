// OpenSSL's objects with owners, and reading them from PEM files. For src/tls only.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink::tls {

template <auto free_function>
struct OpensslDelete {
  template <class T>
  void operator()(T* object) const {
    free_function(object);
  }
};
using X509Pointer = std::unique_ptr<X509, OpensslDelete<X509_free>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, OpensslDelete<EVP_PKEY_free>>;
using BioPointer = std::unique_ptr<BIO, OpensslDelete<BIO_free_all>>;
using BignumPointer = std::unique_ptr<BIGNUM, OpensslDelete<BN_free>>;
using ExtensionPointer = std::unique_ptr<X509_EXTENSION, OpensslDelete<X509_EXTENSION_free>>;
using GeneralNamesPointer = std::unique_ptr<GENERAL_NAMES, OpensslDelete<GENERAL_NAMES_free>>;

/// A path as it appears in a sentence: quoted and escaped.
std::string quoted(const std::filesystem::path& path);

/// A date of a certificate for people, "2031-05-01 12:00:00 UTC".
std::string to_text(const ASN1_TIME* time);

/// All certificates of a file, at least one. `what` is how a sentence calls the file ("certificate", "CA").
/// Errors: Configuration.
Result<std::vector<X509Pointer>> load_certificates(const std::filesystem::path& path, std::string_view what);
/// Errors: Configuration.
Result<KeyPointer> load_key(const std::filesystem::path& path, std::string_view what);

/// dns_names_of_der of a certificate that is parsed already.
Result<std::vector<std::string>> dns_names_of(const X509* certificate);

}  // namespace crosslink::tls
