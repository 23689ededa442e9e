// Real etcd servers for tests: on free ports of loopback, with their data in a temporary folder, ended with the object.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/reserved_port.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {

/// Of calls and waits in tests that are about answers, not about deadlines.
inline constexpr std::chrono::seconds patience(60);

struct EtcdServerOptions {
  std::vector<std::string> flags;  ///< more of etcd's own
  /// PEM files: clients must use TLS then.
  std::string ca, cert, key;
};

/// A cluster of one member or several.
class EtcdServers {
 public:
  explicit EtcdServers(std::size_t members = 1, EtcdServerOptions options = {});
  ~EtcdServers();
  EtcdServers(const EtcdServers&) = delete;
  EtcdServers& operator=(const EtcdServers&) = delete;

  std::vector<std::string> endpoints() const;
  /// SIGKILL, and start again with what it had. `aside`: at a port that is not among endpoints(), until it is started
  /// again.
  void kill(std::size_t member);
  void start(std::size_t member);
  std::string start_aside(std::size_t member);
  /// All of endpoints(), or the one that was started aside.
  void wait_until_ready() const;
  void wait_until_ready(const std::vector<std::string>& endpoints) const;
  /// The only member's data, while it is killed: copied, and put back as it was then.
  void back_up();
  void restore();
  /// SIGSTOP and SIGCONT: it hangs, and what was sent to it is not lost.
  void freeze(std::size_t member);
  void thaw(std::size_t member);

 private:
  struct Member {
    ReservedPort client_port, peer_port;
    int process = -1;
  };
  void start_at(std::size_t member, std::uint16_t client_port);
  std::string endpoint_at(std::uint16_t client_port) const;
  std::string scheme() const { return options_.cert.empty() ? "http" : "https"; }
  EtcdServerOptions options_;
  TemporaryFolder folder_;
  std::string token_;
  std::vector<Member> members_;
  std::optional<ReservedPort> aside_;
};

/// A server that the cases of this process use one after another, this one's as long as this object lives. It has no
/// key at the beginning, and its history is compacted, but its revisions go on. Who ends or changes a server, or reads
/// the log from its very beginning, has EtcdServers instead.
class SharedEtcd {
 public:
  SharedEtcd();
  ~SharedEtcd();
  SharedEtcd(const SharedEtcd&) = delete;
  SharedEtcd& operator=(const SharedEtcd&) = delete;
  // NOLINTNEXTLINE(google-explicit-constructor): it is used in the place of EtcdServers
  operator const EtcdServers&() const { return *servers_; }
  std::vector<std::string> endpoints() const { return servers_->endpoints(); }

 private:
  std::unique_ptr<EtcdServers> servers_;
};

}  // namespace crosslink::test
