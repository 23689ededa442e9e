#include "crosslink/throttle.hpp"

#include <mutex>

#include "link/throttle_state.hpp"

namespace crosslink {

SendThrottle::SendThrottle(std::uint64_t cap_bytes) : state_(std::make_shared<State>(cap_bytes)) {}

SendThrottle::Ticket SendThrottle::charge(std::uint64_t bytes) {
  const std::scoped_lock lock(state_->mutex);
  return state_->account.charge(bytes);
}

void SendThrottle::ack(const Ticket& ticket) {
  const std::scoped_lock lock(state_->mutex);
  state_->account.ack(ticket);
  state_->wake_if_resumable();
}

void SendThrottle::ack(std::uint64_t bytes) {
  const std::scoped_lock lock(state_->mutex);
  state_->account.ack(bytes);
  state_->wake_if_resumable();
}

bool SendThrottle::can_send() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->account.can_send();
}

bool SendThrottle::can_resume() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->account.can_resume();
}

void SendThrottle::reset() {
  const std::scoped_lock lock(state_->mutex);
  state_->account.reset();
  state_->waiters.notify_all();
}

std::uint64_t SendThrottle::in_flight() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->account.in_flight();
}

std::uint64_t SendThrottle::cap() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->account.cap();
}

Task<void> SendThrottle::wait_for_resume() {
  auto wait = [](std::shared_ptr<State> state) -> Task<void> {
    {
      const std::scoped_lock lock(state->mutex);
      if (state->account.can_send()) co_return Result<void>{};
    }
    for (;;) {
      std::unique_lock lock(state->mutex);
      if (state->account.can_resume()) co_return Result<void>{};
      const bool woken = co_await state->waiters.wait(std::move(lock));
      if (!woken) co_return MirrorError::cancelled("waiting for the throttle");
    }
  };
  return wait(state_);
}

}  // namespace crosslink
