// Names to addresses. getaddrinfo cannot be interrupted, so it has a thread of its own, for which no caller waits.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "crosslink/quic/endpoint.hpp"

namespace crosslink::quic::detail {

/// Blocks. Called on a thread of its own, perhaps still after the caller has gone.
using BlockingLookup = std::function<Result<std::vector<Address>>(const std::string& host, std::uint16_t port)>;

/// More answers than this are not looked at.
inline constexpr std::size_t addresses_max = 16;

/// The system's resolver: each address once, in its order, at least one. Errors: Transport (unresolved).
Result<std::vector<Address>> look_up_in_system(const std::string& host, std::uint16_t port);

/// A resolver that hangs keeps its thread; more than this many are not started. One mirror has one under way.
inline constexpr int lookups_max = 64;

/// An IP literal as it stands, else `lookup`'s answers. Errors: lookup's; Transport (unresolved) when lookups_max hang
/// already or no thread can be had; Cancelled, at once.
Task<std::vector<Address>> resolve_with(HostPort host_port, BlockingLookup lookup);

}  // namespace crosslink::quic::detail
