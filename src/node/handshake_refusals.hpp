// Handshakes of would-be mirrors that TLS refused, which no other part of the node hears of.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "crosslink/error.hpp"
#include "crosslink/quic/connection.hpp"
#include "node/rare_log.hpp"

namespace crosslink::node {

/// Thread safe, but for say().
class HandshakeRefusals {
 public:
  /// On a thread of the transport's, which must not wait for a log.
  void note(const quic::Address& peer, const MirrorError& why) {
    const std::scoped_lock lock(mutex_);
    ++times_;
    last_address_ = quic::to_text(peer);
    last_message_ = why.message();
  }
  /// Logs the last one, as often as RareLog says it. To be called every second or so, on one thread.
  void say() {
    std::unique_lock lock(mutex_);
    if (times_ == said_ || !line_.is_due()) return;
    const auto since = times_ - said_;
    said_ = times_;
    const std::string address = last_address_, message = last_message_;
    lock.unlock();
    line_.happened({{"address", address}, {"message", message}}, since);
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
  RareLog line_{"mirror refused by TLS"};
};

}  // namespace crosslink::node
