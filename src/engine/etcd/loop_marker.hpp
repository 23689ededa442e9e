// Keys by which a mirror finds that its own writes come back to it, and what makes it look for that.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace crosslink::etcd {

/// The last part of a marker's key, which no other mirror draws: "crosslink-loop-" and an id in hex.
std::string new_loop_marker();
/// Ends the key as a marker's does, of whichever mirror?
bool is_loop_marker(std::string_view key);

/// Below 12. Of the mirrors that make a loop, all of which see it, the least patient one is to look, and to halt.
std::uint64_t drawn_patience();

/// What a mirror wrote, remembered in part and for a while: a source that gives the same again may have it from here.
/// It proves nothing, since a client may write a value twice. 64 KiB.
class ReturnedWrites {
 public:
  /// To be called with each value that is written. True: this very value was written to the key before, and is
  /// remembered.
  bool note(std::string_view key, std::string_view value, std::chrono::steady_clock::time_point now);

 private:
  struct Slot {
    std::uint64_t key = 0, value = 0;
    std::chrono::steady_clock::time_point at;
  };
  std::vector<Slot> slots_;
};

}  // namespace crosslink::etcd
