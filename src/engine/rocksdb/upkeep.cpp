#include "engine/rocksdb/upkeep.hpp"

namespace crosslink::rocks {
namespace {

constexpr std::chrono::seconds period{1};

}  // namespace

Upkeep::Upkeep(std::size_t threads) {
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i)
    threads_.emplace_back([this] { work(); });
}

Upkeep::~Upkeep() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_)
    thread.join();
}

Upkeep::Place::~Place() { upkeep_.remove(id_); }

std::unique_ptr<Upkeep::Place> Upkeep::look_after(std::function<void()> look) {
  const std::scoped_lock lock(mutex_);
  const auto id = ++last_id_;
  databases_.emplace(id, Database{std::move(look)});
  due_.emplace(Clock::now() + period, id);
  changed_.notify_one();
  return std::unique_ptr<Place>(new Place(*this, id));
}

void Upkeep::remove(std::uint64_t id) {
  std::unique_lock lock(mutex_);
  looked_.wait(lock, [&] { return !databases_.at(id).is_looked_at; });
  databases_.erase(id);
  std::erase_if(due_, [id](const auto& one) { return one.second == id; });
}

void Upkeep::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (due_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto first = due_.begin();
    if (const auto at = first->first; Clock::now() < at) {
      changed_.wait_until(lock, at);
      continue;
    }
    const auto id = first->second;
    due_.erase(first);
    auto& database = databases_.at(id);  // stays: remove() waits
    database.is_looked_at = true;
    lock.unlock();
    database.look();
    lock.lock();
    database.is_looked_at = false;
    due_.emplace(Clock::now() + period, id);
    looked_.notify_all();
  }
}

}  // namespace crosslink::rocks
