// One attempt of a link: from an address to an accepted handshake.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "crosslink/handshake.hpp"
#include "crosslink/quic/endpoint.hpp"
#include "quic/name_lookup.hpp"

namespace crosslink::link {

/// HOST:PORT of a source. Errors: Configuration, also for what can be listened at but not dialled.
Result<quic::HostPort> parse_source_address(std::string_view text);

inline constexpr std::size_t source_addresses_max = 16;
/// At commas, without spaces around; not checked.
std::vector<std::string> split_source_addresses(std::string_view text);
/// Each for itself, and how many. Errors: Configuration.
Result<void> check_source_addresses(std::span<const std::string> addresses);

struct DialTarget {
  std::string address;     ///< HOST:PORT
  std::uint64_t turn = 0;  ///< a name with several addresses is dialled from this one on, counted round
  quic::detail::BlockingLookup lookup;
  MirrorHello hello;
  std::chrono::milliseconds deadline;
};

struct Established {
  quic::Connection connection;
  MirrorHelloAck ack;
};

/// Resolves, dials, shakes hands, all within the deadline. An address of the name that cannot be reached gives way to
/// the next one; one that is silent keeps the attempt to itself, and the next attempt begins elsewhere. On any error
/// nothing stays open. `answer` becomes the ack that the source sent, accepting or refusing, or stays as it is when
/// none came; it must outlive the task. Errors: those of CrossClusterLink::connect that concern one attempt.
Task<Established> dial(quic::Endpoint endpoint, const quic::ClientConfig& config, DialTarget target,
                       std::optional<MirrorHelloAck>& answer);

}  // namespace crosslink::link
