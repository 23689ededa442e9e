#include "node/commit_queue.hpp"

#include <fmt/format.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <utility>

#include "crosslink/rocksdb_engine.hpp"
#include "node/connection_replies.hpp"
#include "node/sync_gate.hpp"

namespace crosslink::node {
namespace {

constexpr std::size_t group_bytes_max = 4ull * 1024 * 1024, group_operations_max = 8192;

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
  if (const auto* write = std::get_if<WriteCommand>(&placed.command->run)) {
    (*write)(pending, placed.words, reply);
  } else if (const auto* read = std::get_if<ReadCommand>(&placed.command->run)) {
    read_one(pending, placed, *read, run);
  } else if (!answer_in_transaction(*placed.command, placed.words, reply)) {
    reply.error(fmt::format("ERR {} cannot stand in MULTI", placed.command->name));
  }
  if (const auto error = pending.take_error()) {
    reply.bytes().resize(begin);
    reply.error(fmt::format("ERR {}", error->message()));
  } else if (reply.bytes().size() > reply_bytes_max) {
    reply.bytes().resize(begin);
    reply.error(fmt::format("ERR the answers are larger than {} bytes", reply_bytes_max));
  }
}

std::string failure_text(const MirrorError& error) {
  if (error.kind() != ErrorKind::OutcomeUnknown) return fmt::format("ERR not stored: {}", error.message());
  return fmt::format(
      "ERR outcome unknown: the disk did not confirm this write ({}). It may be stored or not: read before you repeat "
      "it",
      error.message());
}

}  // namespace

// --- watches

void WatchTable::watch(const std::shared_ptr<Watch>& watch, std::string_view key) {
  const std::scoped_lock lock(mutex_);
  watch->keys_.emplace_back(key);
  by_key_.emplace(key, watch);
  watched_ = by_key_.size();
}

void WatchTable::unwatch(const std::shared_ptr<Watch>& watch) {
  const std::scoped_lock lock(mutex_);
  for (const auto& key : watch->keys_) {
    const auto [begin, end] = by_key_.equal_range(key);
    for (auto one = begin; one != end;) {
      const auto next = std::next(one);
      if (one->second == watch) by_key_.erase(one);
      one = next;
    }
  }
  watch->keys_.clear();
  watched_ = by_key_.size();
}

void WatchTable::touch(std::span<const Operation> operations) {
  if (watched_ == 0) return;
  const std::scoped_lock lock(mutex_);
  for (const auto& operation : operations) {
    if (operation.kind == OperationKind::erase_range) {
      for (const auto& [key, watch] : by_key_)
        watch->touched_ = true;
      return;
    }
    const auto [begin, end] = by_key_.equal_range(std::string(operation.key));
    for (auto one = begin; one != end; ++one)
      one->second->touched_ = true;
  }
}

void WatchTable::touch_all() {
  const std::scoped_lock lock(mutex_);
  for (const auto& [key, watch] : by_key_)
    watch->touched_ = true;
}

std::vector<std::string> WatchTable::keys_of(const Watch& watch) const {
  const std::scoped_lock lock(mutex_);
  return watch.keys_;
}

// --- committing

class CommitQueue::Committed final : public KeyReader {
 public:
  explicit Committed(const RocksdbDatabase& database) : database_(&database) {}

 protected:
  Result<std::optional<std::string>> read(std::string_view key) override { return database_->get(key); }

 private:
  const RocksdbDatabase* const database_;
};

CommitQueue::CommitQueue(RocksdbDatabase& database, WatchTable& watches, SyncGate* gate)
    : database_(&database),
      watches_(&watches),
      gate_(gate),
      committed_(std::make_unique<Committed>(database)),
      pending_(*committed_),
      thread_([this] { work(); }) {}

CommitQueue::~CommitQueue() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

void CommitQueue::push(WriteRun& run, std::function<void()> done) {
  bool stopping = false;
  const auto held = gate_ == nullptr ? 0 : gate_->waiting();
  {
    const std::scoped_lock lock(mutex_);
    stopping = stopping_;
    if (!stopping && queue_.size() + held < runs_max) {
      queue_.push_back({&run, std::move(done)});
      changed_.notify_one();
      return;
    }
  }
  run.fail(stopping ? "ERR the node stops" : "ERR too many writes wait");
  done();
}

void CommitQueue::work() {
  std::vector<AnsweredRun> group;
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::deque<AnsweredRun> taken;
    taken.swap(queue_);
    lock.unlock();
    for (auto& queued : taken) {
      execute(*queued.run);
      group.push_back(std::move(queued));
      if (pending_.bytes() >= group_bytes_max || pending_.operations().size() >= group_operations_max) commit(group);
    }
    if (!group.empty()) commit(group);
  }
}

void CommitQueue::execute(WriteRun& run) {
  run.lsn = {};
  run.answers.clear();
  const auto before = pending_.writes_made();
  if (run.transaction) {
    bool touched = false;
    if (run.watch) {
      touched = run.watch->touched();
      for (const auto& key : watches_->keys_of(*run.watch))
        touched = touched || pending_.writes(key);
    }
    if (touched) return run.reply.null_array();
    run.reply.array(run.commands.size());
  }
  for (const auto& placed : run.commands) {
    const auto written = pending_.writes_made();
    const auto begin = run.reply.bytes().size();
    run_one(pending_, placed, run);
    if (!run.transaction) run.answers.push_back({begin, pending_.writes_made() != written});
  }
  if (run.transaction) run.answers.push_back({0, pending_.writes_made() != before});
}

void CommitQueue::commit(std::vector<AnsweredRun>& group) {
  Lsn lsn;
  if (!pending_.operations().empty()) {
    const auto committed = database_->commit(pending_.operations(), now_us());
    for (const auto& queued : group) {
      auto& run = *queued.run;
      if (!committed) {
        run.fail(failure_text(committed.error()));
      } else if (run.wrote()) {
        run.lsn = *committed;
      }
    }
    if (committed) lsn = *committed;
    // After the commit: who watches a key from now on reads what was written.
    if (committed || committed.error().kind() == ErrorKind::OutcomeUnknown) watches_->touch(pending_.operations());
    pending_.forget();
  }
  answer(group, lsn);
  group.clear();
}

void CommitQueue::answer(std::vector<AnsweredRun>& group, Lsn lsn) {
  std::vector<AnsweredRun> held;
  for (auto& answered : group) {
    if (gate_ != nullptr && answered.run->lsn > Lsn{}) {
      held.push_back(std::move(answered));
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
