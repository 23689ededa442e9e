// Handshakes of would-be mirrors that TLS refused: nobody else of the node hears of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "crosslink/error.hpp"
#include "crosslink/quic/connection.hpp"
#include "node/log.hpp"
#include "node/rare_log.hpp"

namespace crosslink::node {

/// Thread safe.
class HandshakeRefusals {
 public:
  /// On a thread of the transport's, which must not wait for a log.
  void note(const quic::Address& peer, const MirrorError& why) {
    const std::scoped_lock lock(mutex_);
    ++times_;
    last_address_ = quic::to_text(peer);
    last_message_ = why.message();
  }
  /// Logs the last one, as often as RareLog says it. To be called every second or so.
  void say() {
    std::unique_lock lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    const bool early = said_at_ != std::chrono::steady_clock::time_point() && now - said_at_ < RareLog::every;
    if (times_ == said_ || early) return;
    said_at_ = now;
    const auto since = times_ - said_;
    said_ = times_;
    const std::string address = last_address_, message = last_message_;
    lock.unlock();
    log(Severity::warning, "mirror refused by TLS",
        {{"address", address}, {"message", message}, {"times", std::to_string(since)}});
  }
  /// Since the start.
  std::uint64_t times() const {
    const std::scoped_lock lock(mutex_);
    return times_;
  }

 private:
  mutable std::mutex mutex_;
  std::uint64_t times_ = 0, said_ = 0;
  std::string last_address_, last_message_;
  std::chrono::steady_clock::time_point said_at_;
};

}  // namespace crosslink::node
