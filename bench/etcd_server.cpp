#include "bench/etcd_server.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>
#include <vector>

#include "engine/etcd/client.hpp"
#include "engine/etcd/keys.hpp"
#include "engine/etcd/txn.hpp"
#include "engine/etcd/watch.hpp"

namespace crosslink::bench {
namespace {

constexpr std::size_t load_clients = 4, load_operations = 100, load_bytes_max = 1'000'000;
constexpr std::chrono::seconds ready_within{30};

/// A port that is free now.
std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool bound = ::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(socket);
  return bound ? ntohs(address.sin_port) : std::uint16_t{0};
}

etcd::wire::RangeRequest range_of(const std::string& prefix) {
  etcd::wire::RangeRequest request;
  request.set_key(prefix);
  request.set_range_end(etcd::prefix_end(prefix));
  return request;
}

}  // namespace

Result<BenchEtcd> BenchEtcd::start(const std::filesystem::path& folder, const std::string& name) {
  const auto client = fmt::format("http://127.0.0.1:{}", free_port()),
             peer = fmt::format("http://127.0.0.1:{}", free_port());
  auto process = ChildProcess::start("etcd", {"--name",
                                              name,
                                              "--data-dir",
                                              (folder / name).string(),
                                              "--logger",
                                              "zap",
                                              "--log-level",
                                              "error",
                                              "--listen-client-urls",
                                              client,
                                              "--advertise-client-urls",
                                              client,
                                              "--listen-peer-urls",
                                              peer,
                                              "--initial-advertise-peer-urls",
                                              peer,
                                              "--initial-cluster",
                                              fmt::format("{}={}", name, peer),
                                              "--quota-backend-bytes",
                                              "8589934592"});
  if (!process) return process.error();
  EtcdCluster cluster;
  cluster.endpoints = {client};
  const auto deadline = std::chrono::steady_clock::now() + ready_within;
  for (;;) {
    auto opened = etcd::Client::open(cluster);
    if (opened && (*opened)->range(range_of("/")).ok())
      return BenchEtcd(*std::move(process), client, *std::move(opened));
    if (std::chrono::steady_clock::now() < deadline && process->resident_bytes() > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      continue;
    }
    const bool missing = process->stop().exit_code == ChildProcess::exit_not_found;
    return MirrorError::configuration(missing ? "etcd is not installed (Debian: etcd-server)"
                                              : "etcd did not start; its reason is above");
  }
}

const std::string& BenchEtcd::version() const { return client_->version_text(); }

Result<double> BenchEtcd::load(const std::string& prefix, std::uint64_t count, std::size_t value_bytes) const {
  const auto each = std::clamp<std::uint64_t>(load_bytes_max / (value_bytes + 64), 1, load_operations);
  const std::string value(value_bytes, 'v');
  std::atomic<std::uint64_t> next = 0;
  std::mutex mutex;
  std::optional<MirrorError> failed;
  const auto work = [&] {
    EtcdCluster cluster;
    cluster.endpoints = {endpoint_};
    auto own = etcd::Client::open(cluster);
    Result<void> done = own ? Result<void>() : own.error();
    while (done) {
      const auto begin = next.fetch_add(each);
      if (begin >= count) return;
      etcd::TxnBuilder builder;
      for (auto number = begin; number < std::min(begin + each, count); ++number)
        builder.put(fmt::format("{}k{:09}", prefix, number), value);
      const auto made = (*own)->txn(builder.build());
      if (!made) done = made.error();
    }
    const std::scoped_lock lock(mutex);
    failed = done.error();
  };
  const auto begin = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> clients;
    clients.reserve(load_clients);
    for (std::size_t i = 0; i < load_clients; ++i)
      clients.emplace_back(work);
  }
  if (failed) return *failed;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Result<std::uint64_t> BenchEtcd::count(const std::string& prefix) const {
  auto request = range_of(prefix);
  request.set_count_only(true);
  const auto read = client_->range(request);
  if (!read) return read.error();
  return static_cast<std::uint64_t>(read->count());
}

Result<void> BenchEtcd::put(const std::string& key, const std::string& value) const {
  etcd::TxnBuilder builder;
  builder.put(key, value);
  const auto made = client_->txn(builder.build());
  return made ? Result<void>() : made.error();
}

Result<void> BenchEtcd::erase(const std::string& prefix) const {
  etcd::wire::TxnRequest request;
  request.add_success()->Swap(std::make_unique<etcd::wire::RequestOperation>(etcd::erase_below(prefix)).get());
  const auto made = client_->txn(request);
  if (!made) return made.error();
  return client_->compact(made->header().revision());
}

Result<std::unique_ptr<Arrivals>> Arrivals::watch(const BenchEtcd& server, const std::string& prefix) {
  std::unique_ptr<Arrivals> arrivals(new Arrivals());
  const auto& client = server.client();
  auto opened = etcd::WatchStream::open_at(client->place(), client, prefix, etcd::prefix_end(prefix), 0);
  if (!opened) return opened.error();
  arrivals->watch_ = *std::move(opened);
  arrivals->reader_ = std::thread([own = arrivals.get()] { own->read(); });
  return arrivals;
}

Arrivals::Arrivals() = default;

Arrivals::~Arrivals() {
  watch_->cancel();
  if (reader_.joinable()) reader_.join();
}

void Arrivals::read() {
  for (;;) {
    const auto response = watch_->read();
    const auto now = Clock::now();
    if (!response) return;  // cancelled
    const std::scoped_lock lock(mutex_);
    for (const auto& event : response->events())
      seen_.try_emplace(event.kv().key(), now);
    changed_.notify_all();
  }
}

std::optional<Arrivals::Clock::time_point> Arrivals::of(const std::string& key, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, patience, [&] { return seen_.contains(key); })) return std::nullopt;
  return seen_.at(key);
}

}  // namespace crosslink::bench
