// How a source says no: an ack that is never lost, then the close code.
#pragma once

#include <cstdint>

#include "crosslink/handshake.hpp"
#include "crosslink/quic/stream.hpp"

namespace crosslink::link {

MirrorError voter_class_error(std::uint8_t kind);
/// What the connection is closed with after this error.
std::uint64_t close_code_of(const MirrorError& error);
/// Sends the refusing ack as the last thing on its stream and waits, refusal_linger at most, until it was acknowledged
/// or the mirror is gone. Whatever happens, the caller closes next; hence no result. Needs throw_if_cancelled(false).
awaitable<void> send_refusal(quic::SendStream& stream, const MirrorError& error, const ClusterId& cluster_id);

}  // namespace crosslink::link
