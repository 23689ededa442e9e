#include "support/etcd_server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "crosslink/etcd_engine.hpp"
#include "engine/etcd/client.hpp"

namespace crosslink::test {
namespace {

constexpr auto whole = std::filesystem::copy_options::recursive;

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
  const bool alone = members_.size() == 1;  // leads soon; several shall not elect whenever this machine is slow
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
                                     alone ? "50" : "100",
                                     "--election-timeout",
                                     alone ? "500" : "1000",
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
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    cluster.endpoints = {endpoints[i]};
    for (;;) {
      const auto opened = etcd::Client::open(cluster);
      if (opened) {
        etcd::wire::RangeRequest any;
        any.set_key("a");
        if ((*opened)->range(any)) break;
      }
      const bool ended = ::waitpid(members_[i].process, nullptr, WNOHANG) != 0;
      if (ended || std::chrono::steady_clock::now() > deadline) {
        std::ifstream log(folder_.path() / fmt::format("m{}.log", i));
        std::ostringstream text;
        text << log.rdbuf();
        throw std::runtime_error("etcd does not start: " + text.str());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
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

std::size_t EtcdServers::leader() const {
  EtcdCluster cluster;
  cluster.call_deadline = std::chrono::seconds(2);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < deadline) {
    for (std::size_t i = 0; i < members_.size(); ++i) {
      cluster.endpoints = {endpoints()[i]};
      const auto opened = etcd::Client::open(cluster);
      if (!opened) continue;
      const auto status = (*opened)->status();
      if (status && status->leader() == status->header().member_id()) return i;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  throw std::runtime_error("the etcd cluster has no leader");
}

}  // namespace crosslink::test
