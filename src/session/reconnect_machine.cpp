#include "session/reconnect_machine.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace crosslink::core {
namespace {
void require(bool condition) {
  if (!condition) std::abort();
}
}  // namespace

ReconnectMachine::ReconnectMachine(std::size_t address_count, std::uint64_t seed, std::chrono::milliseconds base,
                                   std::chrono::milliseconds cap)
    : address_count_(address_count), random_(seed), base_(base), cap_(cap), backoff_(base) {
  require(address_count > 0);
}

std::optional<MirrorError> ReconnectMachine::obstacle() const {
  if (phase_ == LinkPhase::closed) return MirrorError::cancelled("the link is closed");
  if (operation_ != Operation::none) {
    return MirrorError(ErrorKind::Busy, CausedBy::us, "a connect or reconnect of this link is already running");
  }
  return std::nullopt;
}

Result<Action> ReconnectMachine::start_connect() {
  if (auto error = obstacle()) return *error;
  if (phase_ == LinkPhase::connected) {
    return MirrorError(ErrorKind::AlreadyConnected, CausedBy::us, "the link is connected already");
  }
  operation_ = Operation::connect;
  return dial();
}

Result<Action> ReconnectMachine::start_reconnect() {
  if (auto error = obstacle()) return *error;
  operation_ = Operation::reconnect;
  if (std::exchange(fruitless_session_, false)) double_backoff();
  return sleep();
}

Action ReconnectMachine::slept() {
  if (phase_ == LinkPhase::closed) return Return{};
  require(phase_ == LinkPhase::waiting);
  return dial();
}

Action ReconnectMachine::dial_succeeded() {
  if (phase_ == LinkPhase::closed) return Return{};
  require(phase_ == LinkPhase::connecting);
  operation_ = Operation::none;
  phase_ = LinkPhase::connected;
  fruitless_session_ = true;
  if (std::exchange(established_before_, true)) ++reconnects_;
  attempts_ = 0;
  return Return{};
}

Action ReconnectMachine::dial_failed(const MirrorError& error) {
  if (phase_ == LinkPhase::closed) return Return{};
  require(phase_ == LinkPhase::connecting);
  last_error_ = error;
  if (operation_ == Operation::reconnect && rule_of(error.kind()).in_reconnect != InReconnect::hard) {
    double_backoff();
    return sleep();
  }
  operation_ = Operation::none;
  phase_ = LinkPhase::disconnected;
  return Return{};
}

void ReconnectMachine::operation_cancelled() {
  operation_ = Operation::none;
  if (phase_ != LinkPhase::closed) phase_ = LinkPhase::disconnected;
}

void ReconnectMachine::connection_lost() {
  if (phase_ == LinkPhase::connected) phase_ = LinkPhase::disconnected;
}

void ReconnectMachine::note_progress() {
  if (phase_ != LinkPhase::connected) return;
  backoff_ = base_;
  fruitless_session_ = false;
}

void ReconnectMachine::close() { phase_ = LinkPhase::closed; }

Action ReconnectMachine::dial() {
  phase_ = LinkPhase::connecting;
  ++attempts_;
  const auto dial = dials_++;
  return Dial{static_cast<std::size_t>(dial % address_count_), dial / address_count_};
}

Action ReconnectMachine::sleep() {
  phase_ = LinkPhase::waiting;
  std::uniform_real_distribution<double> spread(1 - backoff_jitter, 1 + backoff_jitter);
  const double delay = static_cast<double>(backoff_.count()) * spread(random_);
  return Sleep{std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(delay))};
}

void ReconnectMachine::double_backoff() { backoff_ = std::min(backoff_ * 2, cap_); }

}  // namespace crosslink::core
