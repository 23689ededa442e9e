// Certificates that no decent tool makes, for tests.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace crosslink::test {

struct SpecimenOptions {
  std::string common_name = "specimen";
  std::vector<std::string> dns_names{};  ///< any bytes, NUL included; empty: no subjectAltName
  std::string other_names{};  ///< in OpenSSL's notation, "IP:127.0.0.1,email:a@b.example", added after dns_names
  bool doubled_alt_name = false;
  bool damaged_alt_name = false;  ///< the extension's bytes are no DER
  std::chrono::seconds valid_from{-3600};
  std::chrono::seconds valid_to{3600};
};

/// A self-signed certificate and its key.
struct Specimen {
  std::vector<std::byte> der;
  std::string certificate_pem;
  std::string key_pem;
  std::string encrypted_key_pem;
};
Specimen make_specimen(const SpecimenOptions& options);

std::filesystem::path write_file(const std::filesystem::path& file, const std::string& content);
std::string read_file(const std::filesystem::path& file);

}  // namespace crosslink::test
