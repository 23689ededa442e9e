#include "node/hosting/sync_gate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "node/log.hpp"
#include "node/text.hpp"
#include "session/mistakes.hpp"

namespace crosslink::node {
namespace {

core::Instant steady_now() {
  return std::chrono::duration_cast<core::Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

SyncGate::SyncGate(Options options)
    : database_(std::move(options.database)),
      config_(std::move(options.config)),
      keep_(std::move(options.keep)),
      clock_(options.clock ? options.clock : Clock(&steady_now)),
      rule_(config_) {
  for (const auto& name : config_.mirrors) {
    auto& named = names_[name];
    const auto kept = std::ranges::find_if(options.counted,
                                           [&name](const auto& one) { return equal_ignoring_case(one.first, name); });
    if (kept == options.counted.end()) continue;
    named.counted = kept->second;
    options.counted.erase(kept);
  }
  kept_before_ = std::move(options.counted);
  if (!options.clock) thread_ = std::thread([this] { work(); });
}

SyncGate::~SyncGate() {
  stop();
  if (thread_.joinable()) thread_.join();
}

void SyncGate::hold(const core::SyncPoint& commit, std::vector<HeldWrites> held) {
  Lock lock(mutex_);
  rule_.on_commit(commit, clock_());
  rule_.on_source_durable(commit);
  const bool first = waiting_.empty();
  held_ += held.size();
  waiting_.push_back({commit, std::move(held)});
  decide(std::move(lock));
  if (first) changed_.notify_one();  // the thread waited for nothing in particular
}

bool SyncGate::is_named(std::span<const std::string> peer_names, const std::string& name) const {
  return std::ranges::any_of(peer_names, [&name](const std::string& one) { return equal_ignoring_case(one, name); });
}

void SyncGate::on_mirror_at(std::span<const std::string> peer_names, const MirrorIdentity& mirror,
                            const core::SyncPoint& durable, const core::SyncPoint& head) {
  Lock lock(mutex_);
  for (auto& [name, named] : names_) {
    if (!is_named(peer_names, name)) continue;
    const bool other = named.counted && *named.counted != mirror && !makes(core::Mistake::copy_counted_by_name);
    if (mirror.id == MirrorId{} || other) {
      note_not_counted(name, named, mirror).durable = durable;
    } else if (!named.counted) {
      if (!named.newcomer || named.newcomer->mirror == mirror) named.newcomer = {mirror, durable, head};
      if (!keep_at_) keep_at_ = clock_();
      changed_.notify_one();
    } else {
      take_in(name, named, durable, head);
    }
  }
  decide(std::move(lock));
}

void SyncGate::on_mirror_came(std::span<const std::string> peer_names, const MirrorIdentity& mirror) {
  if (mirror.id == MirrorId{}) return;  // it has not said who it is yet, or never does
  const Lock lock(mutex_);
  for (auto& [name, named] : names_) {
    if (is_named(peer_names, name) && named.counted && *named.counted != mirror) note_not_counted(name, named, mirror);
  }
}

void SyncGate::take_in(const std::string& name, Named& named, const core::SyncPoint& durable,
                       const core::SyncPoint& head) {
  rule_.on_mirror_durable(name, durable);
  const bool comparable = durable.incarnation == head.incarnation;
  if (named.behind && comparable) {
    if (!named.behind_until) named.behind_until = head.lsn;
    named.behind = durable.lsn < *named.behind_until;
  }
  if (rule_.suspended() && comparable && caught_up(named, durable.lsn, head.lsn)) rule_.on_mirror_caught_up(name);
}

SyncGate::Named::NotCounted& SyncGate::note_not_counted(const std::string& name, Named& named,
                                                        const MirrorIdentity& mirror) {
  constexpr std::size_t remembered_max = 16;
  auto& others = named.not_counted;
  const auto known = std::ranges::find(others, mirror, &Named::NotCounted::mirror);
  if (known != others.end()) return *known;
  if (others.size() == remembered_max) others.erase(others.begin());
  others.push_back({mirror, {}});
  log(Severity::warning, "a mirror under a name in sync_mirrors is not the one that counts",
      {{"database", database_},
       {"name", name},
       {"mirror", to_text(mirror)},
       {"counted", named.counted ? to_text(*named.counted) : std::string("none yet")}});
  return others.back();
}

/// Which mirror counts is on disk before it does: else two could, one before a restart and one after it.
void SyncGate::keep_newcomers() {
  constexpr auto again_after = std::chrono::seconds(1);
  const std::scoped_lock keeping(keep_mutex_);
  Lock lock(mutex_);
  if (!keep_at_ || stopping_ || clock_() < *keep_at_) return;
  keep_at_.reset();
  auto wanted = counted_now();
  for (const auto& [name, named] : names_) {
    if (named.newcomer) wanted[name] = named.newcomer->mirror;
  }
  lock.unlock();
  const auto kept = keep_(wanted, false);
  lock.lock();
  if (!kept) keep_at_ = clock_() + again_after;
  for (auto& [name, named] : names_) {
    if (!named.newcomer || !wanted.contains(name) || wanted[name] != named.newcomer->mirror) continue;
    named.trouble = kept ? std::string() : kept.error().message();
    if (!kept) continue;
    named.counted = named.newcomer->mirror;
    const auto said = *std::exchange(named.newcomer, std::nullopt);
    take_in(name, named, said.durable, said.head);
    log(Severity::info, "a mirror counts in sync mode from now on",
        {{"database", database_}, {"name", name}, {"mirror", to_text(*named.counted)}});
  }
}

Result<void> SyncGate::count(const MirrorId& id, const core::SyncPoint& head) {
  std::unique_lock keeping(keep_mutex_);
  Lock lock(mutex_);
  std::string name;
  MirrorIdentity mirror;
  for (const auto& [known, named] : names_) {
    const auto found = std::ranges::find(named.not_counted, id, [](const auto& one) { return one.mirror.id; });
    if (found == named.not_counted.end()) continue;
    name = known;
    mirror = found->mirror;
  }
  for (const auto& [known, named] : names_) {
    if (named.counted && named.counted->id == id && name.empty())
      return MirrorError::configuration(fmt::format("this mirror counts already under the name {}", known));
    // One that waits for the file that says who counts: an operator's word goes before what cannot be read there.
    if (!named.newcomer || named.newcomer->mirror.id != id) continue;
    name = known;
    mirror = named.newcomer->mirror;
  }
  if (name.empty() || id == MirrorId{}) {
    return MirrorError::configuration(
        "no mirror with this id came under a name in sync_mirrors since the start; `crosslink db list` shows those "
        "that did");
  }
  auto wanted = counted_now();
  wanted[name] = mirror;
  lock.unlock();
  if (auto kept = keep_(wanted, true); !kept) return kept;
  lock.lock();
  auto& named = names_[name];
  // What the other one said does not count for this one; what this one said does.
  auto said = named.newcomer && named.newcomer->mirror == mirror ? named.newcomer->durable : core::SyncPoint{};
  const auto known = std::ranges::find(named.not_counted, mirror, &Named::NotCounted::mirror);
  if (known != named.not_counted.end()) {
    said = known->durable;
    named.not_counted.erase(known);
  }
  if (named.counted) named.not_counted.push_back({*named.counted, {}});
  named.counted = mirror;
  named.newcomer.reset();
  named.goal.reset();
  named.behind = true;
  named.behind_until = head.lsn;
  rule_.on_mirror_durable(name, said);
  if (said.incarnation == head.incarnation) take_in(name, named, said, head);
  log(Severity::info, "another mirror counts in sync mode from now on",
      {{"database", database_}, {"name", name}, {"mirror", to_text(mirror)}});
  keeping.unlock();
  decide(std::move(lock));  // what waits may have been waiting for what this one has
  return {};
}

std::optional<SyncStanding> SyncGate::standing(std::span<const std::string> peer_names,
                                               const MirrorIdentity& mirror) const {
  const std::scoped_lock lock(mutex_);
  std::optional<SyncStanding> standing;
  for (const auto& [name, named] : names_) {
    if (!is_named(peer_names, name) || !named.counted) continue;
    if (*named.counted != mirror) return SyncStanding::not_counted;
    // While one mirror is lost writes are answered without any.
    standing = rule_.suspended() || named.behind ? SyncStanding::suspended : SyncStanding::counted;
  }
  return standing;
}

void SyncGate::forget_said(Named& named) {
  named.goal.reset();
  for (auto& one : named.not_counted)
    one.durable = {};
  if (named.newcomer) named.newcomer->durable = named.newcomer->head = {};
}

/// With those of names that the config does not have at present: it may have them again.
CountedMirrors SyncGate::counted_now() const {
  auto counted = kept_before_;
  for (const auto& [name, named] : names_) {
    if (named.counted) counted[name] = *named.counted;
  }
  return counted;
}

/// While writes go on a mirror is always a little behind. It is back once it reached what was the head in half the time
/// that a writer would wait.
bool SyncGate::caught_up(Named& named, Lsn durable, Lsn head) {
  const auto now = clock_();
  const bool is_new = !named.goal;
  if (is_new) named.goal = {head, now};
  const bool reached = durable >= named.goal->head;
  const bool back = durable >= head || (!is_new && reached && now - named.goal->since <= config_.timeout / 2);
  if (back) {
    named.goal.reset();
  } else if (reached) {
    named.goal = {head, now};
  }
  return back;
}

void SyncGate::on_history_change() {
  Lock lock(mutex_);
  for (auto& [name, named] : names_)
    forget_said(named);
  rule_.on_history_change();
  decide(std::move(lock));
}

void SyncGate::stop() {
  Lock lock(mutex_);
  stopping_ = true;
  changed_.notify_one();
  decide(std::move(lock));
}

void SyncGate::look() {
  keep_newcomers();
  decide(Lock(mutex_));
}

std::optional<core::Instant> SyncGate::due() const {
  const auto deadline = rule_.next_deadline();
  if (!keep_at_ || !deadline) return keep_at_ ? keep_at_ : deadline;
  return std::min(*keep_at_, *deadline);
}

std::optional<core::Instant> SyncGate::next_look() const {
  const std::scoped_lock lock(mutex_);
  return due();
}

/// What waits is answered without the lock: the committing thread never waits for that.
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
  for (const auto& decided : all) {
    for (const auto& one : decided.held)
      one.done(decided.unconfirmed ? &*decided.unconfirmed : nullptr);
  }
}

SyncGate::Decided SyncGate::answer(const core::SyncRule::Decided& decided) {
  // What stop() answered is still counted as waiting by the rule.
  if (waiting_.empty() || waiting_.front().commit != decided.commit) return {};
  auto one = std::move(waiting_.front());
  waiting_.pop_front();
  switch (decided.answer) {
    case core::SyncRule::Answer::unconfirmed: return refuse(std::move(one), decided.missing);
    case core::SyncRule::Answer::async:
      for (const auto& held : one.held)
        async_ += held.writes;
      break;
    case core::SyncRule::Answer::confirmed: break;
  }
  held_ -= one.held.size();
  return {std::move(one.held), std::nullopt};
}

SyncGate::Decided SyncGate::refuse(Waiting waiting, const std::string& missing) {
  for (const auto& held : waiting.held)
    unconfirmed_ += held.writes;
  held_ -= waiting.held.size();
  return {std::move(waiting.held), Unconfirmed{waiting.commit.lsn, missing}};
}

void SyncGate::work() {
  for (;;) {
    {
      Lock lock(mutex_);
      if (stopping_) return;
      const auto next = due();
      if (!next) {
        changed_.wait(lock);
      } else if (clock_() < *next) {
        changed_.wait_until(lock, std::chrono::steady_clock::time_point(*next));
      }
    }
    look();
  }
}

SyncFacts SyncGate::facts() const {
  const std::scoped_lock lock(mutex_);
  SyncFacts facts{{}, rule_.suspended(), held_, unconfirmed_, async_};
  for (const auto& name : config_.mirrors) {
    const auto& named = names_.at(name);
    const auto last = named.not_counted.empty() ? std::nullopt : std::optional(named.not_counted.back().mirror);
    const auto waits = named.newcomer ? std::optional(named.newcomer->mirror) : last;
    facts.mirrors.push_back({name, named.counted, named.counted ? last : waits, named.trouble});
  }
  return facts;
}

std::size_t SyncGate::waiting() const {
  const std::scoped_lock lock(mutex_);
  return held_;
}

std::string to_text(const MirrorIdentity& mirror) {
  if (mirror.id == MirrorId{}) return "one that says no id, of an older version";
  return fmt::format("{} (id {})", escape(mirror.database, 200), to_string(mirror.id));
}

}  // namespace crosslink::node
