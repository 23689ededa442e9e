// What `crosslink-bench link` says on a stream (frame kind 0x60; no other program speaks it).
//
//   mirror: one request, u64 big-endian: how many bytes of data it wants
//   source: frames of data, then one report frame
//   mirror: acks in between, u64 big-endian: bytes taken so far, by which the source's throttle lets go
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "crosslink/frame.hpp"

namespace crosslink::bench {

inline constexpr std::size_t bench_number_bytes = 8;
/// The mirror acks at least this often; design section 4.
inline constexpr std::uint64_t bench_ack_bytes = 4 * 1024 * 1024;

struct BenchReport {
  std::uint64_t packets_lost = 0;
  std::uint64_t packets_sent = 0;
  std::uint64_t round_trip_us = 0;
  std::uint64_t congestion_window_bytes = 0;
  static constexpr std::size_t payload_bytes = 4 * bench_number_bytes;
};

inline void put_number(std::vector<std::byte>& out, std::uint64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::byte>((number >> shift) & 0xff));
}

inline std::uint64_t take_number(std::span<const std::byte, bench_number_bytes> bytes) {
  std::uint64_t number = 0;
  for (const auto byte : bytes)
    number = number << 8 | std::to_integer<std::uint64_t>(byte);
  return number;
}

inline std::vector<std::byte> number_frame(std::uint64_t number) {
  std::vector<std::byte> payload;
  put_number(payload, number);
  return encode_frame(frame_kind::bench, payload);
}

inline std::vector<std::byte> report_frame(const BenchReport& report) {
  std::vector<std::byte> payload;
  for (const auto number :
       {report.packets_lost, report.packets_sent, report.round_trip_us, report.congestion_window_bytes}) {
    put_number(payload, number);
  }
  return encode_frame(frame_kind::bench, payload);
}

inline BenchReport take_report(std::span<const std::byte, BenchReport::payload_bytes> bytes) {
  return {take_number(bytes.subspan<0, 8>()), take_number(bytes.subspan<8, 8>()), take_number(bytes.subspan<16, 8>()),
          take_number(bytes.subspan<24, 8>())};
}

}  // namespace crosslink::bench
