#include "support/etcd_server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>

#include "crosslink/etcd_engine.hpp"
#include "engine/etcd/client.hpp"
#include "engine/etcd/keys.hpp"

namespace crosslink::test {
namespace {

constexpr auto whole = std::filesystem::copy_options::recursive;

/// Are connections taken at an endpoint of this machine?
bool listens(const std::string& endpoint) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
  const bool connected = ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(socket);
  return connected;
}

}  // namespace

EtcdServers::EtcdServers(std::size_t members, EtcdServerOptions options) : options_(std::move(options)) {
  token_ = fmt::format("test-{}-{}", ::getpid(), std::random_device{}());
  members_.resize(members);
  for (std::size_t i = 0; i < members; ++i)
    start(i);
  wait_until_ready();
}

EtcdServers::~EtcdServers() {
  for (std::size_t i = 0; i < members_.size(); ++i)
    kill(i);
}

std::string EtcdServers::endpoint_at(std::uint16_t client_port) const {
  // Certificates are of names, and etcd listens at addresses.
  return fmt::format("{}:{}", options_.cert.empty() ? "http://127.0.0.1" : "https://localhost", client_port);
}

std::vector<std::string> EtcdServers::endpoints() const {
  std::vector<std::string> all;
  for (const auto& member : members_)
    all.push_back(endpoint_at(member.client_port.number()));
  return all;
}

void EtcdServers::start(std::size_t index) { start_at(index, members_[index].client_port.number()); }

std::string EtcdServers::start_aside(std::size_t index) {
  aside_.emplace();
  start_at(index, aside_->number());
  wait_until_ready({endpoint_at(aside_->number())});
  return endpoint_at(aside_->number());
}

void EtcdServers::back_up() { std::filesystem::copy(folder_.path() / "m0", folder_.path() / "kept", whole); }

void EtcdServers::restore() {
  std::filesystem::remove_all(folder_.path() / "m0");
  std::filesystem::copy(folder_.path() / "kept", folder_.path() / "m0", whole);
}

