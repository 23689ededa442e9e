#include "engine/etcd/lease_keeper.hpp"

#include <span>
#include <utility>

namespace crosslink::etcd {
namespace {

constexpr std::size_t renewed_at_once = 1000;
constexpr std::chrono::milliseconds retry_after(200);

}  // namespace

LeaseKeeper::LeaseKeeper(std::shared_ptr<Client> client)
    : client_(std::move(client)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

LeaseKeeper::~LeaseKeeper() = default;

void LeaseKeeper::extend() {
  const std::scoped_lock lock(mutex_);
  until_ = Clock::now() + kept_for;
}

void LeaseKeeper::add(std::int64_t lease, std::chrono::seconds ttl) {
  const std::scoped_lock lock(mutex_);
  kept_.emplace(Clock::now() + ttl / 3, Kept{lease, ttl});
  changed_.notify_all();
}

void LeaseKeeper::renew_all() {
  std::vector<Kept> all;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [due, kept] : kept_)
      all.push_back(kept);
    kept_.clear();
  }
  renew(std::move(all));
}

void LeaseKeeper::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (kept_.empty()) {
      changed_.wait(lock, stop, [this] { return !kept_.empty(); });
      continue;
    }
    const auto now = Clock::now(), first = kept_.begin()->first;
    if (now > until_) {
      kept_.clear();
      continue;
    }
    if (first > now) {
      changed_.wait_until(lock, stop, first, [&] { return !kept_.empty() && kept_.begin()->first < first; });
      continue;
    }
    std::vector<Kept> due;
    while (!kept_.empty() && kept_.begin()->first <= now && due.size() < renewed_at_once) {
      due.push_back(kept_.begin()->second);
      kept_.erase(kept_.begin());
    }
    lock.unlock();
    renew(std::move(due));
    lock.lock();
  }
}

void LeaseKeeper::renew(std::vector<Kept> due) {
  for (std::size_t at = 0; at < due.size(); at += renewed_at_once) {
    const auto part = std::span(due).subspan(at, std::min(renewed_at_once, due.size() - at));
    std::vector<std::int64_t> leases;
    for (const auto& kept : part)
      leases.push_back(kept.lease);
    const auto now = Clock::now();
    const auto left = client_->keep_alive(leases);
    const std::scoped_lock lock(mutex_);
    for (std::size_t i = 0; i < part.size(); ++i) {
      if (left && (*left)[i] <= 0) continue;  // it has ended
      kept_.emplace(left ? now + part[i].ttl / 3 : Clock::now() + retry_after, part[i]);
    }
  }
}

}  // namespace crosslink::etcd
