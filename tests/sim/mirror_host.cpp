#include "sim/mirror_host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/entries.hpp"
#include "sim/events.hpp"

namespace crosslink::sim {

using namespace core::mirror_action;

MirrorHost::MirrorHost(World& world, Oracle& oracle, Database& database, SourceHost& source, SourceHost* own,
                       MirrorHostConfig config)
    : world_(&world),
      oracle_(&oracle),
      database_(&database),
      source_(&source),
      own_(own),
      config_(std::move(config)),
      engine_faults_(world, config_.name) {
  node_ = durable_node_ = oracle_->root();
  if (own_ != nullptr) own_->set_upstream_lag([this] { return lag(); });
  source_->on_window_exceeded[config_.name] = [this] { on_window_exceeded(); };
}

MirrorHost::~MirrorHost() = default;

void MirrorHost::tell(const std::string& line) { world_->tell(config_.name + ": " + line); }

void MirrorHost::later(Time delay, std::function<void()> what) {
  world_->after(delay, [alive = std::weak_ptr<int>(life_), what = std::move(what)] {
    if (!alive.expired()) what();
  });
}

Time MirrorHost::engine_delay() {
  constexpr Time stall_max{4'000'000};
  const bool stalls = world_->chance(config_.engine_stalls);
  if (stalls) world_->happened(event::slow);
  return world_->between(Time(10), stalls ? stall_max : config_.engine_delay_max);
}

void MirrorHost::start() {
  life_ = std::make_shared<int>(0);
  wake_at_.reset();
  checked_ = false;
  switches_ = 0;
  live_bytes_ = std::make_shared<std::uint64_t>(0);
  halted_node_ = nullptr;
  promotion_asked_ = stopping_ = false;
  engine_faults_.on_start();
  core::MirrorMachineConfig config;
  config.software = "sim";
  config.self = config_.identity.database;
  config.id = config_.identity.id;
  config.sync = config_.sync;
  config.resync_when_source_behind = config_.resync_when_source_behind;
  config.in_flight_bytes_max = config_.in_flight_bytes_max;
  config.group_bytes_max = 1 + world_->below(4096);
  config.ack_every = world_->between(Time(500), Time(50'000));
  throttle_ = core::ThrottleAccount(config_.in_flight_bytes_max);
  reconnect_ = std::make_unique<core::ReconnectMachine>(1, world_->random()());
  machine_ = std::make_unique<core::MirrorMachine>(config, database_->engine().mirror_state(),
                                                   database_->engine().traits(), fragments_, throttle_, clock());
  if (own_ != nullptr) own_->restart();
  machine_->on_time(clock());
  carry_out();
}

void MirrorHost::crash(bool power, Time idle_timeout) {
  tell(power ? "power cut" : "killed");
  world_->happened(power ? event::mirror_power : event::mirror_killed);
  life_.reset();
  if (connection_) connection_->vanish(Connection::mirror, idle_timeout);
  connection_.reset();
  link_life_.reset();
  view_.reset();
  machine_.reset();
  reconnect_.reset();
  if (own_ != nullptr) own_->crash(idle_timeout);
  if (power) lose_unsynced();
  // Whether a new snapshot was asked for is forgotten now, unless a part of it is here.
  if (!database_->engine().mirror_state().partial) resync_asked_ = window_exceeded_ = false;
}

void MirrorHost::lose_unsynced() {
  auto& engine = database_->engine();
  const auto before = engine.mirror_state();
  const auto* held = node_;
  test::MemoryFaults(engine).crash();
  const auto after = engine.mirror_state();
  if (before.position && !after.position) throw Violation(config_.name + " lost its data in a power cut");
  if (after.position && after.position->applied_lsn < before.durable) {
    throw Violation(config_.name + " lost what it had called durable");
  }
  if (promoted_ && after.role != DatabaseRole::promoted) throw Violation(config_.name + " forgot its promotion");
  if (before.partial && after.partial && after.partial->bytes() < before.partial->bytes())
    world_->happened(event::partial_tail);
  may_fall_ = true;
  // As a node does when it starts after its machine was rebooted.
  if (promoted_) engine.unclean_stop();
  database_->changed();
  after_change();
  if (promoted_) database_->note_standing();
  if (node_ != held) world_->happened(event::mirror_tail);
  if (node_ != durable_node_ && !Oracle::is_ancestor_or_self(durable_node_, node_)) {
    throw Violation(config_.name + " holds something else after a power cut than what was durable");
  }
}

void MirrorHost::cut(Time notice_max) {
  if (connection_) connection_->cut(notice_max);
}

void MirrorHost::damage_snapshot() {
  // Between the check and the switch the data is not checked again; what lies in between is a moment.
  const auto partial = database_->engine().mirror_state().partial;
  damage_next_ = !partial || partial->bytes() == 0;
  if (checked_ || damage_next_) return;
  tell("a stored byte of the snapshot flips");
  world_->happened(event::damaged);
  test::MemoryFaults(database_->engine()).damage_stored_byte(world_->below(partial->bytes()));
}

void MirrorHost::jump_clock(Time by) {
  tell(fmt::format("the clock jumps by {} ms", by.count() / 1000));
  world_->happened(event::mirror_clock);
  config_.clock_offset += by;
  if (!machine_) return;
  machine_->on_time(clock());
  carry_out();
}

// --- dialing: what CrossClusterLink does
// ------------------------------------------------------------------------------

void MirrorHost::dial(const Dial& dial) {
  link_life_ = std::make_shared<int>(0);
  if (reconnect_->phase() == core::LinkPhase::connected) reconnect_->connection_lost();
  if (dial.reconnect) throttle_.reset();  // as CrossClusterLink::schedule_reconnect
  auto action = dial.reconnect ? reconnect_->start_reconnect() : reconnect_->start_connect();
  if (!action) throw Violation(config_.name + " dials while it dials: " + action.error().message());
  carry_out(*action);
}

void MirrorHost::carry_out(core::Action action) {
  const std::weak_ptr<int> link = link_life_;
  if (const auto* sleep = std::get_if<core::Sleep>(&action)) {
    later(sleep->delay, [this, link] {
      if (!link.expired()) carry_out(reconnect_->slept());
    });
  } else if (std::holds_alternative<core::Dial>(action)) {
    later(world_->between(Time(1'000), Time(20'000)), [this, link] {
      if (!link.expired()) attempt();
    });
  }
}

EndCallbacks MirrorHost::hear_from_source() {
  const auto life = std::weak_ptr<int>(link_life_);
  const auto alive = [this, life] { return !life.expired() && machine_; };
  EndCallbacks callbacks;
  callbacks.on_frame = [this, alive](Token token, std::uint8_t kind,
                                     std::shared_ptr<const std::vector<std::byte>> payload) {
    if (!alive()) return;
    const auto& bytes = *payload;
    *live_bytes_ += bytes.size();
    const std::shared_ptr<const void> keep(payload.get(),
                                           [payload, live = live_bytes_](const void*) { *live -= payload->size(); });
    machine_->on_frame(token, kind, keep, bytes, clock());
    carry_out();
  };
  callbacks.on_stream_end = [this, alive](Token token) {
    if (!alive()) return;
    machine_->on_stream_end(token, std::nullopt, clock());
    carry_out();
  };
  callbacks.on_lost = [this, alive] {
    if (alive()) end_link();
  };
  return callbacks;
}

void MirrorHost::attempt() {
  auto connection = source_->accept(config_.name, config_.peer, config_.weather, hear_from_source());
  if (!connection) {
    const auto error = MirrorError::transport(TransportCause::unreachable, "the source is down");
    const auto next = reconnect_->dial_failed(error);
    if (!std::holds_alternative<core::Return>(next)) return carry_out(next);
    link_life_.reset();
    machine_->on_dial_failed(error, clock());
    return carry_out();
  }
  connection_ = std::move(connection);
  static_cast<void>(reconnect_->dial_succeeded());
  machine_->on_connected(clock());
  carry_out();
}

void MirrorHost::end_link() {
  link_life_.reset();
  connection_.reset();
  if (reconnect_->phase() == core::LinkPhase::connected) {
    reconnect_->connection_lost();
  } else if (reconnect_->phase() != core::LinkPhase::disconnected) {
    reconnect_->operation_cancelled();
  }
  machine_->on_disconnected(MirrorError::transport(TransportCause::idle_timeout, "the link was lost"), clock());
  carry_out();
}

// --- actions
// -----------------------------------------------------------------------------------------------------------

void MirrorHost::carry_out() {
  while (machine_) {
    auto actions = machine_->take_actions();
    if (actions.empty()) return;
    for (auto& action : actions)
      carry_out(action);
  }
}

void MirrorHost::carry_out(core::MirrorAction& action) {
  if (const auto* request = std::get_if<Dial>(&action)) {
    dial(*request);
  } else if (std::holds_alternative<CloseLink>(action)) {
    if (connection_) connection_->close(Connection::mirror);
    const auto link = std::weak_ptr<int>(link_life_);
    later(Time(0), [this, link] {
      if (!link.expired()) end_link();
    });
  } else if (auto* send = std::get_if<Send>(&action)) {
    if (connection_) connection_->send(Connection::mirror, send->stream, std::move(send->frame));
  } else if (const auto* drop = std::get_if<DropStream>(&action)) {
    if (connection_) connection_->drop(Connection::mirror, drop->stream);
  } else if (const auto* read = std::get_if<ReadBulk>(&action)) {
    if (connection_) connection_->hold_bulk(Connection::mirror, !read->allowed, core::MirrorMachine::control_stream);
  } else if (std::holds_alternative<Progress>(action)) {
    if (reconnect_->phase() == core::LinkPhase::connected) reconnect_->note_progress();
  } else if (const auto* wake = std::get_if<Wake>(&action)) {
    if (wake_at_ && *wake_at_ <= wake->at) return;
    wake_at_ = wake->at;
    later(std::max(Time(0), wake->at - clock()), [this, at = wake->at] {
      if (wake_at_ != at) return;
      wake_at_.reset();
      machine_->on_time(clock());
      carry_out();
    });
  } else if (const auto* digest = std::get_if<DigestRange>(&action)) {
    later(engine_delay(), [this, ask = *digest] {
      if (!view_) return;
      machine_->on_digest(ask.question, core::digest_range(*view_, ask.range), clock());
      carry_out();
    });
  } else if (const auto* keys = std::get_if<ListKeys>(&action)) {
    later(engine_delay(), [this, ask = *keys] {
      if (!view_) return;
      machine_->on_keys(ask.question, core::list_keys(*view_, ask.range), clock());
      carry_out();
    });
  } else if (std::holds_alternative<CloseView>(action)) {
    view_.reset();
  } else {
    later(engine_delay(), [this, call = std::move(action)] {
      auto answer = call_engine(call);
      machine_->on_engine(std::move(answer), clock());
      carry_out();
    });
  }
}

Result<core::EngineAnswer> MirrorHost::call_engine(const core::MirrorAction& action) {
  check_call(action);
  engine_faults_.before(action, clock());
  const auto refusal = engine_faults_.refusal(action);
  auto answer = refusal ? Result<core::EngineAnswer>(*refusal) : ask_engine(action);
  engine_faults_.after(action, answer, clock());
  return answer;
}

Result<core::EngineAnswer> MirrorHost::ask_engine(const core::MirrorAction& action) {
  auto& engine = database_->engine();
  core::EngineAnswer answer;
  Result<void> done;
  const auto* held = node_;
  if (const auto* apply = std::get_if<Apply>(&action)) {
    world_->tally.applied += judge_entries(*oracle_, apply->group, node_, config_.name).count;
    const auto own_head = engine.source_state().head;
    const auto log = database_->log();
    done = engine.apply(apply->group);
    if (done) note_entries(*oracle_, apply->group, log, own_head);
  } else if (const auto* back = std::get_if<StepBack>(&action)) {
    may_fall_ = true;
    done = engine.step_back(back->from);
  } else if (std::holds_alternative<Sync>(action)) {
    const auto synced = engine.sync();
    if (!synced) done = synced.error();
  } else if (const auto* begin = std::get_if<BeginSnapshot>(&action)) {
    done = engine.begin_snapshot(begin->facts);
  } else if (const auto* store = std::get_if<StoreChunk>(&action)) {
    done = engine.store_chunk(store->chunk, store->bytes);
    if (done && std::exchange(damage_next_, false)) damage_snapshot();
  } else if (std::holds_alternative<CheckSnapshot>(action)) {
    auto check = engine.check_snapshot();
    if (!check) return check.error();
    answer.check = *check;
    checked_ = true;
  } else if (std::holds_alternative<SwitchSnapshot>(action)) {
    before_switch();
    done = engine.switch_snapshot();
    if (done) {
      may_fall_ = true;
      resync_asked_ = window_exceeded_ = false;
      halted_node_ = nullptr;  // a switch that was under way when it halted
      ++switches_;
      ++world_->tally.bootstraps;
      if (own_ != nullptr && applied_) world_->happened(event::middle_anew);
    }
  } else if (std::holds_alternative<DropSnapshot>(action)) {
    done = engine.drop_snapshot();
  } else if (std::holds_alternative<Promote>(action)) {
    if (connection_) throw Violation(config_.name + " is promoted while its link stands");
    auto promoted = engine.promote("source", source_->database().name());
    if (!promoted) return promoted.error();
    answer.promoted_from = *promoted;
    ++world_->tally.promotions;
    world_->happened(event::promoted);
    if (source_->writers().promised_by(config_.identity)) world_->happened(event::promoted_synced);
    promoted_ = true;
    promotion_asked_ = false;
    tell("promoted");
  } else if (std::holds_alternative<OpenView>(action)) {
    auto view = engine.view();
    if (!view) return view.error();
    view_ = *view;
  }
  if (std::holds_alternative<SwitchSnapshot>(action)) checked_ = false;
  if (!done) {
    tell("the engine refuses: " + done.error().message());
    if (done.error().kind() == ErrorKind::Storage) world_->happened(event::mirror_disk);
    return done.error();
  }
  const auto state = engine.mirror_state();
  answer.mark = {state.position, state.durable};
  // Only these may change what is read; reading it all is what a run's time goes into.
  const bool changes = std::holds_alternative<Apply>(action) || std::holds_alternative<StepBack>(action) ||
                       std::holds_alternative<SwitchSnapshot>(action) || std::holds_alternative<Promote>(action);
  if (changes) database_->changed();
  after_change();
  if (const auto* back = std::get_if<StepBack>(&action)) {
    world_->happened(event::step_back);
    if (node_ != held || applied_ != back->from) throw Violation(config_.name + " steps back to somewhere else");
  }
  if (own_ != nullptr) own_->head_moved();
  return answer;
}

// --- what must hold
// -----------------------------------------------------------------------------------------------------

/// Nothing of the source comes after a promotion; a step back takes nothing that stands for an entry.
void MirrorHost::check_call(const core::MirrorAction& action) const {
  const bool writes = std::holds_alternative<Apply>(action) || std::holds_alternative<StepBack>(action) ||
                      std::holds_alternative<BeginSnapshot>(action) || std::holds_alternative<StoreChunk>(action) ||
                      std::holds_alternative<SwitchSnapshot>(action);
  if (promoted_ && writes) throw Violation(config_.name + " takes something in after it was promoted");
  if (std::holds_alternative<Promote>(action) && !promotion_asked_)
    throw Violation(config_.name + " is promoted though that was given up");
  if (const auto* back = std::get_if<StepBack>(&action)) {
    const auto position = database_->engine().mirror_state().position;
    if (!position || back->from < position->last_entry.lsn || back->from >= position->applied_lsn)
      throw Violation(fmt::format("{} steps back to LSN {}", config_.name, back->from.value));
  }
}

/// The source says that its log no longer reaches back to this mirror. What the mirror holds and the source lacks may
/// only be let go of when nothing tells the two apart any more (protocol.md).
void MirrorHost::on_window_exceeded() {
  window_exceeded_ = true;
  const auto position = database_->engine().mirror_state().position;
  const auto source = source_->database().engine().source_state();
  if (!position || source.role == DatabaseRole::mirror || position->applied_lsn < source.oldest) return;
  if (!Oracle::is_ancestor_or_self(node_, source_->database().node())) {
    throw Violation(fmt::format("{} is told to let go of the commit {}, which its source does not have", config_.name,
                                node_->marker));
  }
}

void MirrorHost::before_switch() {
  const auto position = database_->engine().mirror_state().position;
  if (position && !resync_asked_ && !window_exceeded_ && !config_.resync_when_source_behind)
    throw Violation(config_.name + " replaces its data though no command asked for it");
  // Everything changes for those who follow this one: a session that began too late to be ended must find out itself.
  if (own_ == nullptr) return;
  if (world_->chance(0.5)) {
    own_->end_sessions();
  } else {
    world_->happened(event::outlived);
  }
}

void MirrorHost::after_change() {
  const auto state = database_->engine().mirror_state();
  if (!state.position) return;
  const auto* before = node_;
  node_ = database_->node();
  if (node_ != before || !database_->engine().source_state().history.empty()) {
    const auto own = database_->engine().source_state();
    if (own.role == DatabaseRole::mirror) oracle_->stands_at(database_->log(), own.head.value, node_);
  }
  if (state.durable >= state.position->applied_lsn) durable_node_ = node_;
  check_position();
}

void MirrorHost::check_position() {
  const auto state = database_->engine().mirror_state();
  if (!state.position || state.role != DatabaseRole::mirror) return;
  const auto& position = *state.position;
  if (!oracle_->holds(Database::log_of(position.incarnation), position.applied_lsn.value, node_)) {
    throw Violation(fmt::format("{} says that it is at LSN {} of {}, and holds the commit {}", config_.name,
                                position.applied_lsn.value, to_string(position.incarnation), node_->marker));
  }
  if (applied_ && position.applied_lsn < *applied_ && !may_fall_) {
    throw Violation(fmt::format("{} falls from LSN {} to {} for no counted reason", config_.name, applied_->value,
                                position.applied_lsn.value));
  }
  may_fall_ = false;
  applied_ = position.applied_lsn;
}

void MirrorHost::check_lag() {
  const auto reported = machine_->lag(clock());
  if (!reported) return;
  const auto* theirs = config_.root_node();
  if (const std::pair now{node_, theirs}; compared_ != now) {
    compared_ = now;
    missing_ = node_ != theirs && Oracle::is_ancestor_or_self(node_, theirs) ? theirs : nullptr;
    while (missing_ != nullptr && missing_->parent != node_)
      missing_ = missing_->parent;
  }
  if (missing_ == nullptr) return;
  const auto truth = world_->now() - missing_->committed_at;
  if (*reported < truth) {
    throw Violation(fmt::format("{} reports a lag of {} us while the truth is {} us", config_.name, reported->count(),
                                truth.count()));
  }
}

/// Counted twice: by the machine, and by the buffers of the frames themselves.
void MirrorHost::check_memory() {
  // A frame on each stream may pass the cap, and one entry that came in fragments.
  constexpr std::uint64_t frames_bytes = 1024 * 1024, entry_bytes = 8 * 1024 * 1024;
  const auto held = machine_->held_bytes();
  if (held > config_.in_flight_bytes_max + frames_bytes + entry_bytes)
    throw Violation(fmt::format("{} holds {} bytes in memory, over its cap", config_.name, held));
  if (*live_bytes_ > config_.in_flight_bytes_max + frames_bytes)
    throw Violation(fmt::format("{} keeps frames of {} bytes, over its cap", config_.name, *live_bytes_));
}

/// Done or given up in time: no command waits for ever, and nothing comes of it later.
void MirrorHost::check_promotion(const MirrorStatus& status) {
  constexpr Time call_max{10'000'000};
  if (!promotion_asked_) return;
  if (machine_->given_up()) {
    tell("not promoted: " + machine_->given_up()->message());
    world_->happened(event::promotion_given_up);
  }
  if (machine_->given_up() || status.kind == StatusKind::Halted) promotion_asked_ = false;
  if (promotion_asked_ && promoted_by_ && world_->now() > *promoted_by_ + call_max)
    throw Violation(config_.name + " is neither promoted in time nor is that given up");
}

void MirrorHost::check_status() {
  const auto status = machine_->status(clock());
  const auto kind = status.kind;
  engine_faults_.check(status);
  check_promotion(status);
  if ((kind == StatusKind::Promoted) != promoted_) throw Violation(config_.name + " is not what it was promoted to");
  if (kind != StatusKind::Halted) {
    halted_node_ = nullptr;
  } else if (last_status_ != StatusKind::Halted) {
    ++world_->tally.halts;
    tell("halted: " + status.reason);
  }
  if (kind == StatusKind::Halted && halted_node_ == nullptr) halted_node_ = node_;
  // What was being applied when it halted still comes.
  if (halted_node_ != nullptr && !Oracle::is_ancestor_or_self(halted_node_, node_))
    throw Violation(config_.name + " lost data while it was Halted");
  last_status_ = kind;
}

void MirrorHost::check_verify() {
  const auto result = machine_->take_verify_result();
  if (!result) return;
  ++world_->tally.verifies;
  tell(fmt::format("verify: {} {}", to_string(result->outcome), result->reason));
  if (result->outcome == VerifyResult::Outcome::different) {
    throw Violation(
        fmt::format("{}: verify finds {} differences that are not there", config_.name, result->difference_count));
  }
  if (result->outcome != VerifyResult::Outcome::equal) return;
  ++equal_verifies_;
  world_->happened(event::verified);
}

void MirrorHost::check() {
  if (!machine_) return;
  check_memory();
  check_lag();
  check_status();
  check_verify();
  if (machine_->bootstraps() != switches_)
    throw Violation(
        fmt::format("{} counts {} bootstraps, there were {}", config_.name, machine_->bootstraps(), switches_));
}

MirrorStatus MirrorHost::status() { return machine_->status(clock()); }

std::optional<Time> MirrorHost::lag() {
  if (!machine_) return std::nullopt;
  return machine_->lag(clock());
}

// --- the operator
// --------------------------------------------------------------------------------------------------------

void MirrorHost::after_operator(const char* what, const Result<void>& result) {
  tell(fmt::format("operator: {}{}", what, result ? std::string{} : ", refused: " + result.error().message()));
  carry_out();
}
void MirrorHost::pause() {
  world_->happened(event::paused);
  after_operator("pause", machine_->pause(clock()));
}
void MirrorHost::resume() {
  world_->happened(event::resumed);
  const auto done = machine_->resume(clock());
  if (done) engine_faults_.on_resume();
  after_operator("resume", done);
}
void MirrorHost::resync() {
  resync_asked_ = true;
  world_->happened(event::resync);
  const auto done = machine_->resync(clock());
  if (done) engine_faults_.on_operator(true);
  after_operator("resync", done);
}
void MirrorHost::promote(const core::PromotionRequest& request) {
  const auto begun = machine_->promote(clock(), request);
  if (begun && !promoted_) {
    engine_faults_.on_operator(false);
    promotion_asked_ = true;
    promoted_by_.reset();
    if (request.within) promoted_by_ = world_->now() + *request.within;
  }
  after_operator("promote", begun);
}
void MirrorHost::stop() {
  stopping_ = true;
  world_->happened(event::stopped);
  tell("operator: stop");
  machine_->stop(clock());
  carry_out();
}
void MirrorHost::limit(std::uint64_t bytes_per_s) {
  world_->happened(event::limited);
  after_operator("limit", machine_->set_bandwidth(bytes_per_s, clock()));
}
void MirrorHost::verify() { after_operator("verify", machine_->start_verify(clock())); }

}  // namespace crosslink::sim