void EtcdServers::start_at(std::size_t index, std::uint16_t client_port) {
  auto& member = members_[index];
  std::string cluster;
  for (std::size_t i = 0; i < members_.size(); ++i)
    cluster += fmt::format("{}m{}=http://127.0.0.1:{}", i > 0 ? "," : "", i, members_[i].peer_port.number());
  const auto peer = fmt::format("http://127.0.0.1:{}", member.peer_port.number());
  const auto client = fmt::format("{}://127.0.0.1:{}", scheme(), client_port);
  const auto data = folder_.path() / fmt::format("m{}", index);
  const bool alone = members_.size() == 1;  // leads at once; several shall not elect whenever this machine is slow
  std::vector<std::string> arguments{"etcd",
                                     "--name",
                                     fmt::format("m{}", index),
                                     "--data-dir",
                                     data.string(),
                                     "--listen-peer-urls",
                                     peer,
                                     "--initial-advertise-peer-urls",
                                     peer,
                                     "--listen-client-urls",
                                     client,
                                     "--advertise-client-urls",
                                     client,
                                     "--initial-cluster",
                                     cluster,
                                     "--initial-cluster-token",
                                     token_,
                                     "--heartbeat-interval",
                                     alone ? "10" : "100",
                                     "--election-timeout",
                                     alone ? "100" : "1000",
                                     "--logger",
                                     "zap",
                                     "--log-level",
                                     "error"};
  if (!options_.cert.empty()) {
    for (const auto& [flag, value] : {std::pair{"--cert-file", options_.cert}, {"--key-file", options_.key}})
      arguments.insert(arguments.end(), {flag, value});
    if (!options_.ca.empty())
      arguments.insert(arguments.end(), {"--trusted-ca-file", options_.ca, "--client-cert-auth"});
  }
  arguments.insert(arguments.end(), options_.flags.begin(), options_.flags.end());
  std::vector<char*> words;
  for (auto& argument : arguments)
    words.push_back(argument.data());
  words.push_back(nullptr);
  const auto log = (folder_.path() / fmt::format("m{}.log", index)).string();
  const auto parent = ::getpid();
  member.process = ::fork();
  if (member.process != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(out, 1);
  ::dup2(out, 2);
  ::execvp("etcd", words.data());
  ::_exit(127);
}

void EtcdServers::wait_until_ready() const { wait_until_ready(endpoints()); }

void EtcdServers::wait_until_ready(const std::vector<std::string>& endpoints) const {
  EtcdCluster cluster;
  cluster.ca_file = options_.ca;
  if (!options_.ca.empty()) {
    cluster.cert_file = options_.cert;
    cluster.key_file = options_.key;
  }
  cluster.call_deadline = std::chrono::seconds(1);
  const auto answers = [&cluster] {
    // A client that was refused takes long to end.
    if (!listens(cluster.endpoints.front())) return false;
    const auto opened = etcd::Client::open(cluster);
    etcd::wire::RangeRequest any;
    any.set_key("a");
    return opened && (*opened)->range(any);
  };
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    cluster.endpoints = {endpoints[i]};
    while (!answers()) {
      const bool ended = ::waitpid(members_[i].process, nullptr, WNOHANG) != 0;
      if (ended || std::chrono::steady_clock::now() > deadline) {
        std::ifstream log(folder_.path() / fmt::format("m{}.log", i));
        std::ostringstream text;
        text << log.rdbuf();
        throw std::runtime_error("etcd does not start: " + text.str());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
}

void EtcdServers::kill(std::size_t index) {
  auto& member = members_[index];
  if (member.process < 0) return;
  ::kill(member.process, SIGKILL);
  ::waitpid(member.process, nullptr, 0);
  member.process = -1;
}

void EtcdServers::freeze(std::size_t index) { ::kill(members_[index].process, SIGSTOP); }
void EtcdServers::thaw(std::size_t index) { ::kill(members_[index].process, SIGCONT); }

// --- shared servers
// -------------------------------------------------------------------------------------------------

namespace {

/// Those that no case has now; ended with the process.
std::vector<std::unique_ptr<EtcdServers>>& idle_servers() {
  static std::vector<std::unique_ptr<EtcdServers>> servers;
  return servers;
}

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error("a shared etcd cannot be emptied: " + result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

/// Of the keys of all databases and of crosslink itself, of the leases that they have, and of what was before.
void empty(const EtcdServers& servers) {
  EtcdCluster cluster;
  cluster.endpoints = servers.endpoints();
  cluster.call_deadline = patience;
  const auto client = value_of(etcd::Client::open(cluster));
  etcd::wire::RangeRequest all;
  all.set_key(etcd::first_key);
  all.set_range_end(etcd::no_end);
  all.set_keys_only(true);
  std::set<std::int64_t> leases;
  const auto before = value_of(client->range(all));
  for (const auto& pair : before.kvs())
    leases.insert(pair.lease());
  leases.erase(0);
  for (const auto lease : leases) {
    auto revoked = client->revoke(lease);
    const bool ran_out = !revoked && revoked.error().message().find("lease not found") != std::string::npos;
    if (!ran_out) value_of(std::move(revoked));
  }
  etcd::wire::TxnRequest deletion;
  auto& range = *deletion.add_success()->mutable_delete_range();
  range.set_key(etcd::first_key);
  range.set_range_end(etcd::no_end);
  value_of(client->txn(deletion));
  const auto after = value_of(client->range(all));
  if (after.kvs_size() != 0)
    throw std::runtime_error("another client writes to a shared etcd that no test should hold");
  // A root that opens looks back as far as there is a history.
  if (after.header().revision() > 1) value_of(client->compact(after.header().revision()));
}

}  // namespace

SharedEtcd::SharedEtcd() {
  auto& idle = idle_servers();
  if (idle.empty()) idle.push_back(std::make_unique<EtcdServers>());
  servers_ = std::move(idle.back());
  idle.pop_back();
  empty(*servers_);
}

SharedEtcd::~SharedEtcd() { idle_servers().push_back(std::move(servers_)); }

}  // namespace crosslink::test
