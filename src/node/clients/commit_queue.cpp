#include "node/clients/commit_queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <iterator>
#include <utility>

#include "crosslink/rocksdb_engine.hpp"
#include "node/clients/connection_replies.hpp"
#include "node/clients/watch_table.hpp"
#include "node/hosting/sync_gate.hpp"

namespace crosslink::node {
namespace {

constexpr std::size_t group_bytes_max = 4ull * 1024 * 1024, group_operations_max = 8192;
/// Of a run that goes on: more than a value has, which may grow many times before it is committed, and with one more
/// command less than an entry may have.
constexpr std::size_t run_bytes_max = value_bytes_max + group_bytes_max, run_operations_max = 64 * 1024;
/// Of a committing thread with one database while others may wait for it.
constexpr std::chrono::milliseconds turn_max{5};
/// A transaction of more shares its commit with nothing that came before it.
constexpr std::size_t small_transaction_bytes_max = 1024 * 1024;

std::uint64_t now_us() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

void read_one(PendingWrites& pending, const PlacedCommand& placed, ReadCommand read, WriteRun& run) {
  const auto stale = run.why_stale ? run.why_stale() : std::string();
  if (!stale.empty()) return run.reply.error(stale);
  read(pending, placed.words, run.reply);
}

/// One command; what it answered becomes an error if the database failed it.
void run_one(PendingWrites& pending, const PlacedCommand& placed, WriteRun& run) {
  auto& reply = run.reply;
  const auto begin = reply.bytes().size();
  const auto written = pending.writes_made();
  if (const auto* write = std::get_if<WriteCommand>(&placed.command->run)) {
    (*write)(pending, placed.words, reply);
  } else if (const auto* read = std::get_if<ReadCommand>(&placed.command->run)) {
    read_one(pending, placed, *read, run);
  } else if (!answer_in_transaction(*placed.command, placed.words, reply)) {
    reply.error(fmt::format("ERR {} cannot stand in MULTI", placed.command->name));
  }
  const bool overflowed = reply.take_overflow();
  if (const auto error = pending.take_error()) {
    reply.cut(begin);
    reply.error(*error);
  } else if (overflowed || reply.bytes().size() > reply_bytes_max) {
    reply.cut(begin);
    reply.error(fmt::format("ERR {}{}", overflowed ? std::string(answers_hold_too_much) : answers_too_large(),
                            pending.writes_made() == written ? "" : ": the command was carried out all the same"));
  }
}

/// Can it become larger than its words are?
bool is_small_transaction(const WriteRun& run) {
  std::size_t bytes = 0;
  for (const auto& [command, words] : run.commands) {
    if (command->grows_values) return false;
    for (const auto word : words)
      bytes += word.size();
  }
  return bytes <= small_transaction_bytes_max;
}

std::string failure_text(const MirrorError& error) {
  if (error.kind() != ErrorKind::OutcomeUnknown) return fmt::format("ERR not stored: {}", error.message());
  return fmt::format(
      "ERR outcome unknown: the disk did not confirm this write ({}). It may be stored or not: read before you repeat "
      "it",
      error.message());
}

}  // namespace

class CommitQueue::Committed final : public KeyReader {
 public:
  explicit Committed(const RocksdbDatabase& database) : database_(&database) {}

 protected:
  Result<std::optional<std::string>> read(std::string_view key) override { return database_->get(key); }

 private:
  const RocksdbDatabase* const database_;
};

CommitQueue::CommitQueue(RocksdbDatabase& database, WatchTable& watches, SyncGate* gate,
                         boost::asio::any_io_executor committers)
    : database_(&database),
      watches_(&watches),
      gate_(gate),
      committed_(std::make_unique<Committed>(database)),
      pending_(*committed_),
      committers_(std::move(committers)) {}

CommitQueue::~CommitQueue() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  rested_.wait(lock, [this] { return !at_work_; });
}

void CommitQueue::push(WriteRun& run, std::function<void()> done) {
  std::string_view refusal = "ERR too many writes wait";
  run.lsn = {};
  run.answers.clear();
  const auto held = gate_ == nullptr ? 0 : gate_->waiting();
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) {
      refusal = "ERR the node stops";
    } else if (fences_ > 0) {
      refusal = "READONLY a mirror takes the place of this database: write to its new source";
    } else if (queue_.size() + held < runs_max) {
      queue_.push_back({&run, std::move(done)});
      if (!std::exchange(at_work_, true)) boost::asio::post(committers_, [this] { take_turn(); });
      return;
    }
  }
  run.fail(refusal);
  done();
}

void CommitQueue::fence() {
  std::unique_lock lock(mutex_);
  ++fences_;
  rested_.wait(lock, [this] { return !at_work_; });
}

void CommitQueue::lift_fence() {
  const std::scoped_lock lock(mutex_);
  --fences_;
}

