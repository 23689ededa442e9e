#include "quic/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace crosslink::quic {

void DeniedSerials::set(std::set<std::string> serials) {
  const std::scoped_lock lock(mutex_);
  serials_ = std::move(serials);
}

bool DeniedSerials::contains(const std::string& serial) const {
  const std::scoped_lock lock(mutex_);
  return serials_.contains(serial);
}

}  // namespace crosslink::quic

namespace crosslink::quic::detail {
namespace {

constexpr std::uint16_t mtu_floor = 1248;  // msquic's QUIC_DPLPMTUD_MIN_MTU
constexpr std::uint16_t mtu_ceiling = 1500;
constexpr std::uint32_t stream_window_floor_bytes = 64 * 1024;
constexpr std::chrono::milliseconds time_floor{100};
constexpr std::chrono::milliseconds time_ceiling = std::chrono::minutes(10);  // msquic's longest disconnect timeout

std::uint64_t ms(std::chrono::milliseconds duration) { return static_cast<std::uint64_t>(duration.count()); }

// A setting counts only with its IsSet bit.
#define CROSSLINK_SET(settings, field, value) \
  do {                                        \
    (settings).field = (value);               \
    (settings).IsSet.field = 1;               \
  } while (false)

QUIC_SETTINGS common_settings(const TransportSettings& transport) {
  QUIC_SETTINGS settings{};
  CROSSLINK_SET(settings, IdleTimeoutMs, ms(transport.idle_timeout));
  // The idle timer starts again at the first PING after the last packet heard, so a peer that is gone would be noticed
  // only idle_timeout + keep_alive after its death. Unacknowledged for the rest of the idle time is dead as well.
  const auto silence = transport.keep_alive.count() > 0 && transport.keep_alive < transport.idle_timeout
                           ? transport.idle_timeout - transport.keep_alive
                           : transport.idle_timeout;
  CROSSLINK_SET(settings, DisconnectTimeoutMs, static_cast<std::uint32_t>(silence.count()));
  CROSSLINK_SET(settings, KeepAliveIntervalMs, static_cast<std::uint32_t>(transport.keep_alive.count()));
  CROSSLINK_SET(settings, CongestionControlAlgorithm,
                static_cast<std::uint16_t>(transport.congestion == CongestionControl::bbr
                                               ? QUIC_CONGESTION_CONTROL_ALGORITHM_BBR
                                               : QUIC_CONGESTION_CONTROL_ALGORITHM_CUBIC));
  CROSSLINK_SET(settings, PeerUnidiStreamCount, transport.uni_streams_allowed);
  CROSSLINK_SET(settings, MinimumMtu, mtu_floor);
  CROSSLINK_SET(settings, MaximumMtu, transport.mtu_max);
  // Writes own their bytes until acknowledged, so the transport need not copy them.
  CROSSLINK_SET(settings, SendBufferingEnabled, 0);
  CROSSLINK_SET(settings, ServerResumptionLevel, QUIC_SERVER_NO_RESUME);
  return settings;
}

}  // namespace

QUIC_SETTINGS client_settings(const ClientConfig& config) {
  QUIC_SETTINGS settings = common_settings(config.transport);
  CROSSLINK_SET(settings, StreamRecvWindowDefault, config.stream_window_bytes);
  CROSSLINK_SET(settings, ConnFlowControlWindow, static_cast<std::uint32_t>(config.connection_window_bytes()));
  CROSSLINK_SET(settings, PeerBidiStreamCount, 0);
  return settings;
}

QUIC_SETTINGS server_settings(const ServerConfig& config) {
  QUIC_SETTINGS settings = common_settings(config.transport);
  CROSSLINK_SET(settings, StreamRecvWindowDefault, config.stream_window_bytes);
  CROSSLINK_SET(settings, ConnFlowControlWindow, config.connection_window_bytes);
  CROSSLINK_SET(settings, PeerBidiStreamCount, config.streams_before_acceptance);
  CROSSLINK_SET(settings, HandshakeIdleTimeoutMs, ms(config.handshake_timeout));
  return settings;
}

#undef CROSSLINK_SET

namespace {
Result<void> check_time(std::string_view name, std::chrono::milliseconds time, std::chrono::milliseconds floor) {
  if (time >= floor && time <= time_ceiling) return {};
  return MirrorError::configuration(
      fmt::format("{} {} ms must lie between {} and {} ms", name, time.count(), floor.count(), time_ceiling.count()));
}
}  // namespace

Result<void> check(const TransportSettings& transport) {
  if (transport.alpn.empty()) {
    return MirrorError::configuration("no ALPN is given: name at least one");
  }
  for (const auto& name : transport.alpn) {
    if (name.empty() || name.size() > 255) {
      return MirrorError::configuration(fmt::format("ALPN '{}' must have 1 to 255 bytes", escape(name)));
    }
  }
  if (transport.mtu_max < mtu_floor || transport.mtu_max > mtu_ceiling) {
    return MirrorError::configuration(
        fmt::format("mtu_max {} must lie between {} and {}", transport.mtu_max, mtu_floor, mtu_ceiling));
  }
  if (auto checked = check_time("idle_timeout", transport.idle_timeout, time_floor); !checked) return checked;
  return check_time("keep_alive", transport.keep_alive, std::chrono::milliseconds(0));
}

namespace {
Result<void> check_window(std::uint32_t bytes) {
  if (!std::has_single_bit(bytes) || bytes < stream_window_floor_bytes) {
    return MirrorError::configuration(
        fmt::format("stream_window_bytes {} must be a power of two of at least {}", bytes, stream_window_floor_bytes));
  }
  return {};
}
}  // namespace

Result<void> check(const ClientConfig& config) {
  if (auto checked = check(config.transport); !checked) return checked;
  if (auto checked = check_window(config.stream_window_bytes); !checked) return checked;
  if (config.bulk_streams == 0 || config.connection_window_bytes() > UINT32_MAX) {
    return MirrorError::configuration("stream_window_bytes times bulk_streams must be under 4 GiB and above 0");
  }
  return {};
}

Result<void> check(const ServerConfig& config) {
  if (auto checked = check(config.transport); !checked) return checked;
  if (auto checked = check_window(config.stream_window_bytes); !checked) return checked;
  if (config.connection_window_bytes < config.stream_window_bytes) {
    return MirrorError::configuration(fmt::format("connection_window_bytes {} must be at least stream_window_bytes {}",
                                                  config.connection_window_bytes, config.stream_window_bytes));
  }
  if (config.streams_before_acceptance == 0) {
    return MirrorError::configuration("streams_before_acceptance must be at least 1: a hello needs a stream");
  }
  if (config.connections_max == 0) return MirrorError::configuration("connections_max must be at least 1");
  return check_time("handshake_timeout", config.handshake_timeout, time_floor);
}

std::vector<QUIC_BUFFER> alpn_buffers(const std::vector<std::string>& alpn) {
  std::vector<QUIC_BUFFER> buffers;
  buffers.reserve(alpn.size());
  for (const auto& name : alpn) {
    buffers.push_back(
        {static_cast<std::uint32_t>(name.size()), reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data()))});
  }
  return buffers;
}

std::string_view to_string(CongestionControl congestion) {
  switch (congestion) {
    case CongestionControl::bbr: return "bbr";
    case CongestionControl::cubic: return "cubic";
  }
  return "unknown";
}

}  // namespace crosslink::quic::detail
