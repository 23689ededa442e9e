// What the transport's status codes mean in our words.
#pragma once

#include <msquic.h>

#include <string>
#include <string_view>

#include "crosslink/error.hpp"

namespace crosslink::quic::detail {

/// Where a connection stood when the transport ended it: tells our refusal of a certificate from the peer's of ours.
struct ShutdownContext {
  bool client = false;
  bool connected = false;
  std::string refusal;  ///< our own reason for refusing the peer's certificate, if we did
  std::string remote;   ///< address, for the sentence
};

MirrorError transport_shutdown_error(QUIC_STATUS status, QUIC_UINT62 error_code, const ShutdownContext& context);
MirrorError closed_by_peer_error(QUIC_UINT62 code, std::string_view remote);
MirrorError closed_locally_error();
/// For API calls that fail outright.
MirrorError local_failure(std::string_view what, QUIC_STATUS status);
std::string describe_status(QUIC_STATUS status);

}  // namespace crosslink::quic::detail
