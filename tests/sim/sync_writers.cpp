#include "sim/sync_writers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "sim/events.hpp"

namespace crosslink::sim {

SyncWriters::SyncWriters(World& world, std::string database, core::SyncConfig sync, Clock clock)
    : world_(&world), database_(std::move(database)), config_(std::move(sync)), clock_(std::move(clock)) {
  start();
}

SyncWriters::~SyncWriters() { stop(); }

void SyncWriters::start() {
  if (config_.mirrors.empty()) return;
  life_ = std::make_shared<int>(0);
  node::SyncGate::Options options;
  options.database = database_;
  options.config = config_;
  options.counted = on_disk_;
  options.clock = clock_;
  options.keep = [this](const node::CountedMirrors& wanted, bool) -> Result<void> {
    if (world_->chance(0.1))
      return MirrorError(ErrorKind::Storage, CausedBy::us, "the file of those that count cannot be written");
    on_disk_ = wanted;
    return {};
  };
  gate_ = std::make_unique<node::SyncGate>(std::move(options));
}

void SyncWriters::stop() {
  life_.reset();
  gate_.reset();
  look_at_.reset();
  unsynced_.clear();
  answered_.clear();
  async_seen_ = 0;
}

bool SyncWriters::names(const std::string& peer) const {
  return std::ranges::find(config_.mirrors, peer) != config_.mirrors.end();
}

void SyncWriters::on_commit(const core::SyncPoint& commit, const Node* node) {
  if (!gate_) return;
  if (commit.incarnation != highest_.incarnation && commit.lsn <= highest_.lsn) world_->happened(event::lsn_again);
  highest_ = commit;
  unsynced_.emplace_back(commit, node);
}

void SyncWriters::on_durable(const core::SyncPoint& durable) {
  while (gate_ && !unsynced_.empty()) {
    const auto [commit, node] = unsynced_.front();
    if (commit.incarnation == durable.incarnation && commit.lsn > durable.lsn) return;
    unsynced_.pop_front();
    if (commit.incarnation != durable.incarnation) continue;
    auto writer = std::make_shared<Writer>();
    writer->node = node;
    std::vector<node::HeldWrites> held;
    held.push_back({1, [this, alive = std::weak_ptr<int>(life_), writer](const node::Unconfirmed* unconfirmed) {
                      writer->refused = unconfirmed != nullptr;
                      if (!alive.expired()) answered_.push_back(writer);
                    }});
    gate_->hold(commit, std::move(held));
    after_gate();
  }
}

void SyncWriters::on_mirror_at(const std::string& peer, const MirrorIdentity& mirror, const core::SyncPoint& durable,
                               const core::SyncPoint& head) {
  if (!gate_) return;
  const std::array names{peer};
  gate_->on_mirror_at(names, mirror, durable, head);
  if (gate_->standing(names, mirror) == SyncStanding::not_counted) world_->happened(event::second_copy);
  after_gate();
}

void SyncWriters::on_history_change() {
  if (!gate_) return;
  gate_->on_history_change();
  after_gate();
}

std::optional<SyncStanding> SyncWriters::standing(const std::string& peer, const MirrorIdentity& mirror) const {
  if (!gate_) return std::nullopt;
  const std::array names{peer};
  return gate_->standing(names, mirror);
}

void SyncWriters::look() {
  if (!gate_) return;
  gate_->look();
  after_gate();
}

void SyncWriters::count(const MirrorId& id, const core::SyncPoint& head) {
  if (!gate_) return;
  const auto counted = gate_->count(id, head);
  world_->tell(fmt::format("{}: operator: count {}{}", database_, to_string(id),
                           counted ? std::string() : ", refused: " + counted.error().message()));
  if (!counted) return;
  world_->happened(event::counted_anew);
  last_confirmed_ = nullptr;
  for (const auto& named : gate_->facts().mirrors) {
    if (named.counted) counted_[named.name] = *named.counted;
  }
  after_gate();
}

void SyncWriters::after_gate() {
  if (!answered_.empty()) see_answers();
  look_again();
}

void SyncWriters::look_again() {
  const auto next = gate_->next_look();
  if (!next || (look_at_ && *look_at_ <= *next)) return;
  look_at_ = next;
  world_->after(std::max(Time(0), *next - clock_()), [this, alive = std::weak_ptr<int>(life_), at = *next] {
    if (alive.expired() || look_at_ != at) return;
    look_at_.reset();
    look();
  });
}

void SyncWriters::see_answers() {
  const auto facts = gate_->facts();
  see_who_counts(facts);
  auto async = facts.async - std::exchange(async_seen_, facts.async);
  // Of one call's OKs the last ones are those that no mirror has: what a mirror has is the beginning of the log.
  for (auto one = answered_.rbegin(); one != answered_.rend(); ++one) {
    auto& writer = **one;
    if (writer.refused) {
      world_->happened(event::unconfirmed);
      writer.node = nullptr;
    } else if (async > 0) {
      --async;
      world_->happened(event::async);
      writer.node = nullptr;
    }
  }
  for (const auto& writer : answered_) {
    if (writer->node == nullptr) continue;
    world_->happened(event::confirmed);
    ++world_->tally.confirmed;
    last_confirmed_ = writer->node;
  }
  answered_.clear();
}

/// One mirror under each name, until an operator says otherwise.
void SyncWriters::see_who_counts(const node::SyncFacts& facts) {
  for (const auto& named : facts.mirrors) {
    if (!named.counted) continue;
    const auto [known, fresh] = counted_.emplace(named.name, *named.counted);
    if (!fresh && known->second != *named.counted) {
      throw Violation(fmt::format("{} counts another mirror under the name {} than before, and no command told it to",
                                  database_, named.name));
    }
  }
}

bool SyncWriters::promised_by(const MirrorIdentity& mirror) const {
  return last_confirmed_ != nullptr &&
         std::ranges::any_of(counted_, [&mirror](const auto& one) { return one.second == mirror; });
}

void SyncWriters::check(const std::function<const Node*(const MirrorIdentity&)>& durable_of) {
  if (last_confirmed_ == nullptr) return;
  for (const auto& name : config_.mirrors) {
    const auto counted = counted_.find(name);
    if (counted == counted_.end())
      throw Violation(fmt::format("{} confirmed the commit {}, and no mirror counts under the name {}", database_,
                                  last_confirmed_->marker, name));
    const std::pair now{last_confirmed_, durable_of(counted->second)};
    if (kept_[name] == now) continue;
    if (!Oracle::is_ancestor_or_self(now.first, now.second)) {
      throw Violation(fmt::format("{} confirmed the commit {}, which {} does not hold durably", database_,
                                  last_confirmed_->marker, counted->second.database));
    }
    kept_[name] = now;
  }
}

}  // namespace crosslink::sim
