#include "session/mirror/mirror_machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "session/mistakes.hpp"

namespace crosslink::core {
namespace {

constexpr std::uint64_t entry_bytes_least = 1024 * 1024;

MirrorMachineConfig within_bounds(MirrorMachineConfig config) {
  config.entry_bytes_max = std::max(config.entry_bytes_max, entry_bytes_least);
  config.in_flight_bytes_max = std::max(config.in_flight_bytes_max, in_flight_bytes_min);
  return config;
}

mirror::Retry retry_of(const MirrorMachineConfig& config) { return {config.retry_base, config.retry_cap}; }

mirror::LogFollowOptions log_options_of(const MirrorMachineConfig& config) {
  return {config.entry_bytes_max, config.group_bytes_max, config.zstd, config.ack_every, config.ack_bytes_max};
}

}  // namespace

MirrorMachine::MirrorMachine(MirrorMachineConfig config, MirrorState state, EngineTraits traits,
                             FragmentStore& fragments, Throttle& throttle, Instant)
    : config_(within_bounds(std::move(config))),
      traits_(std::move(traits)),
      link_(out_, config_.begin_deadline, retry_of(config_)),
      probe_(out_),
      engine_(out_, {state.position, state.durable, state.inconsistent}, retry_of(config_), config_.sync_every),
      log_(log_options_of(config_), fragments, out_, retry_of(config_)),
      bootstrap_(out_, retry_of(config_), std::move(state.partial), state.consistent_lsn),
      verify_(out_, config_.verify_deadline),
      flow_(out_, throttle),
      promoted_from_(std::move(state.promoted_from)) {
  if (!engine_.position()) {
    bootstrap_.want("it has no data yet");
  } else if (bootstrap_.has_partial()) {
    bootstrap_.want("a snapshot that was on its way goes on");
  }
}

MirrorMachine::~MirrorMachine() = default;

// --- the link ------------------------------------------------------------------------------------------------------

bool MirrorMachine::wants_link() const {
  if (makes(Mistake::promotion_before_link_teardown) && promotion_.active()) return true;
  return !stopped_ && !promotion_.active() && !promoted_from_ && !halted_;
}

void MirrorMachine::on_connected(Instant now) {
  link_.on_connected(now);
  last_token_ = control_stream;
  SessionBegin begin;
  begin.features = feature_verify | feature_limit;
  begin.sync = config_.sync;
  begin.software = config_.software;
  if (config_.id != MirrorId{}) begin.mirror = {config_.self, config_.id};
  begin.bulk_data_bytes_max = bulk_data_bytes_max;
  begin.entry_bytes_max = config_.entry_bytes_max;
  begin.in_flight_bytes_max = config_.in_flight_bytes_max;
  out_.send(control_stream, begin);
  advance(now);
}

void MirrorMachine::on_dial_failed(const MirrorError& error, Instant now) {
  link_.on_dial_failed(error, now);
  session_over();
  advance(now);
}

void MirrorMachine::on_disconnected(const MirrorError& error, Instant now) {
  if (!link_.on_disconnected(error)) return;
  session_over();
  advance(now);
}

void MirrorMachine::session_over() {
  verify_.break_off("the link was lost", false, link_.up());
  // What a promotion found completely received still counts; nothing else does. Above a step back that was not made it
  // has nothing to stand on.
  log_.on_session_end(promotion_.active() && !log_.step_back_to());
  bootstrap_.on_session_end();
  probe_.on_session_end();
  source_.on_session_end();
  flow_.on_session_end();
}

void MirrorMachine::halt(const MirrorError& error) {
  link_.note(error);
  note_diverged(error);
  halted_ = fmt::format("{}: {}", to_string(error.kind()), error.message());
  log_.forget_pending();
  link_.close();
}

void MirrorMachine::note_diverged(const MirrorError& error) {
  const auto kind = error.kind();
  if (kind == ErrorKind::OriginChanged || kind == ErrorKind::HistoriesParted || kind == ErrorKind::SourceBehind)
    diverged_from_source_ = error.message();
}

Duration MirrorMachine::threshold() const {
  const auto& source = source_.source();
  return lag_threshold(sync(), probe_.round_trip(), source ? source->chain.size() : 0);
}

// --- what comes next -----------------------------------------------------------------------------------------------

void MirrorMachine::advance(Instant now) {
  advance_engine(now);
  if (promotion_.active() && !promoted_from_) advance_promotion(now);
  if (verify_.running()) {
    verify_.advance(engine_.applied(), engine_.busy(), link_.up(), now);
    advance_engine(now);  // what the verify held back, or asks for
  }
  if (verify_.take_equal()) unverified_ = false;
  const bool settled = !engine_.busy() && !log_.waiting() && !bootstrap_.waiting();
  link_.advance(wants_link(), settled || makes(Mistake::reset_not_awaited), engine_.applied(), now);
  advance_streams(now);
  if (link_.up()) {
    if (engine_.position()) log_.acknowledge(*engine_.position(), engine_.durable(), engine_.busy(), now);
    bootstrap_.acknowledge(config_.ack_every, config_.ack_bytes_max, now);
    probe_.advance(control_stream, threshold(), config_.max_lag, now);
  }
  flow_.advance(held(), link_.up());
}

void MirrorMachine::on_time(Instant now) { advance(now); }

void MirrorMachine::advance_engine(Instant now) {
  namespace call = mirror::call;
  if (engine_.busy()) return;
  if (!engine_.refused()) {
    if (!engine_.may_call(now)) return;
    if (engine_.unknown()) return engine_.start({call::Sync{}, mirror_action::Sync{}});
    if (const auto back = log_.step_back_to()) return engine_.start({call::StepBack{}, mirror_action::StepBack{*back}});
    if (engine_.wants_sync(sync(), now)) return engine_.start({call::Sync{}, mirror_action::Sync{}});
    if (engine_.position() && source_.source() && log_.waiting()) {
      const auto limit = promotion_.active() ? std::nullopt : verify_.apply_limit(engine_.applied());
      auto group = log_.next_group(*engine_.position(), limit, source_.source()->history);
      if (group) return engine_.start({call::Apply{}, *std::move(group)});
    }
  }
  if (verify_.wants_view()) {
    verify_.view_asked();
    return engine_.start({call::OpenView{}, mirror_action::OpenView{}});
  }
  if (engine_.refused() || promotion_.active() || promoted_from_) return;
  if (auto next = bootstrap_.next_call(halted_.has_value())) engine_.start(*std::move(next));
}

void MirrorMachine::advance_streams(Instant now) {
  if (!link_.up() || engine_.unknown()) return;
  if (limit_changed_ && source_.can_limit()) out_.send(control_stream, Limit{bandwidth_, paused_});
  limit_changed_ = false;
  if (paused_) {
    if (!source_.can_limit()) drop_log();
    return;
  }
  if (log_.asked() || bootstrap_.asked() || log_.waiting() || bootstrap_.waiting()) return;
  if (engine_.busy() && !makes(Mistake::reset_not_awaited)) return;
  if (bootstrap_.under_way()) {
    if (bootstrap_.may_ask(now)) bootstrap_.ask(next_token(), traits_.formats);
  } else if (log_.may_ask(now)) {
    log_.ask(next_token(), *engine_.position(), bootstrap_.phase() == mirror::BootstrapPhase::switched);
  }
}

void MirrorMachine::advance_promotion(Instant now) {
  if (auto why = promotion_.overdue(engine_.storage_error(), now, out_)) return give_up_promotion(*why, now);
  const bool may_promote = link_.down() || makes(Mistake::promotion_before_link_teardown);
  if (!may_promote || log_.waiting() || engine_.is<mirror::call::Apply>() || engine_.is<mirror::call::Promote>())
    return;
  // All that was received is applied: the data only grows older while the engine is asked where it stands.
  if (auto why = promotion_.too_old(probe_.lag(now))) return give_up_promotion(*why, now);
  if (engine_.busy() || !engine_.may_call(now)) return;
  engine_.start({mirror::call::Promote{}, mirror_action::Promote{}});
}

// --- commands of the operator --------------------------------------------------------------------------------------

Result<void> MirrorMachine::refuse_if_promoted() const {
  if (promoted_from_)
    return MirrorError(ErrorKind::MirrorPromoted, CausedBy::us, "it was promoted: it follows no source any more");
  if (!promotion_.active()) return {};
  return MirrorError(ErrorKind::Busy, CausedBy::us,
                     promotion_.giving_up() ? "its promotion is given up unless the step under way succeeds: try again"
                                            : "it is being promoted: pause or resume end that");
}

Result<void> MirrorMachine::pause(Instant now) {
  give_up_promotion(MirrorError::cancelled("the promotion, by pause"), now);
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  limit_changed_ = limit_changed_ || !paused_;
  paused_ = true;
  advance(now);
  return {};
}

Result<void> MirrorMachine::resume(Instant now) {
  give_up_promotion(MirrorError::cancelled("the promotion, by resume"), now);
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  limit_changed_ = limit_changed_ || paused_;
  paused_ = false;
  if (halted_) bootstrap_.ask_anew(link_.up());
  halted_.reset();
  engine_.accept_again();
  log_.retry().clear();
  bootstrap_.retry().clear();
  link_.retry_at_once();
  engine_.retry_at_once();
  advance(now);
  return {};
}

Result<void> MirrorMachine::resync(Instant now) {
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  halted_.reset();
  engine_.accept_again();
  bootstrap_.resync(link_.up());
  drop_log();
  advance(now);
  return {};
}

std::string MirrorMachine::why_inconsistent() const {
  if (promoted_from_) return {};
  if (!engine_.position()) return engine_.inconsistent() ? "a bootstrap is being written over the data" : "";
  if (engine_.applied() < bootstrap_.consistent_lsn()) {
    return fmt::format("the data is consistent from LSN {} on, it is at {}", bootstrap_.consistent_lsn().value,
                       engine_.applied().value);
  }
  if (bootstrap_.under_way() && !traits_.atomic_switch)
    return "a bootstrap is under way and this engine has no data beside it";
  return {};
}

Result<void> MirrorMachine::promote(Instant now, const PromotionRequest& request) {
  if (promoted_from_) return {};
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  promotion_.forget_outcome();
  if (stopped_) return MirrorError::cancelled("the promotion: the mirror was stopped");
  if (!engine_.position() && !engine_.inconsistent())
    return MirrorError::configuration("there is nothing to promote: the first bootstrap is not complete");
  if (const auto why = why_inconsistent(); !why.empty() && !request.accept_inconsistent)
    return MirrorError::configuration(why);
  promotion_.begin(request, now);
  halted_.reset();  // this is what its operator chose; what stops the promotion itself halts it again
  engine_.accept_again();
  advance(now);
  return {};
}

void MirrorMachine::give_up_promotion(MirrorError why, Instant now) {
  if (!promotion_.give_up(std::move(why), engine_.is<mirror::call::Promote>())) return;
  // Where the engine stands is its to say: a call that failed may have changed something, and may be its last error.
  if (engine_.storage_error()) engine_.reread();
  advance(now);
}

Result<void> MirrorMachine::set_bandwidth(std::uint64_t bytes_per_s, Instant now) {
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  bandwidth_ = bytes_per_s;
  limit_changed_ = true;
  advance(now);
  return {};
}

Result<void> MirrorMachine::start_verify(Instant now) {
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  if (verify_.running()) return MirrorError(ErrorKind::Busy, CausedBy::us, "a verify is running already");
  if (!link_.up() || !log_.begun() || paused_) {
    return MirrorError(ErrorKind::NotConnected, CausedBy::us,
                       "it is not following its source now: there is nothing to compare with");
  }
  if (!source_.can_verify()) return MirrorError::configuration("the source cannot verify");
  verify_.start(next_token(), now);
  advance(now);
  return {};
}

void MirrorMachine::stop(Instant now) {
  stopped_ = true;
  advance(now);
}

MirrorStatus MirrorMachine::status(Instant now) {
  StatusFacts facts;
  facts.promoted = promoted();
  facts.halted = halted_;
  facts.paused = paused_;
  facts.session = link_.up();
  facts.link_reason = promotion_.active() ? "it is being promoted, and follows its source no more" : link_.reason();
  if (probe_.heard_at()) facts.control_age = now - *probe_.heard_at();
  facts.bootstrapping = bootstrap_.under_way();
  facts.bytes_done = bootstrap_.stored_bytes();
  facts.bytes_total = bootstrap_.total_bytes();
  facts.bootstrap_reason = bootstrap_.reason();
  if (engine_.storage_error()) facts.storage_error = engine_.storage_error()->message();
  facts.snapshot_queue = source_.notice().snapshot_queue;
  if (const auto left = source_.notice().window_left_ms) facts.window_left = std::chrono::milliseconds(*left);
  facts.unverified = unverified_;
  facts.lag = probe_.lag(now);
  facts.upstream = source_.upstream();
  facts.threshold = threshold();
  facts.control_silence_max = config_.control_silence_max;
  return status_judge_.judge(facts, now);
}

}  // namespace crosslink::core
