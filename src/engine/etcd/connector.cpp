#include "engine/etcd/connector.hpp"

#include <algorithm>

namespace crosslink::etcd {
namespace {

constexpr std::chrono::seconds wanted_for(10);
/// This is how long an end waits.
constexpr std::chrono::milliseconds look_every(200);

}  // namespace

Connector::Connector() : thread_([this] { run(); }) {}

Connector::~Connector() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

void Connector::want(const std::shared_ptr<grpc::Channel>& channel) {
  const std::scoped_lock lock(mutex_);
  const auto until = Clock::now() + wanted_for;
  const auto known = std::ranges::find(wanted_, channel, &Wanted::channel);
  if (known != wanted_.end()) {
    known->until = until;
    return;
  }
  watch(wanted_.emplace_back(channel, until));
  changed_.notify_all();
}

/// With `mutex_` held.
void Connector::watch(Wanted& wanted) {
  const auto now = wanted.channel->GetState(true);
  wanted.channel->NotifyOnStateChange(now, std::chrono::system_clock::now() + look_every, &queue_, &wanted);
}

void Connector::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !wanted_.empty(); });
    if (stopping_) return;
    lock.unlock();
    void* tag = nullptr;
    bool ok = false;
    const bool came = queue_.Next(&tag, &ok);
    lock.lock();
    if (!came) return;
    const auto wanted = std::ranges::find_if(wanted_, [tag](const Wanted& one) { return &one == tag; });
    const bool connected = wanted->channel->GetState(false) == GRPC_CHANNEL_READY;
    if (connected || stopping_ || Clock::now() > wanted->until) {
      wanted_.erase(wanted);
    } else {
      watch(*wanted);
    }
  }
}

}  // namespace crosslink::etcd
