// The thread that runs the commands which write to one database: one after another, each seeing what those before it
// wrote, many of them in one commit.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "crosslink/rocksdb_engine.hpp"
#include "node/command_table.hpp"

namespace crosslink::node {

/// Keys that a connection wants to know of when they are written. Thread safe.
class Watch {
 public:
  bool touched() const { return touched_; }
  void touch() { touched_ = true; }

 private:
  friend class WatchTable;
  friend class CommitQueue;
  std::atomic<bool> touched_ = false;
  std::vector<std::string> keys_;  // guarded by the table's mutex
};

class WatchTable {
 public:
  void watch(const std::shared_ptr<Watch>& watch, std::string_view key);
  void unwatch(const std::shared_ptr<Watch>& watch);
  void touch(std::span<const Operation> operations);
  std::vector<std::string> keys_of(const Watch& watch) const;

 private:
  mutable std::mutex mutex_;
  std::atomic<std::size_t> watched_ = 0;
  std::unordered_multimap<std::string, std::shared_ptr<Watch>> by_key_;
};

struct PlacedCommand {
  const Command* command;
  Words words;
};

/// Commands of one connection, in order.
struct WriteRun {
  std::vector<PlacedCommand> commands;
  bool transaction = false;      ///< EXEC: one array of replies; nothing at all if `watch` was touched
  std::shared_ptr<Watch> watch;  ///< may be null
  RespReply reply;
  Lsn lsn;  ///< of the commit that its writes are in; 0: it wrote nothing
};

class CommitQueue {
 public:
  /// Waits here at once, before a connection is made to wait; more are refused.
  static constexpr std::size_t runs_max = 100'000;

  CommitQueue(RocksdbDatabase& database, WatchTable& watches);
  /// Runs what was queued, then ends.
  ~CommitQueue();
  CommitQueue(const CommitQueue&) = delete;
  CommitQueue& operator=(const CommitQueue&) = delete;

  /// `done` is called on the committing thread once `run` has its replies; `run` and what its words stand in must stay
  /// until then.
  void push(WriteRun& run, std::function<void()> done);

 private:
  struct Queued {
    WriteRun* run;
    std::function<void()> done;
  };
  void work();
  void execute(WriteRun& run);
  void commit(std::vector<Queued>& group);

  RocksdbDatabase* const database_;
  WatchTable* const watches_;
  class Committed;
  const std::unique_ptr<Committed> committed_;
  PendingWrites pending_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Queued> queue_;
  bool stopping_ = false;
  std::jthread thread_;
};

}  // namespace crosslink::node
