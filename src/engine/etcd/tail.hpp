// Follows a database's newest log by a watch that is never given up, and knows how old what it has may be.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
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
  /// `on_gone_back` is called, on a thread of this, when the cluster turned out to be in an earlier state than it had
  /// been read in: restored from a backup, or emptied. The log goes on from what it has now.
  void watch_gone_back(std::function<void()> on_gone_back);
  std::uint64_t times_gone_back() const { return times_gone_back_; }
  std::string detail() const;
  const LogOrigin& origin() const { return origin_; }
  PastLog& history() { return history_; }
  /// After a compaction: looks at once, and drops what is kept if told.
  Result<void> look_at_window(bool drop_kept);

 private:
  using Clock = std::chrono::steady_clock;
  /// The last revision that a watch brought, which the next one must find again.
  struct Witness {
    Lsn revision;
    EntryHash events;
    friend bool operator==(const Witness&, const Witness&) = default;
  };
  static Witness witness_of(std::span<const wire::Event* const> events);
  static std::optional<bool> finds(const Witness& witness, const wire::WatchResponse& response);
  void follow();
  Result<void> read_watch(bool proving);
  MirrorError note_gone_back();
  Result<void> take(const wire::WatchResponse& response);
  void lost_window();
  void skip(const MirrorError& too_large);
  bool gone_back();
  void poll();
  void poll_once();
  bool pause(std::chrono::milliseconds time);
  Result<std::int64_t> newest_revision();
  void head_moved(Lsn head);
  const std::string& trouble() const;

  LogOrigin origin_;
  LogStore* const store_;
  PastLog history_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool stopping_ = false;
  std::shared_ptr<WatchStream> watch_;  ///< while it is read
  LogOrigin::Scope watch_scope_ = LogOrigin::Scope::everything;
  std::optional<Witness> witness_;  ///< the follower's own
  bool has_gone_back_ = false;      ///< found, and not dealt with yet
  std::atomic<std::uint64_t> times_gone_back_ = 0;
  std::string watch_trouble_, poll_trouble_;
  std::optional<Lsn> stuck_at_;  ///< where a watch of everything stands, though the cluster has more
  std::string skipped_;          ///< of the last revision that was left out
  struct Asked {
    Clock::time_point at;
    Lsn revision;
  };
  mutable std::deque<Asked> asked_;  ///< newest revisions that the head has not come to
  mutable std::optional<Clock::time_point> complete_at_;
  mutable std::atomic<Clock::rep> wanted_at_ = 0;  ///< when the state was last asked for
  std::atomic<std::uint64_t> compacted_ = 0;
  std::mutex tell_mutex_;
  std::function<void(Lsn)> on_head_;
  std::function<void()> on_gone_back_;
  std::thread follower_, poller_;
};

}  // namespace crosslink::etcd
