#include "sim/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "sim/events.hpp"
#include "sim/fleet.hpp"
#include "sim/operator.hpp"
#include "sim/variants.hpp"

namespace crosslink::sim {
namespace {

constexpr Time second{1'000'000};
constexpr std::uint64_t mebibyte = 1024 * 1024;
constexpr Time idle_timeout{2'000'000};
constexpr Time peace_max = 900 * second;
constexpr std::uint64_t commits_that_count = 30, applied_that_count = 30;

/// What stands and what may happen to it.
class Scenario {
 public:
  Scenario(std::uint64_t seed, bool tell);
  void run();
  World& world() { return world_; }

 private:
  struct Fault {
    unsigned weight;
    void (Scenario::*happen)();
  };
  static const std::vector<Fault>& faults();

  // The world's life.
  void write();
  void sync();
  void trouble();
  void check();
  bool running() const { return world_.now() < trouble_until_; }
  MirrorHost& any_mirror() { return *fleet_.mirrors[world_.below(fleet_.mirrors.size())]; }

  // Faults.
  void cut();
  void weather();
  void kill_source();
  void kill_source_now(bool power);
  void kill_mirror();
  void pass_window();
  void restore_source();
  void put_back_backup();
  void restamp_source();
  void empty_source();
  void fill_disk();
  void jump_clock();
  void damage_chunk();
  void misread();
  void refuse_calls();
  void cut_all();

  // The operator.
  void pause_or_resume();
  void resync();
  void fail_sync();
  void promote();
  void stop();
  void count_other();
  void command(MirrorHost& mirror, const char* what, std::function<void()> begin);
  void limit();
  void verify();

  void make_peace();
  void prove_equal();
  bool together();
  void describe_disagreement();

