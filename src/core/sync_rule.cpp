#include "core/sync_rule.hpp"

#include <algorithm>

namespace crosslink::core {

SyncRule::SyncRule(SyncConfig config) : config_(std::move(config)) {
  for (const auto& mirror : config_.mirrors)
    durable_[mirror] = Lsn{};
}

void SyncRule::on_commit(Lsn lsn, Instant now) { waiting_.push_back({lsn, now}); }

void SyncRule::on_source_durable(Lsn lsn) { source_durable_ = std::max(source_durable_, lsn); }

void SyncRule::on_mirror_durable(const std::string& mirror, Lsn lsn) {
  const auto found = durable_.find(mirror);
  // A mirror that lost its tail says less than before, and then less is true.
  if (found != durable_.end()) found->second = lsn;
}

void SyncRule::on_mirror_caught_up(const std::string& mirror) { lost_.erase(mirror); }

void SyncRule::on_history_change() {
  source_durable_ = Lsn{};
  for (auto& [mirror, durable] : durable_)
    durable = Lsn{};
  for (const auto& one : waiting_)
    given_up_.push_back(one.lsn);
  waiting_.clear();
}

std::optional<std::string> SyncRule::missing(Lsn lsn) const {
  for (const auto& [mirror, durable] : durable_) {
    if (durable < lsn) return mirror;
  }
  return std::nullopt;
}

std::vector<SyncRule::Decided> SyncRule::decide(Instant now) {
  std::vector<Decided> decided;
  decided.reserve(given_up_.size());
  for (const auto lsn : given_up_)
    decided.push_back({lsn, Answer::unconfirmed, config_.mirrors.empty() ? std::string{} : config_.mirrors.front()});
  given_up_.clear();
  auto next = waiting_.begin();
  for (; next != waiting_.end(); ++next) {
    if (source_durable_ < next->lsn) break;
    const auto lacking = missing(next->lsn);
    if (!lacking) {
      decided.push_back({next->lsn, Answer::confirmed, {}});
      continue;
    }
    if (suspended()) {
      decided.push_back({next->lsn, Answer::async, *lacking});
      continue;
    }
    if (now - next->since < config_.timeout) break;
    if (config_.on_loss == OnSyncLoss::async) {
      for (const auto& [mirror, durable] : durable_) {
        if (durable < next->lsn) lost_.insert(mirror);
      }
    }
    decided.push_back({next->lsn, suspended() ? Answer::async : Answer::unconfirmed, *lacking});
  }
  waiting_.erase(waiting_.begin(), next);
  return decided;
}

std::optional<Instant> SyncRule::next_deadline() const {
  if (waiting_.empty() || suspended() || waiting_.front().lsn > source_durable_) return std::nullopt;
  return waiting_.front().since + config_.timeout;
}

}  // namespace crosslink::core
