// PEM files, checked before the transport sees them: its own errors name neither the file nor the way out.
#pragma once

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

/// dns_names_of_der of the first certificate in a PEM file. Errors: Configuration.
Result<std::vector<std::string>> dns_names_of_file(const std::filesystem::path& cert);

}  // namespace crosslink::tls
