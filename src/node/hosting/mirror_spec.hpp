// What an operator decides about a mirror: where its source is, and how it is followed.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "crosslink/quic/config.hpp"

namespace crosslink::node {

struct MirrorSpec {
  std::string source_cluster, source_database;
  std::string addresses;  ///< HOST:PORT, or several, comma separated
  bool sync = false;      ///< demand sync mode
  quic::CongestionControl congestion = quic::CongestionControl::bbr;
  std::uint64_t bandwidth_bytes_per_s = 0;  ///< 0: no limit
  bool resync_when_source_behind = false;
  bool paused = false;
  friend bool operator==(const MirrorSpec&, const MirrorSpec&) = default;

  std::string source_name() const { return source_cluster + "/" + source_database; }
};

}  // namespace crosslink::node
