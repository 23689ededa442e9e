#include "node/sync_gate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

core::Instant steady_now() {
  return std::chrono::duration_cast<core::Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

SyncGate::SyncGate(std::string database, core::SyncConfig config, Clock clock)
    : database_(std::move(database)), config_(std::move(config)), clock_(std::move(clock)), rule_(config_) {}

SyncGate::SyncGate(std::string database, core::SyncConfig config)
    : SyncGate(std::move(database), std::move(config), &steady_now) {
  thread_ = std::thread([this] { work(); });
}

SyncGate::~SyncGate() {
  stop();
  if (thread_.joinable()) thread_.join();
}

void SyncGate::hold(Lsn lsn, std::vector<AnsweredRun> runs) {
  Lock lock(mutex_);
  rule_.on_commit(lsn, clock_());
  rule_.on_source_durable(lsn);
  const bool first = waiting_.empty();
  runs_ += runs.size();
  waiting_.push_back({lsn, std::move(runs)});
  decide(std::move(lock));
  if (first) changed_.notify_one();  // the thread waited for nothing in particular
}

void SyncGate::on_mirror_at(std::span<const std::string> peer_names, Lsn durable, Lsn head) {
  Lock lock(mutex_);
  for (const auto& mirror : config_.mirrors) {
    const bool named = std::ranges::any_of(
        peer_names, [&mirror](const std::string& name) { return equal_ignoring_case(name, mirror); });
    if (!named) continue;
    rule_.on_mirror_durable(mirror, durable);
    if (rule_.suspended() && caught_up(mirror, durable, head)) rule_.on_mirror_caught_up(mirror);
  }
  decide(std::move(lock));
}

/// While writes go on a mirror is always a little behind. It is back once it reached what was the head in half the time
/// that a writer would wait.
bool SyncGate::caught_up(const std::string& mirror, Lsn durable, Lsn head) {
  const auto now = clock_();
  const auto [place, is_new] = goals_.try_emplace(mirror, Goal{head, now});
  auto& goal = place->second;
  const bool reached = durable >= goal.head;
  const bool back = durable >= head || (!is_new && reached && now - goal.since <= config_.timeout / 2);
  if (back) {
    goals_.erase(place);
  } else if (reached) {
    goal = {head, now};
  }
  return back;
}

void SyncGate::on_history_change() {
  Lock lock(mutex_);
  goals_.clear();
  rule_.on_history_change();
  decide(std::move(lock));
}

void SyncGate::stop() {
  Lock lock(mutex_);
  stopping_ = true;
  changed_.notify_one();
  decide(std::move(lock));
}

void SyncGate::look() { decide(Lock(mutex_)); }

std::optional<core::Instant> SyncGate::next_look() const {
  const std::scoped_lock lock(mutex_);
  return rule_.next_deadline();
}

/// Replies are made and sent off without the lock: the committing thread never waits for that.
void SyncGate::decide(Lock lock) {
  std::vector<Decided> all;
  for (const auto& decided : rule_.decide(clock_()))
    all.push_back(answer(decided));
  while (stopping_ && !waiting_.empty()) {
    auto left = std::move(waiting_.front());
    waiting_.pop_front();
    all.push_back(refuse(std::move(left), config_.mirrors.front()));
  }
  const bool suspended = rule_.suspended();
  const bool other = std::exchange(was_suspended_, suspended) != suspended;
  lock.unlock();
  if (other) {
    log(suspended ? Severity::warning : Severity::info,
        suspended ? "sync mode suspended: a mirror is lost, writes are answered without it" : "sync mode is back",
        {{"database", database_}, {"mirrors", joined(config_.mirrors, ",")}});
  }
  for (auto& decided : all) {
    for (auto& [run, done] : decided.runs) {
      if (!decided.error.empty()) run->fail_writes(decided.error);
      done();
    }
  }
}

SyncGate::Decided SyncGate::answer(const core::SyncRule::Decided& decided) {
  // What stop() answered is still counted as waiting by the rule.
  if (waiting_.empty() || waiting_.front().lsn != decided.lsn) return {};
  auto one = std::move(waiting_.front());
  waiting_.pop_front();
  switch (decided.answer) {
    case core::SyncRule::Answer::unconfirmed: return refuse(std::move(one), decided.missing);
    case core::SyncRule::Answer::async:
      for (const auto& held : one.runs)
        async_ += held.run->answers_of_writes();
      break;
    case core::SyncRule::Answer::confirmed: break;
  }
  runs_ -= one.runs.size();
  return {std::move(one.runs), {}};
}

SyncGate::Decided SyncGate::refuse(Waiting waiting, const std::string& missing) {
  for (const auto& held : waiting.runs)
    unconfirmed_ += held.run->answers_of_writes();
  runs_ -= waiting.runs.size();
  return {std::move(waiting.runs),
          fmt::format("NOSYNC stored at LSN {}, not confirmed by {}", waiting.lsn.value, missing)};
}

void SyncGate::work() {
  for (;;) {
    {
      Lock lock(mutex_);
      if (stopping_) return;
      const auto due = rule_.next_deadline();
      if (!due) {
        changed_.wait(lock);
      } else if (clock_() < *due) {
        changed_.wait_until(lock, std::chrono::steady_clock::time_point(*due));
      }
    }
    look();
  }
}

SyncFacts SyncGate::facts() const {
  const std::scoped_lock lock(mutex_);
  return {config_.mirrors, rule_.suspended(), runs_, unconfirmed_, async_};
}

std::size_t SyncGate::waiting() const {
  const std::scoped_lock lock(mutex_);
  return runs_;
}

}  // namespace crosslink::node
