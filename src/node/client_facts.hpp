// What is known of the client port at one moment, for people and metrics.
#pragma once

#include <cstdint>

namespace crosslink::node {

/// Connections that were sent away since the start, by why.
struct ClientRefusals {
  std::uint64_t connections_max = 0;    ///< there were as many as may be
  std::uint64_t descriptors = 0;        ///< the rest of the descriptors is kept for databases
  std::uint64_t buffers_bytes = 0;      ///< they held too much, with the others
  std::uint64_t password_deadline = 0;  ///< they did not say the password in time
  std::uint64_t wrong_passwords = 0;    ///< too many of these came from their address
};

struct ClientFacts {
  std::uint64_t connections = 0, connections_max = 0;
  std::uint64_t without_password = 0;  ///< connections that have yet to say it
  std::uint64_t buffers_bytes = 0, buffers_bytes_max = 0;
  std::uint64_t wrong_passwords = 0;  ///< since the start
  ClientRefusals refused;
};

}  // namespace crosslink::node
