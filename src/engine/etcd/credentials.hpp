// The files by which an etcd cluster knows us, and we it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/result.hpp"

namespace crosslink::etcd {

/// Certificates and the password of a cluster, read again when their files change: they are renewed while a node runs
/// for months. What cannot be used is passed over, and what was good stays in use. Thread safe.
class CredentialFiles {
 public:
  explicit CredentialFiles(const EtcdCluster& cluster);
  /// For channels, of what the files hold now. Errors: Configuration that names the file.
  Result<std::shared_ptr<grpc::ChannelCredentials>> load();
  /// The same when a file has changed since the last that was given, and all can be used; else null. Looks once a
  /// second at most, and costs nothing between.
  std::shared_ptr<grpc::ChannelCredentials> renewed();
  /// The first line of its file; when that cannot be read, what it was before. Errors: Configuration, when there was
  /// nothing before.
  Result<std::string> password();

 private:
  using Clock = std::chrono::steady_clock;
  std::string stamp() const;
  Result<std::shared_ptr<grpc::ChannelCredentials>> read() const;

  const bool tls_;
  const std::filesystem::path ca_, cert_, key_, password_file_;
  std::mutex mutex_;
  std::string stamp_;  ///< of what was given last
  Clock::time_point looked_;
  std::string password_;
};

}  // namespace crosslink::etcd
