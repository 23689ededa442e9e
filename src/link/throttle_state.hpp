// What copies of a SendThrottle share: the account, and who waits for it.
#pragma once

#include <cstdint>
#include <mutex>

#include "async/waiter.hpp"
#include "crosslink/throttle.hpp"
#include "session/throttle_account.hpp"

namespace crosslink {

/// Thread safe. A mirror's machine charges it as core::Throttle, everyone else through SendThrottle.
struct SendThrottle::State final : core::Throttle {
  explicit State(std::uint64_t cap_bytes) : account(cap_bytes) {}

  void agree(std::uint64_t cap_bytes) override {
    const std::scoped_lock lock(mutex);
    account.agree(cap_bytes);
    wake_if_resumable();
  }
  [[nodiscard]] Ticket hold(const Ticket& held, std::uint64_t bytes) override {
    const std::scoped_lock lock(mutex);
    const auto ticket = account.hold(held, bytes);
    wake_if_resumable();
    return ticket;
  }
  bool may_go_on() override {
    const std::scoped_lock lock(mutex);
    return account.may_go_on();
  }
  void wake_if_resumable() {
    if (!waiters.empty() && account.can_resume()) waiters.notify_all();
  }

  std::mutex mutex;
  core::ThrottleAccount account;
  async::WaitList waiters;
};

}  // namespace crosslink
