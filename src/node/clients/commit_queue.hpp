// Runs the commands which write to one database: one after another, each seeing what those before it wrote, many of them
// in one commit.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "node/clients/pending_writes.hpp"
#include "node/clients/write_run.hpp"

namespace crosslink {
class RocksdbDatabase;
}

namespace crosslink::node {

class SyncGate;
class WatchTable;

/// Thread safe.
class CommitQueue {
 public:
  /// Waits at once to be carried out, or to be confirmed by mirrors; more are refused, and nothing of them is stored.
  static constexpr std::size_t runs_max = 100'000;

  /// All must outlive it. `gate` may be null: nothing waits for mirrors. `committers`: threads that commit for many
  /// databases; for this one at most one of them does at a time.
  CommitQueue(RocksdbDatabase& database, WatchTable& watches, SyncGate* gate, boost::asio::any_io_executor committers);
  /// Runs what was queued, then ends.
  ~CommitQueue();
  CommitQueue(const CommitQueue&) = delete;
  CommitQueue& operator=(const CommitQueue&) = delete;

  /// `done` is called once `run` has its replies, on the committing thread or one of the gate's; `run` and what its
  /// words stand in must stay until then.
  void push(WriteRun& run, std::function<void()> done);

  /// Runs are refused from now on, and what was taken on before is carried out when it returns: nothing is committed
  /// after that. Blocks for a commit at most.
  /// As often as it is fenced it is to be lifted.
  void fence();
  void lift_fence();

 private:
  void take_turn();
  struct Member {
    AnsweredRun answered;
    std::size_t first_answer;  ///< those before it were committed already
  };
  void carry_out(std::deque<AnsweredRun>& waiting);
  bool execute(std::vector<Member>& group);
  void execute_transaction(WriteRun& run);
  void commit_pending(std::vector<Member>& group);
  void commit_all(std::vector<Member>& group);
  void answer(std::vector<Member>& group);

  RocksdbDatabase* const database_;
  WatchTable* const watches_;
  SyncGate* const gate_;
  class Committed;
  const std::unique_ptr<Committed> committed_;
  PendingWrites pending_;
  const boost::asio::any_io_executor committers_;
  std::mutex mutex_;
  std::deque<AnsweredRun> queue_;
  bool stopping_ = false;
  int fences_ = 0;
  bool at_work_ = false;  ///< a committer has its turn here, or is about to
  std::condition_variable rested_;
};

/// Has the committing thread carry out the run, and waits for it, whatever is cancelled meanwhile.
awaitable<void> commit(CommitQueue& queue, WriteRun& run);

}  // namespace crosslink::node
