// Keeps a connection's payload below a given rate, for lines whose rate is known.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace crosslink::quic::detail {

/// Hands out send times so that bytes leave evenly. Thread safe.
class Pacer {
 public:
  using Clock = std::chrono::steady_clock;
  /// 0 is no limit.
  explicit Pacer(std::uint64_t bits_per_s) : bytes_per_s_(static_cast<double>(bits_per_s) / 8 * payload_share) {}

  bool active() const { return bytes_per_s_ > 0; }
  /// Largest piece to send at once: about two milliseconds of line, so that no queue on the way sees a burst.
  std::size_t piece_bytes() const {
    return static_cast<std::size_t>(std::max(bytes_per_s_ * piece_seconds, static_cast<double>(piece_bytes_min)));
  }
  /// What may be unacknowledged at least. A lost packet holds back the acknowledgement of all that was written after
  /// it, for a round trip or two; a paced writer that waits for that loses the time for good.
  std::uint64_t in_flight_bytes() const {
    return static_cast<std::uint64_t>(std::min(bytes_per_s_ * in_flight_seconds, in_flight_bytes_max));
  }
  /// When the next `bytes` may go. Time that was not used is not saved up beyond one piece.
  Clock::time_point reserve(std::size_t bytes, Clock::time_point now) {
    const std::scoped_lock lock(mutex_);
    next_ = std::max(next_,
                     now - std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(piece_seconds)));
    const auto start = next_;
    next_ += std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(static_cast<double>(bytes) / bytes_per_s_));
    return start;
  }

 private:
  // Of a full packet of 1500 bytes on the line about 1,430 are stream bytes (IP, UDP, QUIC, AEAD tag), and one in a
  // hundred may be sent twice: the cap is meant for the line.
  static constexpr double payload_share = 0.94;
  static constexpr double piece_seconds = 0.002;
  static constexpr double in_flight_seconds = 0.4;
  static constexpr double in_flight_bytes_max = 64.0 * 1024 * 1024;  // whatever rate is configured
  static constexpr std::size_t piece_bytes_min = 16 * 1024;
  double bytes_per_s_;
  std::mutex mutex_;
  Clock::time_point next_{};
};

}  // namespace crosslink::quic::detail
