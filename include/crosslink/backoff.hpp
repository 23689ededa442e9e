// Times of the link. They are part of the handshake's protocol, which another implementation speaks as well, and so are
// constants: docs/protocol.md, "Deadlines" and "Reconnecting".
#pragma once

#include <chrono>

namespace crosslink {

/// The wait before the first redial, and again after progress (CrossClusterLink::note_progress). It doubles with each
/// attempt that fails.
inline constexpr std::chrono::milliseconds backoff_base{500};
/// It grows no longer than this: with the jitter, a source that is back is dialled within 37.5 s.
inline constexpr std::chrono::milliseconds backoff_cap{30'000};
/// Each delay is drawn evenly from 75 % to 125 % of the backoff, so that mirrors of one source do not come back
/// together.
inline constexpr double backoff_jitter = 0.25;
/// Of one attempt of a mirror: resolving, dialling, TLS and the hello's answer together. Then it is a Timeout.
inline constexpr std::chrono::milliseconds handshake_deadline{5'000};
/// How long a source waits for the hello after the QUIC connection stands: then it closes with 0x11.
inline constexpr std::chrono::milliseconds hello_deadline{5'000};
/// How long a source waits, after a refusal, for the ack to be acknowledged or the mirror to close, so that the reason
/// arrives. Then it closes all the same.
inline constexpr std::chrono::milliseconds refusal_linger{2'000};

}  // namespace crosslink
