// The simulator's time and chance: one thread, one seed, one queue of events.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace crosslink::sim {

using Time = std::chrono::microseconds;

/// What must never happen has happened.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Tally {
  std::uint64_t steps = 0, faults = 0, commits = 0, applied = 0, bootstraps = 0, verifies = 0, promotions = 0,
                halts = 0, confirmed = 0;
  std::map<std::string, std::uint64_t> events;
};

class World {
 public:
  explicit World(std::uint64_t seed, bool tell) : random_(seed), tell_(tell) {}

  Time now() const { return now_; }
  void after(Time delay, std::function<void()> what);
  /// Runs events until `until`; false when there are none left.
  bool run_until(Time until, const std::function<void()>& after_each);

  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : random_() % bound; }
  bool chance(double probability) { return static_cast<double>(random_() >> 11) * 0x1p-53 < probability; }
  Time between(Time low, Time high) {
    return low + Time(static_cast<Time::rep>(below(static_cast<std::uint64_t>((high - low).count()) + 1)));
  }
  std::mt19937_64& random() { return random_; }

  /// Something that every large number of runs must have seen (events.hpp) has happened.
  void happened(std::string_view event) { ++tally.events[std::string(event)]; }

  /// A line of the run's history; printed when a seed is replayed, the last ones when it fails.
  void tell(const std::string& line);
  const std::deque<std::string>& history() const { return history_; }
  Tally tally;

 private:
  std::mt19937_64 random_;
  bool tell_;
  Time now_{0};
  std::multimap<Time, std::function<void()>> events_;  ///< of equal times, the first put in comes first
  std::deque<std::string> history_;
};

}  // namespace crosslink::sim
