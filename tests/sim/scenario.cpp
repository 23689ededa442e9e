#include "sim/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "sim/events.hpp"
#include "sim/mirror_host.hpp"
#include "sim/variants.hpp"

namespace crosslink::sim {
namespace {

constexpr Time second{1'000'000};
constexpr std::uint64_t mebibyte = 1024 * 1024;
constexpr Time idle_timeout{2'000'000};
constexpr Time peace_max = 900 * second;
constexpr std::uint64_t commits_that_count = 30, applied_that_count = 30;

MemoryOptions options_of(World& world, std::uint64_t window_bytes) {
  MemoryOptions options;
  options.log_window_bytes = window_bytes;
  options.log_budget_bytes = 4 * window_bytes;
  options.entry_bytes_max = 8ull * 1024 * 1024;
  options.manual_sync = true;
  options.seed = world.random()();
  return options;
}

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
  MirrorHost& any_mirror() { return *mirrors_[world_.below(mirrors_.size())]; }
  MirrorHost* mirror_named(const std::string& name);
  Connection::Weather any_weather();

  // Faults.
  void cut();
  void weather();
  void kill_source();
  void kill_source_now(bool power);
  void kill_mirror();
  void pass_window();
  void restore_source();
  void restamp_source();
  void empty_source();
  void fill_disk();
  void jump_clock();
  void damage_chunk();
  void misread();
  void cut_all();

  // The operator.
  void pause_or_resume();
  void resync();
  void fail_sync();
  void promote();
  void limit();
  void verify();

  void build_sources();
  void build_mirrors();
  void make_peace();
  void prove_equal();
  bool together();
  void describe_disagreement();
  const Node* upstream_of(const MirrorHost& mirror);

