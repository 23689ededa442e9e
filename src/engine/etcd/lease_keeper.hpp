// Keeps leases alive while a promotion binds keys to them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/etcd/client.hpp"

namespace crosslink::etcd {

/// Asks for each lease three times within its TTL, for `kept_for` after the last extend(): a caller that forgets to end
/// it keeps no lease alive for ever. Thread safe.
class LeaseKeeper {
 public:
  static constexpr std::chrono::seconds kept_for{60};
  explicit LeaseKeeper(std::shared_ptr<Client> client);
  /// Waits for a call that is under way.
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;
  void extend();
  void add(std::int64_t lease, std::chrono::seconds ttl);
  /// Each has its whole TTL from here on, or somewhat less of it when the cluster does not answer.
  void renew_all();

 private:
  using Clock = std::chrono::steady_clock;
  struct Kept {
    std::int64_t lease;
    std::chrono::seconds ttl;
  };
  void run(const std::stop_token& stop);
  void renew(std::vector<Kept> due);

  const std::shared_ptr<Client> client_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  Clock::time_point until_ = Clock::now() + kept_for;
  std::multimap<Clock::time_point, Kept> kept_;  ///< by when they are due
  std::jthread thread_;
};

}  // namespace crosslink::etcd
