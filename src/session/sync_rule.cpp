#include "session/sync_rule.hpp"

#include <algorithm>

#include "session/mistakes.hpp"

namespace crosslink::core {
namespace {

bool covers(const SyncPoint& said, const SyncPoint& commit) {
  const bool same = said.incarnation == commit.incarnation || makes(Mistake::lsn_confirmed_across_histories);
  return same && said.lsn >= commit.lsn;
}

}  // namespace

bool is_in(const History& present, Lsn head, const SyncPoint& commit) {
  const auto end = present.end_of(commit.incarnation, head);
  return end && commit.lsn <= *end;
}

bool has_commit(const History& present, Lsn head, const SyncPoint& said, const SyncPoint& commit) {
  if (said.lsn < commit.lsn || !is_in(present, head, commit)) return false;
  const auto records = present.records();
  const auto begun = std::ranges::find(records, commit.incarnation, &HistoryRecord::incarnation);
  return std::find_if(begun, records.end(), [&said](const HistoryRecord& record) {
           return record.incarnation == said.incarnation;
         }) != records.end();
}

SyncRule::SyncRule(SyncConfig config) : config_(std::move(config)) {
  for (const auto& mirror : config_.mirrors)
    durable_[mirror] = {};
}

void SyncRule::on_commit(const SyncPoint& commit, Instant now) {
  const bool diverged = !waiting_.empty() && waiting_.front().commit.incarnation != commit.incarnation;
  if (diverged) give_up_waiting();
  waiting_.push_back({commit, now});
}

void SyncRule::on_source_durable(const SyncPoint& point) { source_durable_ = point; }

void SyncRule::on_mirror_durable(const std::string& mirror, const SyncPoint& point) {
  const auto found = durable_.find(mirror);
  // A mirror that lost its tail says less than before, and then less is true.
  if (found != durable_.end()) found->second = point;
}

void SyncRule::on_mirror_caught_up(const std::string& mirror) { lost_.erase(mirror); }

void SyncRule::on_history_change() {
  give_up_waiting();
  if (makes(Mistake::lsn_confirmed_across_histories) || makes(Mistake::confirmed_before_history_change)) return;
  // Data that was restored may go on under the incarnation that it had.
  source_durable_ = {};
  for (auto& [mirror, durable] : durable_)
    durable = {};
}

void SyncRule::give_up_waiting() {
  for (const auto& one : waiting_)
    given_up_.push_back(one.commit);
  waiting_.clear();
}

std::optional<std::string> SyncRule::missing(const SyncPoint& commit) const {
  for (const auto& [mirror, durable] : durable_) {
    if (!covers(durable, commit)) return mirror;
  }
  return std::nullopt;
}

std::vector<SyncRule::Decided> SyncRule::decide(Instant now) {
  std::vector<Decided> decided;
  decided.reserve(given_up_.size());
  for (const auto& commit : given_up_)
    decided.push_back({commit, Answer::unconfirmed, config_.mirrors.empty() ? std::string{} : config_.mirrors.front()});
  given_up_.clear();
  auto next = waiting_.begin();
  for (; next != waiting_.end(); ++next) {
    if (!covers(source_durable_, next->commit)) break;
    const auto lacking = missing(next->commit);
    if (!lacking) {
      decided.push_back({next->commit, Answer::confirmed, {}});
      continue;
    }
    if (suspended()) {
      decided.push_back({next->commit, Answer::async, *lacking});
      continue;
    }
    if (now - next->since < config_.timeout) break;
    if (config_.on_loss == OnSyncLoss::async) {
      for (const auto& [mirror, durable] : durable_) {
        if (!covers(durable, next->commit)) lost_.insert(mirror);
      }
    }
    decided.push_back({next->commit, suspended() ? Answer::async : Answer::unconfirmed, *lacking});
  }
  waiting_.erase(waiting_.begin(), next);
  return decided;
}

std::optional<Instant> SyncRule::next_deadline() const {
  if (waiting_.empty() || suspended() || !covers(source_durable_, waiting_.front().commit)) return std::nullopt;
  return waiting_.front().since + config_.timeout;
}

}  // namespace crosslink::core
