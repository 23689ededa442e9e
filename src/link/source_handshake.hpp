// The source's half of the handshake, for handle_mirror_connection and for the acceptor.
#pragma once

#include <optional>

#include "crosslink/source.hpp"

namespace crosslink::link {

/// As handle_mirror_connection, on the caller's strand; `seen` keeps the hello, also of a mirror that is refused.
Task<AcceptedMirror> serve_hello(quic::Connection connection, const SourcePolicy& policy,
                                 std::optional<MirrorHello>& seen);

}  // namespace crosslink::link
