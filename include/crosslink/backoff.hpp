// Times of the link. All are contract (design section 4) except where said.
#pragma once

#include <chrono>

namespace crosslink {

inline constexpr std::chrono::milliseconds backoff_base{500};
inline constexpr std::chrono::milliseconds backoff_cap{30'000};
/// Each delay is drawn evenly from 75 % to 125 % of the backoff, so that mirrors of one source do not come back
/// together.
inline constexpr double backoff_jitter = 0.25;
/// Dial and handshake together.
inline constexpr std::chrono::milliseconds handshake_deadline{5'000};
/// How long a source waits for the hello after the QUIC connection stands.
inline constexpr std::chrono::milliseconds hello_deadline{5'000};
/// How long a source waits, after a refusal, for the ack to be acknowledged or the mirror to close.
inline constexpr std::chrono::milliseconds refusal_linger{2'000};

}  // namespace crosslink
