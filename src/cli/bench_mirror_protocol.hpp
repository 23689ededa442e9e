// What `crosslink bench mirror` says besides mirroring, over a link of its own to the database "control" (frame kind
// 0x60; no other program speaks it). Numbers are u64, big-endian.
//
//   mirror: one request on a stream: entries to commit, entries per second (0: as fast as it goes)
//   source: one answer once they are committed: the last LSN, its CPU time in us, its resident memory in bytes
#pragma once

#include <cstdint>

namespace crosslink::cli {

inline constexpr const char* bench_database = "bench";
inline constexpr const char* bench_control_database = "control";

struct BenchOrder {
  std::uint64_t entries = 0, per_second = 0;
  static constexpr std::size_t payload_bytes = 16;
};
struct BenchAnswer {
  std::uint64_t last_lsn = 0, cpu_us = 0, resident_bytes = 0;
  static constexpr std::size_t payload_bytes = 24;
};

/// CPU time that this process has used, user and system.
std::uint64_t own_cpu_us();
/// Resident memory of this process now.
std::uint64_t own_resident_bytes();

}  // namespace crosslink::cli
