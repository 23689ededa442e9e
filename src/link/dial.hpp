// One attempt of a link: from an address to an accepted handshake.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "crosslink/awaitable.hpp"
#include "crosslink/handshake.hpp"
#include "crosslink/quic/endpoint.hpp"

namespace crosslink::link {

struct DialTarget {
  std::string address;  ///< HOST:PORT
  MirrorHello hello;
  std::chrono::milliseconds deadline;
};

struct Established {
  quic::Connection connection;
  MirrorHelloAck ack;
};

/// Resolves, dials, shakes hands, all within the deadline. On any error nothing stays open. `answer` becomes the ack
/// that the source sent, accepting or refusing, or stays as it is when none came; it must outlive the task. Errors:
/// those of CrossClusterLink::connect that concern one attempt.
Task<Established> dial(quic::Endpoint endpoint, const quic::ClientConfig& config, DialTarget target,
                       std::optional<MirrorHelloAck>& answer);

}  // namespace crosslink::link
