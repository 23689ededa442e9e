// Sync mode: holds back the answers to writes until the mirrors that the config names have them on disk, or it is too
// late. docs/protocol.md, "Sync mode".
//
//   the committing thread -- hold() --> waiting --> done(), by whoever brought the decision about:
//   what mirrors say -- on_mirror_at() --^     ^-- look(), on a thread of the gate's own, when time is up
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/sync_rule.hpp"
#include "node/write_run.hpp"

namespace crosslink::node {

/// What an operator wants to know of a database in sync mode.
struct SyncFacts {
  std::vector<std::string> mirrors;  ///< as the config names them
  bool suspended = false;            ///< on_sync_loss = async, and a mirror is lost: nobody waits
  std::uint64_t waiting = 0;         ///< connections whose writes wait to be confirmed
  std::uint64_t unconfirmed = 0;     ///< writes that were answered NOSYNC, since the start
  std::uint64_t async = 0;           ///< writes that were answered OK without being confirmed, since the start
};

/// Thread safe.
class SyncGate {
 public:
  using Clock = std::function<core::Instant()>;
  /// Precondition: `config` names a mirror. `database` is for log lines.
  SyncGate(std::string database, core::SyncConfig config);
  /// With a clock of the caller's there is no thread: the caller calls look().
  SyncGate(std::string database, core::SyncConfig config, Clock clock);
  /// As stop().
  ~SyncGate();
  SyncGate(const SyncGate&) = delete;
  SyncGate& operator=(const SyncGate&) = delete;

  /// The writes of these runs are in the commit `lsn`, which is durable here. LSNs rise. Never waits: `done` of each is
  /// called before or after it returns, on any thread. No bound of its own: CommitQueue refuses what would be too much.
  void hold(Lsn lsn, std::vector<AnsweredRun> runs);
  /// A mirror with these certificate names said how far it is; `head` is the database's.
  void on_mirror_at(std::span<const std::string> peer_names, Lsn durable, Lsn head);
  /// Nothing that mirrors said before counts any more.
  void on_history_change();
  /// Whoever waits, and whoever comes from now on, is answered NOSYNC at once.
  void stop();
  /// Answers what time has decided.
  void look();
  /// When look() is due; absent: time decides nothing.
  std::optional<core::Instant> next_look() const;

  SyncFacts facts() const;
  std::size_t waiting() const;  ///< runs

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Waiting {
    Lsn lsn;
    std::vector<AnsweredRun> runs;
  };
  /// Runs that may be answered, and how.
  struct Decided {
    std::vector<AnsweredRun> runs;
    std::string error;  ///< empty: as they were carried out
  };
  /// Of a lost mirror: the head at some moment, which it has yet to reach.
  struct Goal {
    Lsn head;
    core::Instant since;
  };
  void decide(Lock lock);
  Decided answer(const core::SyncRule::Decided& decided);
  Decided refuse(Waiting waiting, const std::string& missing);
  bool caught_up(const std::string& mirror, Lsn durable, Lsn head);
  void work();

  const std::string database_;
  const core::SyncConfig config_;
  const Clock clock_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  core::SyncRule rule_;
  std::deque<Waiting> waiting_;
  std::map<std::string, Goal> goals_;
  std::size_t runs_ = 0;
  std::uint64_t unconfirmed_ = 0, async_ = 0;
  bool was_suspended_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace crosslink::node
