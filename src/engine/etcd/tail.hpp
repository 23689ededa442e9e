// Follows a database's newest log by a watch that is never given up, and knows how old what it has may be.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/etcd/history.hpp"
#include "engine/etcd/log_store.hpp"

namespace crosslink::etcd {

class Tail {
 public:
  Tail(LogOrigin origin, LogStore& store) : origin_(std::move(origin)), store_(&store), history_(origin_) {}
  ~Tail();
  /// Begins a little before the newest revision and returns when it has come to it. Errors: NotAuthorized; Storage.
  Result<void> start();

  /// An upper bound of what the head may be missing; absent: not known.
  std::optional<std::chrono::microseconds> behind() const;
  /// The log after it is there, here or in etcd's history.
  Lsn oldest() const;
  Result<void> wait_for(Lsn lsn, std::chrono::milliseconds patience);
  void watch_head(std::function<void(Lsn head)> on_head);
  std::string remark() const;
  const LogOrigin& origin() const { return origin_; }
  PastLog& history() { return history_; }
  /// After a compaction: looks at once, and drops what is kept if told.
  Result<void> look_at_window(bool drop_kept);

 private:
  using Clock = std::chrono::steady_clock;
  void follow();
  Result<void> read_watch();
  void take(const wire::WatchResponse& response);
  void lost_window();
  void poll();
  void poll_once();
  bool pause(std::chrono::milliseconds time);
  Result<std::int64_t> newest_revision();
  void head_moved(Lsn head);

  LogOrigin origin_;
  LogStore* const store_;
  PastLog history_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool stopping_ = false;
  std::shared_ptr<WatchStream> watch_;  ///< while it is read
  std::string trouble_;
  struct Asked {
    Clock::time_point at;
    Lsn revision;
  };
  mutable std::deque<Asked> asked_;  ///< newest revisions that the head has not come to
  mutable std::optional<Clock::time_point> complete_at_;
  mutable std::atomic<Clock::rep> wanted_at_ = 0;  ///< somebody asked for the state
  std::atomic<std::uint64_t> compacted_ = 0;
  std::mutex tell_mutex_;
  std::function<void(Lsn)> on_head_;
  std::thread follower_, poller_;
};

}  // namespace crosslink::etcd
