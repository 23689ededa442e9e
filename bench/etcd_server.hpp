// etcd servers that a benchmark starts, and what it does to them as their users do.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "bench/child_process.hpp"
#include "crosslink/result.hpp"

namespace crosslink::etcd {
class Client;
class WatchStream;
}  // namespace crosslink::etcd

namespace crosslink::bench {

/// One server, a cluster of its own, on loopback. Errors of all: as of etcd::Client.
class BenchEtcd {
 public:
  static Result<BenchEtcd> start(const std::filesystem::path& folder, const std::string& name);
  const std::string& endpoint() const { return endpoint_; }
  const std::string& version() const;
  const std::shared_ptr<etcd::Client>& client() const { return client_; }

  /// `count` keys below `prefix`, in transactions of 100 (fewer where values are large) by four clients. Seconds.
  Result<double> load(const std::string& prefix, std::uint64_t count, std::size_t value_bytes) const;
  Result<std::uint64_t> count(const std::string& prefix) const;
  Result<void> put(const std::string& key, const std::string& value) const;
  /// And its history, so that what is measured next finds nothing of it.
  Result<void> erase(const std::string& prefix) const;

 private:
  BenchEtcd(ChildProcess process, std::string endpoint, std::shared_ptr<etcd::Client> client)
      : process_(std::move(process)), endpoint_(std::move(endpoint)), client_(std::move(client)) {}
  ChildProcess process_;
  std::string endpoint_;
  std::shared_ptr<etcd::Client> client_;
};

/// When each key below a prefix was first seen by a watch.
class Arrivals {
 public:
  using Clock = std::chrono::steady_clock;
  static Result<std::unique_ptr<Arrivals>> watch(const BenchEtcd& server, const std::string& prefix);
  ~Arrivals();
  /// Absent: not within `patience`.
  std::optional<Clock::time_point> of(const std::string& key, std::chrono::milliseconds patience);

 private:
  Arrivals();
  void read();
  std::unique_ptr<etcd::WatchStream> watch_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Clock::time_point> seen_;
  std::thread reader_;
};

}  // namespace crosslink::bench
