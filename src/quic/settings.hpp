// Our configs in the transport's form.
#pragma once

#include <msquic.h>

#include <string>
#include <vector>

#include "crosslink/quic/config.hpp"
#include "crosslink/result.hpp"

namespace crosslink::quic::detail {

QUIC_SETTINGS client_settings(const ClientConfig& config);
QUIC_SETTINGS server_settings(const ServerConfig& config);

/// Errors (us): Configuration for values the transport would refuse or silently bend.
Result<void> check(const TransportSettings& transport);
Result<void> check(const ClientConfig& config);
Result<void> check(const ServerConfig& config);

/// ALPN names as the transport wants them; they point into `alpn`.
std::vector<QUIC_BUFFER> alpn_buffers(const std::vector<std::string>& alpn);

std::string_view to_string(CongestionControl congestion);

}  // namespace crosslink::quic::detail
