// What a link's tests change: times and the seed of its jitter. Users get those of crosslink/backoff.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "crosslink/link.hpp"
#include "quic/name_lookup.hpp"

namespace crosslink::link {

struct LinkOptions {
  std::chrono::milliseconds backoff_base = crosslink::backoff_base;
  std::chrono::milliseconds backoff_cap = crosslink::backoff_cap;
  std::chrono::milliseconds handshake_deadline = crosslink::handshake_deadline;
  std::optional<std::uint64_t> seed;  ///< absent: a random one
  quic::detail::BlockingLookup lookup = &quic::detail::look_up_in_system;
};

struct LinkTarget {
  ClusterId cluster_id;
  DatabaseId database_id;
  std::string addresses;
};

/// A CrossClusterLink with other times.
std::unique_ptr<CrossClusterLink> make_link(LinkTarget target, quic::Endpoint endpoint, quic::ClientConfig config,
                                            SendThrottle throttle, const LinkOptions& options);

}  // namespace crosslink::link
