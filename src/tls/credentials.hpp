// PEM files, checked before the transport sees them: its own errors name neither the file nor the way out.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink::tls {

/// Can these three files be used for mutual TLS now? Reads them, never asks for a passphrase. `cert` may hold
/// intermediates after its own certificate, `ca` several authorities.
/// Errors, all Configuration, one sentence that names the file and what to do: a file that is missing, unreadable, no
/// regular file or over 4 MiB; no PEM certificate or a broken one; an encrypted or broken key; a key of another
/// certificate; a certificate expired or not valid yet (for `ca`: all of them); a certificate without a DNS name.
Result<void> check_credentials(const std::filesystem::path& ca, const std::filesystem::path& cert,
                               const std::filesystem::path& key);

/// The same of what only a client shows, to a server that is not crosslink: `ca` may be empty, and `cert` with `key`;
/// no DNS name is needed. Errors: as check_credentials.
Result<void> check_client_credentials(const std::filesystem::path& ca, const std::filesystem::path& cert,
                                      const std::filesystem::path& key);

/// How a file's certificates are meant.
enum class CertificateUse : std::uint8_t {
  own,        ///< one and its intermediates: all must be valid
  authority,  ///< several that stand beside one another: one must be valid
};
/// The last second in which what a PEM file holds can be used. Errors: Configuration, as check_credentials but for
/// dates.
Result<std::chrono::system_clock::time_point> not_after_of_file(const std::filesystem::path& file, CertificateUse use);

/// Is another one after a file was written or replaced, or a link on its path was made to lead elsewhere; "missing" for
/// one that is not there. Reads no content.
std::string stamp_of_file(const std::filesystem::path& file);

/// dns_names_of_der of the first certificate in a PEM file. Errors: Configuration.
Result<std::vector<std::string>> dns_names_of_file(const std::filesystem::path& cert);

}  // namespace crosslink::tls
