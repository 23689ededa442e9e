#include "tls/pem_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/descriptor.hpp"

namespace crosslink::tls {
namespace {

constexpr std::size_t pem_file_bytes_max = 4 * 1024 * 1024;

MirrorError file_error(const std::filesystem::path& path, std::string_view what, std::string_view rest) {
  return MirrorError::configuration(fmt::format("the {} file {} {}", what, quoted(path), rest));
}

MirrorError cannot_open(const std::filesystem::path& path, std::string_view what, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    return file_error(path, what, "does not exist: give the right path, or make it with `crosslink certs`");
  }
  return file_error(path, what, fmt::format("cannot be read ({}): let this user read it", std::strerror(error)));
}

Result<std::string> read_file(const std::filesystem::path& path, std::string_view what) {
  // Without O_NONBLOCK opening a FIFO would wait for a writer that never comes.
  const base::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return cannot_open(path, what, errno);
  struct stat facts{};
  if (::fstat(file.number(), &facts) != 0) return cannot_open(path, what, errno);
  if (!S_ISREG(facts.st_mode)) return file_error(path, what, "is not a regular file: give the path of a PEM file");

  std::string text;
  std::array<char, 16 * 1024> piece;
  while (true) {
    const ssize_t count = ::read(file.number(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return cannot_open(path, what, errno);
    if (count == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > pem_file_bytes_max) {
      return file_error(path, what, "is larger than 4 MiB: give the path of a PEM file");
    }
  }
}

BioPointer bio_over(const std::string& text) {
  return BioPointer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// Stands in for OpenSSL's own callback, which would ask on the terminal.
int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

}  // namespace

std::string quoted(const std::filesystem::path& path) { return fmt::format("'{}'", escape(path.native(), 1024)); }

std::string to_text(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable date";
  std::array<char, 64> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return {text.data(), length};
}

Result<std::vector<X509Pointer>> load_certificates(const std::filesystem::path& path, std::string_view what) {
  auto text = read_file(path, what);
  if (!text) return text.error();
  const BioPointer bio = bio_over(*text);
  std::vector<X509Pointer> certificates;
  bool asked = false;
  ERR_clear_error();
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, &asked)) {
    certificates.emplace_back(certificate);
  }
  // The end of the file shows as "no start line"; everything else is damage that must not pass for the end.
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_end) return file_error(path, what, "holds a damaged certificate: replace it by an intact PEM file");
  if (certificates.empty()) {
    return file_error(path, what, "holds no PEM certificate: give one that begins with -----BEGIN CERTIFICATE-----");
  }
  return certificates;
}

Result<KeyPointer> load_key(const std::filesystem::path& path, std::string_view what) {
  auto text = read_file(path, what);
  if (!text) return text.error();
  const BioPointer bio = bio_over(*text);
  bool asked = false;
  KeyPointer key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &asked));
  ERR_clear_error();
  OPENSSL_cleanse(text->data(), text->size());
  if (asked) {
    return file_error(path, what,
                      "is encrypted, and no passphrase is ever asked for: give a key that is not encrypted");
  }
  if (!key)
    return file_error(path, what, "holds no PEM private key: give one that begins with -----BEGIN PRIVATE KEY-----");
  return key;
}

}  // namespace crosslink::tls