  World world_;
  Oracle oracle_;
  Fleet fleet_;
  Operator operator_{world_};
  MemoryDatabase::Backup backup_;
  Time trouble_until_{0}, write_every_{0}, trouble_every_{0};
  bool peace_ = false;
  bool quiet_ = false;  ///< LSNs go by, entries do not come
};

Scenario::Scenario(std::uint64_t seed, bool tell) : world_(seed, tell), fleet_(world_, oracle_) {
  trouble_until_ = world_.between(6 * second, 25 * second);
  write_every_ = world_.between(Time(4'000), Time(80'000));
  trouble_every_ = world_.between(Time(200'000), Time(2'500'000));
}

// --- the world's life
// ----------------------------------------------------------------------------------------------------

void Scenario::write() {
  if (running()) world_.after(world_.between(Time(1), 2 * write_every_), [this] { write(); });
  if (quiet_ || world_.chance(0.1)) return fleet_.root->pass_over(1 + world_.below(3));
  std::size_t big = 0;
  if (world_.chance(0.01)) big = fleet_.small_frames ? world_.below(60'000) : 60'000 + world_.below(200'000);
  if (!fleet_.small_frames && world_.chance(0.002)) big = 2 * mebibyte + world_.below(4 * mebibyte);
  fleet_.root->commit(big);
  if (fleet_.root->writers().anybody_waits() && !fleet_.near->is_down()) {
    const auto kind = fleet_.near->status().kind;
    if (kind == StatusKind::Halted) world_.happened(event::waits_for_halted);
    if (kind == StatusKind::Bootstrapping) world_.happened(event::waits_for_bootstrap);
  }
  for (auto* mirror : fleet_.mirrors) {
    auto& engine = mirror->database().engine();
    if (engine.source_state().role != DatabaseRole::promoted || !world_.chance(0.3)) continue;
    if (mirror->is_down()) continue;
    if (mirror == fleet_.middle.get()) {
      fleet_.middle_source->commit(0);
    } else {
      mirror->database().commit(0);
    }
    mirror->changed_by_client();
  }
}

void Scenario::sync() {
  if (!quiet_) fleet_.root->sync();
  if (fleet_.middle->is_promoted()) fleet_.middle_source->sync();
  if (!peace_ || world_.now() < trouble_until_ + peace_max)
    world_.after(world_.between(Time(1'000), Time(400'000)), [this] { sync(); });
}

const std::vector<Scenario::Fault>& Scenario::faults() {
  static const std::vector<Fault> all{
      {10, &Scenario::cut},           {4, &Scenario::cut_all},      {4, &Scenario::weather},
      {5, &Scenario::kill_source},    {8, &Scenario::kill_mirror},  {5, &Scenario::pass_window},
      {6, &Scenario::restore_source}, {1, &Scenario::empty_source}, {5, &Scenario::fill_disk},
      {2, &Scenario::jump_clock},     {3, &Scenario::damage_chunk}, {4, &Scenario::misread},
      {4, &Scenario::limit},          {4, &Scenario::verify},       {6, &Scenario::pause_or_resume},
      {4, &Scenario::resync},         {2, &Scenario::promote},      {2, &Scenario::restamp_source},
      {3, &Scenario::fail_sync},      {4, &Scenario::refuse_calls}, {2, &Scenario::stop},
      {3, &Scenario::count_other},
  };
  return all;
}

void Scenario::trouble() {
  if (!running()) return;
  world_.after(world_.between(Time(1), 2 * trouble_every_), [this] { trouble(); });
  unsigned total = 0;
  for (const auto& fault : faults())
    total += fault.weight;
  auto chosen = static_cast<unsigned>(world_.below(total));
  for (const auto& fault : faults()) {
    if (chosen < fault.weight) {
      ++world_.tally.faults;
      return (this->*fault.happen)();
    }
    chosen -= fault.weight;
  }
}

void Scenario::check() {
  fleet_.root->check();
  fleet_.middle_source->check();
  for (auto* mirror : fleet_.mirrors)
    mirror->check();
}

// --- faults
// --------------------------------------------------------------------------------------------------------------

void Scenario::cut() {
  world_.happened(event::connection_cut);
  any_mirror().cut(world_.between(Time(1), idle_timeout));
}
void Scenario::cut_all() { (world_.chance(0.7) ? *fleet_.root : *fleet_.middle_source).cut_all(idle_timeout); }
void Scenario::weather() {
  world_.happened(event::weather);
  any_mirror().set_weather(fleet_.any_weather());
}

void Scenario::kill_source() {
  if (fleet_.root->is_down() || quiet_) return;
  const bool power = world_.chance(0.5);
  if (!power || world_.chance(0.7)) return kill_source_now(power);
  // What a power cut takes then is LSNs alone: mirrors step back.
  fleet_.root->sync();
  quiet_ = true;
  world_.after(world_.between(Time(50'000), Time(500'000)), [this] {
    quiet_ = false;
    if (!fleet_.root->is_down()) kill_source_now(true);
  });
}

void Scenario::kill_source_now(bool power) {
  world_.tell(power ? "root/db: power cut" : "root/db: killed");
  world_.happened(power ? event::source_power : event::source_killed);
  fleet_.root->crash(idle_timeout);
  if (power) {
    const auto head = fleet_.root_db->engine().source_state().head;
    test::MemoryFaults(fleet_.root_db->engine()).crash();
    fleet_.root_db->changed();
    fleet_.root->recovered();
    if (fleet_.root_db->engine().source_state().head < head) world_.happened(event::source_tail);
  }
  world_.after(world_.between(Time(1'000), 4 * second), [this, power] {
    if (power) {
      fleet_.root_db->engine().unclean_stop();
      fleet_.root_db->note_standing();
    }
    world_.tell("root/db: is back");
    fleet_.root->restart();
  });
}

void Scenario::fail_sync() {
  if (fleet_.root->is_down() || quiet_) return;
  world_.tell("root/db: a sync fails");
  fleet_.root->lose_tail(world_.chance(0.5));
}

void Scenario::kill_mirror() {
  // A snapshot is on its way for moments only: they count.
  const auto storing = std::ranges::find_if(fleet_.mirrors, [](const auto* one) { return one->stores_snapshot(); });
  auto& mirror = storing != fleet_.mirrors.end() && world_.chance(0.7) ? **storing : any_mirror();
  if (mirror.is_down()) return;
  mirror.crash(world_.chance(storing != fleet_.mirrors.end() ? 0.8 : 0.5), idle_timeout);
  world_.after(world_.between(Time(1'000), 4 * second), [&mirror] { mirror.start(); });
}

void Scenario::pass_window() {
  auto& database = world_.chance(0.7) ? *fleet_.root_db : *fleet_.middle_db;
  world_.tell(database.name() + ": the log is purged");
  world_.happened(event::purged);
  database.engine().purge_log();
}

void Scenario::restore_source() {
  if (fleet_.root->is_down()) return;
  if (!backup_ || world_.chance(0.4)) {
    world_.tell("root/db: a backup is taken");
    backup_ = fleet_.root_db->engine().backup();
    if (!world_.chance(0.4)) return;
    // Put back soon: what was written since comes again under the same incarnation and LSNs.
    return world_.after(world_.between(Time(50'000), 2 * second), [this] {
      if (running() && backup_ && !fleet_.root->is_down()) put_back_backup();
    });
  }
  put_back_backup();
}

void Scenario::put_back_backup() {
  const bool restamped = world_.chance(0.5);
  world_.tell(fmt::format("root/db: restored from a backup{}", restamped ? " and restamped" : ""));
  fleet_.root->end_sessions();
  fleet_.root->writers().forget_promises();
  fleet_.root_db->engine().restore(backup_);
  if (restamped) fleet_.root_db->engine().restamp();
  fleet_.root_db->note_standing();
  fleet_.root->history_changed();
  world_.happened(restamped ? event::restored_restamped : event::restored);
}

void Scenario::restamp_source() {
  if (fleet_.root->is_down()) return;
  // A session that began between the end of all and the change must find the change itself.
  const bool ended = world_.chance(0.5);
  world_.tell(fmt::format("root/db: restamped{}", ended ? "" : " under its sessions"));
  if (ended) fleet_.root->end_sessions();
  fleet_.root_db->engine().restamp();
  fleet_.root_db->note_standing();
  fleet_.root->history_changed();
  world_.happened(event::restamped);
}

void Scenario::empty_source() {
  if (fleet_.root->is_down()) return;
  world_.tell("root/db: made anew");
  fleet_.root->end_sessions();
  fleet_.root->writers().forget_promises();
  fleet_.root_db->engine().recreate();
  fleet_.root_db->note_standing();
  fleet_.root->history_changed();
  world_.happened(event::emptied);
  backup_.reset();
}

void Scenario::fill_disk() {
  const std::array databases{fleet_.root_db.get(), fleet_.near_db.get(), fleet_.middle_db.get(), fleet_.far_db.get()};
  auto& database = *databases[world_.below(databases.size())];
  const auto calls = static_cast<std::uint32_t>(1 + world_.below(6));
  world_.tell(fmt::format("{}: the disk is full for {} calls", database.name(), calls));
  test::MemoryFaults(database.engine()).fail_next(calls);
}

void Scenario::jump_clock() {
  const auto by = world_.between(Time(1), 120 * second);
  if (world_.chance(0.7)) return any_mirror().jump_clock(by);
  (world_.chance(0.7) ? *fleet_.root : *fleet_.middle_source).jump_clock(by);
}

void Scenario::damage_chunk() { any_mirror().damage_snapshot(); }

void Scenario::misread() { (world_.chance(0.6) ? *fleet_.root : *fleet_.middle_source).misread_once(); }

void Scenario::refuse_calls() {
  auto& mirror = any_mirror();
  mirror.refuse_calls();
  if (world_.chance(0.7)) command(mirror, "resync", [&mirror] { mirror.resync(); });
  world_.after(world_.between(Time(500'000), 6 * second), [this, &mirror] {
    mirror.mend_engine();
    if (running()) command(mirror, "resume", [&mirror] { mirror.resume(); });
  });
}

/// To the mirror's node, which may be down when it is begun.
void Scenario::command(MirrorHost& mirror, const char* what, std::function<void()> begin) {
  const auto& name = mirror.config().name;
  // What holds the turn before it: another change, whose record comes slowly onto the disk.
  if (world_.chance(0.3))
    operator_.command(name, {"a change", [] {}, world_.between(Time(10'000), 2 * second), {}}, peace_max);
  const auto patience = world_.chance(0.3) ? world_.between(Time(0), second) : peace_max;
  const auto takes = world_.between(Time(100), Time(30'000));
  operator_.command(name,
                    {what,
                     [&mirror, begin = std::move(begin)] {
                       if (!mirror.is_down() && !mirror.is_stopping()) begin();
                     },
                     takes,
                     {}},
                    patience);
}

void Scenario::pause_or_resume() {
  auto& mirror = any_mirror();
  if (mirror.is_down()) return;
  if (mirror.status().kind == StatusKind::Paused || world_.chance(0.4)) {
    command(mirror, "resume", [&mirror] { mirror.resume(); });
  } else {
    command(mirror, "pause", [&mirror] { mirror.pause(); });
  }
}

void Scenario::resync() {
  auto& mirror = any_mirror();
  command(mirror, "resync", [&mirror] { mirror.resync(); });
}

void Scenario::promote() {
  auto& mirror = any_mirror();
  // The named mirror of a synced source seldom: nothing is promised any more after that.
  const bool named = fleet_.synced && &mirror == fleet_.near.get();
  if (mirror.is_down() || !world_.chance(named ? 0.2 : 0.5)) return;
  core::PromotionRequest request;
  if (world_.chance(0.7)) request.within = world_.between(Time(1'000), 3 * second);
  if (world_.chance(0.2)) request.age_max = world_.between(Time(1'000), 2 * second);
  // What it must wait for.
  if (request.within && world_.chance(0.7)) {
    test::MemoryFaults(mirror.database().engine()).fail_next(static_cast<std::uint32_t>(1 + world_.below(6)));
    world_.after(world_.between(Time(0), 4 * second),
                 [&mirror] { test::MemoryFaults(mirror.database().engine()).fail_next(0); });
  }
  command(mirror, "promote", [&mirror, request] { mirror.promote(request); });
  if (!world_.chance(0.3)) return;
  world_.after(world_.between(Time(0), 2 * second), [this, &mirror] {
    if (running()) command(mirror, "resume", [&mirror] { mirror.resume(); });
  });
}

void Scenario::stop() {
  auto& mirror = any_mirror();
  const auto patience = world_.chance(0.2) ? world_.between(Time(0), Time(200'000)) : peace_max;
  operator_.command(mirror.config().name,
                    {"stop",
                     [&mirror] {
                       if (!mirror.is_down() && !mirror.is_stopping()) mirror.stop();
                     },
                     Time(1'000),
                     [this, &mirror] {
                       if (mirror.is_down() || !mirror.is_stopping()) return true;
                       if (!mirror.machine()->idle()) return false;
                       mirror.crash(false, idle_timeout);
                       world_.after(world_.between(Time(1'000), 2 * second), [&mirror] { mirror.start(); });
                       return true;
                     }},
                    patience);
}

void Scenario::count_other() {
  if (!fleet_.two_copies || fleet_.root->is_down()) return;
  const auto& near = fleet_.near->config();
  const bool near_counts = fleet_.root->writers().standing(near.peer, near.identity) != SyncStanding::not_counted;
  fleet_.root->count_mirror((near_counts ? fleet_.middle : fleet_.near)->config().identity.id);
}

void Scenario::limit() {
  auto& mirror = any_mirror();
  if (!mirror.is_down()) mirror.limit(world_.chance(0.5) ? 0 : 2'000 + world_.below(1'000'000));
}

void Scenario::verify() {
  auto& mirror = any_mirror();
  if (!mirror.is_down()) mirror.verify();
}

// --- peace
// ---------------------------------------------------------------------------------------------------------------

void Scenario::make_peace() {
  world_.tell("peace");
  peace_ = true;
  for (const auto& database : {fleet_.root_db.get(), fleet_.near_db.get(), fleet_.middle_db.get(), fleet_.far_db.get()})
    test::MemoryFaults(database->engine()).fail_next(0);
  if (fleet_.root->is_down()) fleet_.root->restart();
  for (auto* mirror : fleet_.mirrors) {
    mirror->set_weather({});
    mirror->use_good_disk();
    mirror->mend_engine();
    if (mirror->is_down()) mirror->start();
    mirror->resume();
    mirror->limit(0);
  }
}

/// Every mirror follows and holds what its source holds; what needs an operator gets one.
bool Scenario::together() {
  bool all = true;
  for (auto* mirror : fleet_.mirrors) {
    if (mirror->is_promoted()) continue;
    if (mirror->status().kind == StatusKind::Halted) mirror->resync();
    const auto kind = mirror->status().kind;
    // In sync mode its limit is narrower than what its own source's probes can tell.
    const bool near_enough = kind == StatusKind::Degraded && mirror == fleet_.far.get() && fleet_.synced;
    all = all && (kind == StatusKind::Following || near_enough) &&
          mirror->database().node() == fleet_.upstream_of(*mirror);
  }
  return all;
}

void Scenario::describe_disagreement() {
  for (auto* mirror : fleet_.mirrors) {
    const auto status = mirror->status();
    world_.tell(fmt::format("{}: {} ({}), holds {}, its source {}", mirror->config().name, to_string(status.kind),
                            status.reason, mirror->database().node()->marker, fleet_.upstream_of(*mirror)->marker));
  }
}

void Scenario::run() {
  const auto after_each = [this] { check(); };
  for (auto* mirror : fleet_.mirrors)
    mirror->start();
  write();
  sync();
  trouble();
  world_.run_until(trouble_until_, after_each);
  // The day that sync mode is for.
  if (fleet_.synced && world_.chance(0.15) && !fleet_.near->is_down()) fleet_.near->promote({});
  // What was on its way to come back comes back, and what was commanded ends.
  world_.run_until(trouble_until_ + 5 * second, after_each);
  while (!operator_.idle())
    world_.run_until(world_.now() + second, after_each);
  make_peace();
  const auto until = world_.now() + peace_max;
  while (!together()) {
    if (world_.now() >= until) {
      describe_disagreement();
      throw Violation("peace came and they did not come together again");
    }
    // A mirror that is ahead of its own source waits until that has come as far again: a client must write.
    if (world_.now() + peace_max / 2 < until) fleet_.root->commit(0);
    world_.run_until(world_.now() + second, after_each);
  }
  prove_equal();
}

/// Verify itself must come to an answer in peace, and to the right one.
void Scenario::prove_equal() {
  const auto until = world_.now() + peace_max;
  std::vector<std::uint64_t> before;
  for (const auto* mirror : fleet_.mirrors)
    before.push_back(mirror->equal_verifies());
  for (;;) {
    bool all = true;
    for (std::size_t i = 0; i < fleet_.mirrors.size(); ++i) {
      if (fleet_.mirrors[i]->is_promoted() || fleet_.mirrors[i]->equal_verifies() > before[i]) continue;
      all = false;
      fleet_.mirrors[i]->verify();
    }
    if (all) return;
    if (world_.now() >= until) throw Violation("peace came and verify could not tell that both sides are equal");
    world_.run_until(world_.now() + 5 * second, [this] { check(); });
  }
}

}  // namespace

Outcome run(std::uint64_t seed, const std::string& variant, bool tell) {
  set_variant(variant);
  Outcome outcome;
  Scenario scenario(seed, tell);
  try {
    scenario.run();
  } catch (const Violation& violation) {
    outcome.violation = violation.what();
  }
  outcome.tally = scenario.world().tally;
  outcome.history = scenario.world().history();
  outcome.worked = outcome.tally.commits >= commits_that_count && outcome.tally.applied >= applied_that_count &&
                   outcome.tally.faults > 0;
  set_variant({});
  return outcome;
}

}  // namespace crosslink::sim
