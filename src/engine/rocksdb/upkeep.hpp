// Looks after the open databases of a process, each once a second, on a few threads for all of them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace crosslink::rocks {

/// Thread safe. A look that blocks keeps its own thread and no other: no two threads look after one database at once.
class Upkeep {
 public:
  explicit Upkeep(std::size_t threads);
  /// Precondition: every place is gone.
  ~Upkeep();
  Upkeep(const Upkeep&) = delete;
  Upkeep& operator=(const Upkeep&) = delete;

  /// While it is there a database is looked after. Its destructor waits for a look that is under way.
  class Place {
   public:
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    friend class Upkeep;
    Place(Upkeep& upkeep, std::uint64_t id) : upkeep_(upkeep), id_(id) {}
    Upkeep& upkeep_;
    const std::uint64_t id_;
  };
  /// `look` is called a second after this, and a second after each of its returns. It must outlive the place.
  std::unique_ptr<Place> look_after(std::function<void()> look);

 private:
  using Clock = std::chrono::steady_clock;
  struct Database {
    std::function<void()> look;
    bool is_looked_at = false;
  };
  void work();
  void remove(std::uint64_t id);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable looked_;
  std::map<std::uint64_t, Database> databases_;
  std::multimap<Clock::time_point, std::uint64_t> due_;  ///< of those that are not looked at now
  std::uint64_t last_id_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace crosslink::rocks
