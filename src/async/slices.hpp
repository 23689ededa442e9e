// Long work of an engine in slices: each runs on an engine's thread, behind what waits there, and between them the
// caller looks whether it is still wanted.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "async/engine_call.hpp"

namespace crosslink::async {

/// How long a slice has a thread, about.
inline constexpr std::chrono::milliseconds slice_time{10};

/// Says when a slice has had its time, counted from the first time it is asked.
class SliceClock {
 public:
  using Clock = std::chrono::steady_clock;
  explicit SliceClock(std::chrono::milliseconds time = slice_time) : time_(time) {}
  /// Asked for each item, of its bytes.
  bool is_over(std::size_t bytes) {
    if (!begin_) begin_ = Clock::now();
    // To look at the clock for each key would take longer than most keys do.
    unlooked_bytes_ += bytes + item_bytes;
    if (unlooked_bytes_ < look_every_bytes) return false;
    unlooked_bytes_ = 0;
    return Clock::now() - *begin_ >= time_;
  }

 private:
  static constexpr std::size_t item_bytes = 256, look_every_bytes = 64 * 1024;
  const std::chrono::milliseconds time_;
  std::optional<Clock::time_point> begin_;
  std::size_t unlooked_bytes_ = 0;
};

/// Calls `slice` on `executor` again and again until it returns true, or until `is_wanted`, which is asked in between
/// where this is awaited, returns false. True: it was carried through. What `slice` needs it must hold itself.
template <class Slice, class IsWanted>
awaitable<bool> call_in_slices(boost::asio::any_io_executor executor, Slice slice, IsWanted is_wanted) {
  const auto shared = std::make_shared<Slice>(std::move(slice));
  for (;;) {
    auto work = [shared] { return (*shared)(); };
    auto calling = call_engine(executor, std::move(work));
    const bool done = co_await std::move(calling);
    if (done) co_return true;
    if (!is_wanted()) co_return false;
  }
}

}  // namespace crosslink::async
