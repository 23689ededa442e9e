// What `crosslink-bench mirror` says besides mirroring, over a link of its own to the database "control" (frame kind
// 0x60; no other program speaks it). Numbers are u64, big-endian.
//
//   mirror: one request on a stream: a BenchOrder
//   source: one answer once that is done: the last LSN, its CPU time in us, its resident memory in bytes, how long
//           committing took in us
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace crosslink::bench {

inline constexpr const char* bench_database = "bench";
inline constexpr const char* bench_control_database = "control";

/// What the source is to commit before it answers.
struct BenchOrder {
  std::uint64_t entries = 0;
  std::uint64_t per_second = 0;  ///< 0: as fast as it goes
  std::uint64_t keys = 10'000;
  std::uint64_t in_order = 0;           ///< 1: one key after another from the first; 0: any, uniformly
  std::uint64_t operations = 1;         ///< in each entry, each a put
  std::uint64_t operation_bytes = 128;  ///< encoded, as an entry of one operation
  std::uint64_t purge = 0;              ///< 1: and then bring all to tables and drop the log
  static constexpr std::size_t count = 7, payload_bytes = count * 8;
  std::array<std::uint64_t, count> numbers() const {
    return {entries, per_second, keys, in_order, operations, operation_bytes, purge};
  }
  static BenchOrder of(const std::array<std::uint64_t, count>& numbers) {
    return {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]};
  }
  /// What a source may be asked for at once.
  bool is_sane() const {
    return entries <= 1'000'000'000 && keys > 0 && operations > 0 && operations <= 4096 && operation_bytes >= 64 &&
           operation_bytes <= 1024 * 1024;
  }
};
struct BenchAnswer {
  std::uint64_t last_lsn = 0, cpu_us = 0, resident_bytes = 0, took_us = 0;
  static constexpr std::size_t payload_bytes = 32;
};

/// CPU time that this process has used, user and system.
std::uint64_t own_cpu_us();
/// Resident memory of this process now.
std::uint64_t own_resident_bytes();

}  // namespace crosslink::bench