/// As long as something comes, for a while; then it is the next database's turn, and again this one's.
void CommitQueue::take_turn() {
  const auto until = std::chrono::steady_clock::now() + turn_max;
  std::deque<AnsweredRun> waiting;
  std::unique_lock lock(mutex_);
  do {
    waiting.swap(queue_);
    lock.unlock();
    carry_out(waiting);
    lock.lock();
  } while (!queue_.empty() && std::chrono::steady_clock::now() < until);
  at_work_ = !queue_.empty();
  if (at_work_) {
    boost::asio::post(committers_, [this] { take_turn(); });
  } else {
    rested_.notify_all();  // with the lock: it may be destroyed once that is free
  }
}

void CommitQueue::carry_out(std::deque<AnsweredRun>& waiting) {
  std::vector<Member> group;
  while (!waiting.empty()) {
    auto next = std::move(waiting.front());
    waiting.pop_front();
    // A transaction that may be too large for an entry is committed alone, so that it fails no other client's.
    if (next.run->transaction && !is_small_transaction(*next.run)) commit_all(group);
    group.push_back({std::move(next), 0});
    if (!execute(group)) {
      // It has had its commit: the others' turn.
      auto unfinished = std::move(group.back().answered);
      group.pop_back();
      commit_all(group);
      const std::scoped_lock lock(mutex_);
      std::ranges::move(queue_, std::back_inserter(waiting));
      queue_.clear();
      waiting.push_back(std::move(unfinished));
    } else if (pending_.bytes() >= group_bytes_max || pending_.operations().size() >= group_operations_max) {
      commit_all(group);
    }
  }
  commit_all(group);
}

/// The last one of the group, from where it was. False: it is not done, and there is enough for a commit; a transaction
/// is always done.
bool CommitQueue::execute(std::vector<Member>& group) {
  auto& [answered, first_answer] = group.back();
  auto& run = *answered.run;
  first_answer = run.answers.size();
  if (run.transaction) {
    execute_transaction(run);
    return true;
  }
  for (auto next = run.answers.size(); next < run.commands.size(); ++next) {
    if (pending_.bytes() >= run_bytes_max || pending_.operations().size() >= run_operations_max) {
      commit_pending(group);
      return false;
    }
    const auto written = pending_.writes_made();
    const auto begin = run.reply.bytes().size();
    run_one(pending_, run.commands[next], run);
    run.answers.push_back({begin, pending_.writes_made() != written});
  }
  return true;
}

void CommitQueue::execute_transaction(WriteRun& run) {
  const bool touched = run.watch && (run.watch->touched() || watches_->is_written(*run.watch, pending_));
  if (touched) return run.reply.null_array();
  const auto before = pending_.writes_made();
  run.reply.array(run.commands.size());
  for (const auto& placed : run.commands) {
    run_one(pending_, placed, run);
    if (pending_.bytes() <= entry_bytes_max_default) continue;
    // It is alone here: only such a one can become so large.
    pending_.forget();
    run.fail(fmt::format("ERR not stored: the transaction is larger than an entry may be, {} bytes",
                         entry_bytes_max_default));
    run.answers.push_back({0, false});
    return;
  }
  run.answers.push_back({0, pending_.writes_made() != before});
}

/// What is pending, as one entry. Of each run it is what was answered since its own last commit.
void CommitQueue::commit_pending(std::vector<Member>& group) {
  if (pending_.operations().empty()) return;
  const auto committed = database_->commit_in(pending_.operations(), now_us());
  for (auto& [answered, first] : group) {
    auto& run = *answered.run;
    if (!committed) {
      run.fail_from(first, failure_text(committed.error()));
    } else if (run.wrote(first)) {
      run.lsn = committed->lsn;
      run.incarnation = committed->incarnation;
    }
    first = run.answers.size();
  }
  // After the commit: who watches a key from now on reads what was written.
  if (committed || committed.error().kind() == ErrorKind::OutcomeUnknown) watches_->touch(pending_.operations());
  pending_.forget();
}

void CommitQueue::commit_all(std::vector<Member>& group) {
  commit_pending(group);
  answer(group);
  group.clear();
}

void CommitQueue::answer(std::vector<Member>& group) {
  std::vector<HeldWrites> held;
  Lsn lsn;
  for (auto& member : group) {
    auto& answered = member.answered;
    if (gate_ != nullptr && answered.run->lsn > Lsn{}) {
      lsn = std::max(lsn, answered.run->lsn);
      held.push_back(held_writes(std::move(answered)));
    } else {
      answered.done();
    }
  }
  if (held.empty()) return;
  // What was committed is in the present history, whatever became of the history meanwhile.
  const auto state = database_->source_state();
  gate_->hold({state.history.newest().incarnation, lsn}, std::move(held));
}

awaitable<void> commit(CommitQueue& queue, WriteRun& run) {
  auto initiation = [&queue, &run](auto handler) {
    auto resume_on = boost::asio::prefer(boost::asio::any_io_executor(boost::asio::get_associated_executor(handler)),
                                         boost::asio::execution::outstanding_work.tracked);
    auto kept = std::make_shared<decltype(handler)>(std::move(handler));
    queue.push(run, [resume_on = std::move(resume_on), kept = std::move(kept)]() mutable {
      boost::asio::post(resume_on, [kept = std::move(kept)]() mutable { std::move (*kept)(); });
    });
  };
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(initiation,
                                                                                     boost::asio::use_awaitable);
}

}  // namespace crosslink::node