  World world_;
  Oracle oracle_;
  std::unique_ptr<Database> root_db_, near_db_, middle_db_, far_db_;
  std::unique_ptr<SourceHost> root_, middle_source_;
  std::unique_ptr<MirrorHost> near_, middle_, far_;
  std::vector<MirrorHost*> mirrors_;
  MemoryDatabase::Backup backup_;
  Time trouble_until_{0}, write_every_{0}, trouble_every_{0};
  bool peace_ = false, synced_mode_ = false;
  bool quiet_ = false;         ///< LSNs go by, entries do not come
  bool small_frames_ = false;  ///< so that small databases come in many chunks, and small entries in fragments
};

Scenario::Scenario(std::uint64_t seed, bool tell) : world_(seed, tell) {
  trouble_until_ = world_.between(6 * second, 25 * second);
  write_every_ = world_.between(Time(4'000), Time(80'000));
  trouble_every_ = world_.between(Time(200'000), Time(2'500'000));
  synced_mode_ = world_.chance(0.3);
  small_frames_ = world_.chance(0.3);
  const auto window = world_.chance(0.5) ? 2'000 + world_.below(60'000) : 16 * mebibyte;
  const auto make = [&](const char* name, bool root) {
    const auto options = options_of(world_, window);
    return std::make_unique<Database>(world_, oracle_, name, options,
                                      root ? MemoryDatabase::create(options) : MemoryDatabase::empty(options));
  };
  root_db_ = make("root/db", true);
  near_db_ = make("near/db", false);
  middle_db_ = make("middle/db", false);
  far_db_ = make("far/db", false);
  root_db_->note_standing();
  build_sources();
  build_mirrors();
}

void Scenario::build_sources() {
  SourceHostConfig root_config;
  root_config.chain = {"root/db"};
  if (world_.chance(0.3)) root_config.in_flight_bytes_max = 2 * mebibyte + world_.below(4 * mebibyte);
  if (synced_mode_) {
    root_config.sync.mirrors = {"near/db"};
    root_config.sync.timeout = world_.between(Time(100'000), 2 * second);
    root_config.sync.on_loss = world_.chance(0.5) ? OnSyncLoss::error : OnSyncLoss::async;
  }
  SourceHostConfig middle_config;
  middle_config.chain = {"middle/db", "root/db"};
  if (small_frames_) root_config.bulk_bytes_max = middle_config.bulk_bytes_max = 30 + world_.below(400);
  root_config.of_a_later_version = middle_config.of_a_later_version = world_.chance(0.15);
  root_config.clock_offset = world_.between(Time(0), 3600 * second);
  middle_config.clock_offset = world_.between(Time(0), 3600 * second);
  root_ = std::make_unique<SourceHost>(world_, oracle_, *root_db_, root_config);
  middle_source_ = std::make_unique<SourceHost>(world_, oracle_, *middle_db_, middle_config);
  root_->durable_at = [this](const std::string& name) { return mirror_named(name)->durable_node(); };
}

void Scenario::build_mirrors() {
  const auto config_of = [this](const std::string& name) {
    MirrorHostConfig config;
    config.name = name;
    config.weather = any_weather();
    config.clock_offset = world_.between(Time(0), 3600 * second);
    config.engine_delay_max = world_.chance(0.2) ? Time(100'000) : Time(3'000);
    config.engine_stalls = world_.chance(0.3) ? 0.02 : 0.0;
    config.in_flight_bytes_max = 2 * mebibyte + world_.below(4 * mebibyte);
    return config;
  };
  auto near_config = config_of("near/db");
  near_config.sync = synced_mode_ && world_.chance(0.5);  // its source names it, whether it asks or not
  near_config.resync_when_source_behind = !synced_mode_ && world_.chance(0.2);
  near_config.root_node = [this] { return root_db_->node(); };
  near_ = std::make_unique<MirrorHost>(world_, oracle_, *near_db_, *root_, nullptr, near_config);
  auto middle_config_mirror = config_of("middle/db");
  middle_config_mirror.root_node = [this] { return root_db_->node(); };
  middle_ =
      std::make_unique<MirrorHost>(world_, oracle_, *middle_db_, *root_, middle_source_.get(), middle_config_mirror);
  auto far_config = config_of("far/db");
  far_config.root_node = [this] {
    return middle_db_->engine().source_state().role == DatabaseRole::mirror ? root_db_->node() : middle_db_->node();
  };
  far_ = std::make_unique<MirrorHost>(world_, oracle_, *far_db_, *middle_source_, nullptr, far_config);
  mirrors_ = {near_.get(), middle_.get(), far_.get()};
}

Connection::Weather Scenario::any_weather() {
  Connection::Weather weather;
  weather.delay_min = world_.between(Time(20), Time(30'000));
  weather.delay_max = weather.delay_min + world_.between(Time(10), Time(30'000));
  weather.slow_piece = world_.chance(0.5) ? 0.04 : 0.0;
  return weather;
}

MirrorHost* Scenario::mirror_named(const std::string& name) {
  return *std::ranges::find_if(mirrors_, [&](const auto* one) { return one->config().name == name; });
}

// --- the world's life
// ----------------------------------------------------------------------------------------------------

void Scenario::write() {
  if (running()) world_.after(world_.between(Time(1), 2 * write_every_), [this] { write(); });
  if (quiet_ || world_.chance(0.1)) return root_->pass_over(1 + world_.below(3));
  std::size_t big = 0;
  if (world_.chance(0.01)) big = small_frames_ ? world_.below(60'000) : 60'000 + world_.below(200'000);
  if (!small_frames_ && world_.chance(0.002)) big = 2 * mebibyte + world_.below(4 * mebibyte);
  root_->commit(big);
  for (auto* mirror : mirrors_) {
    auto& engine = mirror->database().engine();
    if (engine.source_state().role != DatabaseRole::promoted || !world_.chance(0.3)) continue;
    if (mirror->is_down()) continue;
    if (mirror == middle_.get()) {
      middle_source_->commit(0);
    } else {
      mirror->database().commit(0);
    }
    mirror->changed_by_client();
  }
}

void Scenario::sync() {
  if (!quiet_) root_->sync();
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
      {3, &Scenario::fail_sync},
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
  root_->check();
  middle_source_->check();
  for (auto* mirror : mirrors_)
    mirror->check();
}

// --- faults
// --------------------------------------------------------------------------------------------------------------

void Scenario::cut() {
  world_.happened(event::connection_cut);
  any_mirror().cut(world_.between(Time(1), idle_timeout));
}
void Scenario::cut_all() { (world_.chance(0.7) ? *root_ : *middle_source_).cut_all(idle_timeout); }
void Scenario::weather() {
  world_.happened(event::weather);
  any_mirror().set_weather(any_weather());
}

void Scenario::kill_source() {
  if (root_->is_down() || quiet_) return;
  const bool power = world_.chance(0.5);
  if (!power || world_.chance(0.7)) return kill_source_now(power);
  // What a power cut takes then is LSNs alone: mirrors step back.
  root_->sync();
  quiet_ = true;
  world_.after(world_.between(Time(50'000), Time(500'000)), [this] {
    quiet_ = false;
    if (!root_->is_down()) kill_source_now(true);
  });
}

void Scenario::kill_source_now(bool power) {
  world_.tell(power ? "root/db: power cut" : "root/db: killed");
  world_.happened(power ? event::source_power : event::source_killed);
  root_->crash(idle_timeout);
  if (power) {
    const auto head = root_db_->engine().source_state().head;
    root_db_->engine().crash();
    root_db_->changed();
    root_->recovered();
    if (root_db_->engine().source_state().head < head) world_.happened(event::source_tail);
  }
  world_.after(world_.between(Time(1'000), 4 * second), [this, power] {
    if (power) {
      root_db_->engine().unclean_stop();
      root_db_->note_standing();
    }
    world_.tell("root/db: is back");
    root_->restart();
  });
}

void Scenario::fail_sync() {
  if (root_->is_down() || quiet_) return;
  world_.tell("root/db: a sync fails");
  root_->lose_tail(world_.chance(0.5));
}

void Scenario::kill_mirror() {
  // A snapshot is on its way for moments only: they count.
  const auto storing = std::ranges::find_if(mirrors_, [](const auto* one) { return one->stores_snapshot(); });
  auto& mirror = storing != mirrors_.end() && world_.chance(0.7) ? **storing : any_mirror();
  if (mirror.is_down()) return;
  mirror.crash(world_.chance(storing != mirrors_.end() ? 0.8 : 0.5), idle_timeout);
  world_.after(world_.between(Time(1'000), 4 * second), [&mirror] { mirror.start(); });
}

void Scenario::pass_window() {
  auto& database = world_.chance(0.7) ? *root_db_ : *middle_db_;
  world_.tell(database.name() + ": the log is purged");
  world_.happened(event::purged);
  database.engine().purge_log();
}

void Scenario::restore_source() {
  if (root_->is_down()) return;
  if (!backup_ || world_.chance(0.4)) {
    world_.tell("root/db: a backup is taken");
    backup_ = root_db_->engine().backup();
    return;
  }
  const bool restamped = world_.chance(0.5);
  world_.tell(fmt::format("root/db: restored from a backup{}", restamped ? " and restamped" : ""));
  root_->end_sessions();
  root_->forget_promises();
  root_db_->engine().restore(backup_);
  if (restamped) root_db_->engine().restamp();
  root_db_->note_standing();
  root_->history_changed();
  world_.happened(restamped ? event::restored_restamped : event::restored);
}

void Scenario::restamp_source() {
  if (root_->is_down()) return;
  // A session that began between the end of all and the change must find the change itself.
  const bool ended = world_.chance(0.5);
  world_.tell(fmt::format("root/db: restamped{}", ended ? "" : " under its sessions"));
  if (ended) root_->end_sessions();
  root_db_->engine().restamp();
  root_db_->note_standing();
  root_->history_changed();
  world_.happened(event::restamped);
}

void Scenario::empty_source() {
  if (root_->is_down()) return;
  world_.tell("root/db: made anew");
  root_->end_sessions();
  root_->forget_promises();
  root_db_->engine().recreate();
  root_db_->note_standing();
  root_->history_changed();
  world_.happened(event::emptied);
  backup_.reset();
}

void Scenario::fill_disk() {
  const std::array databases{root_db_.get(), near_db_.get(), middle_db_.get(), far_db_.get()};
  auto& database = *databases[world_.below(databases.size())];
  const auto calls = static_cast<std::uint32_t>(1 + world_.below(6));
  world_.tell(fmt::format("{}: the disk is full for {} calls", database.name(), calls));
  database.engine().fail_next(calls);
}

void Scenario::jump_clock() {
  const auto by = world_.between(Time(1), 120 * second);
  if (world_.chance(0.7)) return any_mirror().jump_clock(by);
  (world_.chance(0.7) ? *root_ : *middle_source_).jump_clock(by);
}

void Scenario::damage_chunk() { any_mirror().damage_snapshot(); }

void Scenario::misread() { (world_.chance(0.6) ? *root_ : *middle_source_).misread_once(); }

void Scenario::pause_or_resume() {
  auto& mirror = any_mirror();
  if (mirror.is_down()) return;
  if (mirror.status().kind == StatusKind::Paused || world_.chance(0.4)) {
    mirror.resume();
  } else {
    mirror.pause();
  }
}

void Scenario::resync() {
  auto& mirror = any_mirror();
  if (!mirror.is_down()) mirror.resync();
}

void Scenario::promote() {
  auto& mirror = any_mirror();
  // The named mirror of a synced source seldom: nothing is promised any more after that.
  const bool named = synced_mode_ && &mirror == near_.get();
  if (mirror.is_down() || !world_.chance(named ? 0.2 : 0.3)) return;
  mirror.promote();
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
  for (const auto& database : {root_db_.get(), near_db_.get(), middle_db_.get(), far_db_.get()})
    database->engine().fail_next(0);
  if (root_->is_down()) root_->restart();
  for (auto* mirror : mirrors_) {
    mirror->set_weather({});
    mirror->use_good_disk();
    if (mirror->is_down()) mirror->start();
    mirror->resume();
    mirror->limit(0);
  }
}

const Node* Scenario::upstream_of(const MirrorHost& mirror) {
  return &mirror == far_.get() ? middle_db_->node() : root_db_->node();
}

/// Every mirror follows and holds what its source holds; what needs an operator gets one.
bool Scenario::together() {
  bool all = true;
  for (auto* mirror : mirrors_) {
    if (mirror->is_promoted()) continue;
    if (mirror->status().kind == StatusKind::Halted) mirror->resync();
    all = all && mirror->status().kind == StatusKind::Following && mirror->database().node() == upstream_of(*mirror);
  }
  return all;
}

void Scenario::describe_disagreement() {
  for (auto* mirror : mirrors_) {
    const auto status = mirror->status();
    world_.tell(fmt::format("{}: {} ({}), holds {}, its source {}", mirror->config().name, to_string(status.kind),
                            status.reason, mirror->database().node()->marker, upstream_of(*mirror)->marker));
  }
}

void Scenario::run() {
  const auto after_each = [this] { check(); };
  for (auto* mirror : mirrors_)
    mirror->start();
  write();
  sync();
  trouble();
  world_.run_until(trouble_until_, after_each);
  // The day that sync mode is for.
  if (synced_mode_ && world_.chance(0.15) && !near_->is_down()) near_->promote();
  // What was on its way to come back comes back.
  world_.run_until(trouble_until_ + 5 * second, after_each);
  make_peace();
  const auto until = world_.now() + peace_max;
  while (!together()) {
    if (world_.now() >= until) {
      describe_disagreement();
      throw Violation("peace came and they did not come together again");
    }
    // A mirror that is ahead of its own source waits until that has come as far again: somebody must write.
    if (world_.now() + peace_max / 2 < until) root_->commit(0);
    world_.run_until(world_.now() + second, after_each);
  }
  prove_equal();
}

/// Verify itself must come to an answer in peace, and to the right one.
void Scenario::prove_equal() {
  const auto until = world_.now() + peace_max;
  std::vector<std::uint64_t> before;
  for (const auto* mirror : mirrors_)
    before.push_back(mirror->equal_verifies());
  for (;;) {
    bool all = true;
    for (std::size_t i = 0; i < mirrors_.size(); ++i) {
      if (mirrors_[i]->is_promoted() || mirrors_[i]->equal_verifies() > before[i]) continue;
      all = false;
      mirrors_[i]->verify();
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
