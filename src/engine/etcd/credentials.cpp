#include "engine/etcd/credentials.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <utility>

#include "tls/credentials.hpp"

namespace crosslink::etcd {
namespace {

constexpr std::chrono::seconds look_at_files_every(1);
constexpr std::uint64_t file_bytes_max = std::uint64_t{4} * 1024 * 1024;

Result<std::string> read_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) return MirrorError::configuration(fmt::format("{} cannot be read: {}", path.string(), error.message()));
  if (bytes > file_bytes_max)
    return MirrorError::configuration(fmt::format("{} is larger than it may be (4 MiB)", path.string()));
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file.good()) return MirrorError::configuration(fmt::format("{} cannot be read", path.string()));
  return text.str();
}

}  // namespace

CredentialFiles::CredentialFiles(const EtcdCluster& cluster)
    : tls_(!cluster.endpoints.empty() && cluster.endpoints.front().starts_with("https://")),
      ca_(cluster.ca_file),
      cert_(cluster.cert_file),
      key_(cluster.key_file),
      password_file_(cluster.password_file) {}

std::string CredentialFiles::stamp() const {
  return fmt::format("{}|{}|{}", tls::stamp_of_file(ca_), tls::stamp_of_file(cert_), tls::stamp_of_file(key_));
}

Result<std::shared_ptr<grpc::ChannelCredentials>> CredentialFiles::read() const {
  if (auto good = tls::check_client_credentials(ca_, cert_, key_); !good) return good.error();
  grpc::SslCredentialsOptions options;
  for (const auto& [path, into] : {std::pair(&ca_, &options.pem_root_certs), std::pair(&cert_, &options.pem_cert_chain),
                                   std::pair(&key_, &options.pem_private_key)}) {
    if (path->empty()) continue;
    auto text = read_file(*path);
    if (!text) return text.error();
    *into = *std::move(text);
  }
  return grpc::SslCredentials(options);
}

Result<std::shared_ptr<grpc::ChannelCredentials>> CredentialFiles::load() {
  if (!tls_) {
    if (!ca_.empty() || !cert_.empty())
      return MirrorError::configuration("certificates are given for endpoints that are http://, without TLS");
    return grpc::InsecureChannelCredentials();
  }
  if (cert_.empty() != key_.empty())
    return MirrorError::configuration("a certificate for etcd needs its key, and a key its certificate");
  const std::scoped_lock lock(mutex_);
  // Before they are read: what changes meanwhile is another one then.
  stamp_ = stamp();
  looked_ = Clock::now();
  return read();
}

std::shared_ptr<grpc::ChannelCredentials> CredentialFiles::renewed() {
  if (!tls_) return nullptr;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || Clock::now() - looked_ < look_at_files_every) return nullptr;
  looked_ = Clock::now();
  auto now = stamp();
  if (now == stamp_) return nullptr;
  auto fresh = read();
  if (!fresh) return nullptr;
  stamp_ = std::move(now);
  return *std::move(fresh);
}

Result<std::string> CredentialFiles::password() {
  auto text = read_file(password_file_);
  const std::scoped_lock lock(mutex_);
  if (text) text->resize(std::min(text->size(), text->find_first_of("\r\n")));
  if (text && !text->empty()) password_ = *text;
  if (!password_.empty()) return password_;
  if (!text) return text.error();
  return MirrorError::configuration(fmt::format("{} has no password in its first line", password_file_.string()));
}

}  // namespace crosslink::etcd
