#include "core/mirror_machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/mistakes.hpp"

namespace crosslink::core {
namespace {

constexpr std::uint64_t entry_bytes_least = 1024 * 1024;
constexpr Duration caught_up_hold{30'000'000};

}  // namespace

MirrorMachine::MirrorMachine(MirrorMachineConfig config, MirrorState state, EngineTraits traits,
                             FragmentStore& fragments, Instant)
    : config_(std::move(config)),
      traits_(std::move(traits)),
      fragments_(&fragments),
      mark_{state.position, state.durable, state.inconsistent},
      promoted_from_(std::move(state.promoted_from)),
      assembler_(std::move(state.partial)),
      consistent_lsn_(state.consistent_lsn) {
  config_.entry_bytes_max = std::max(config_.entry_bytes_max, entry_bytes_least);
  config_.in_flight_bytes_max = std::max(config_.in_flight_bytes_max, in_flight_bytes_min);
  if (!mark_.position) {
    want_bootstrap("it has no data yet");
  } else if (assembler_.partial()) {
    want_bootstrap("a snapshot that was on its way goes on");
  }
}

MirrorMachine::~MirrorMachine() = default;

std::vector<MirrorAction> MirrorMachine::take_actions() { return std::exchange(actions_, {}); }

void MirrorMachine::send(StreamToken stream, const SessionMessage& message) {
  actions_.push_back(mirror_action::Send{stream, encode_message(message)});
}

void MirrorMachine::wake(Instant at) { actions_.push_back(mirror_action::Wake{at}); }

void MirrorMachine::back_off(Retry& retry, Instant now) {
  retry.delay = retry.delay == Duration(0) ? config_.retry_base : std::min(2 * retry.delay, config_.retry_cap);
  retry.at = now + retry.delay;
  wake(*retry.at);
}

// --- link ----------------------------------------------------------------------------------------------------------

bool MirrorMachine::wants_link() const {
  if (makes(Mistake::promotion_before_link_teardown) && promoting_) return true;
  return !stopped_ && !promoting_ && !promoted_from_ && !halted_;
}

void MirrorMachine::on_connected(Instant now) {
  link_ = Link::beginning;
  link_reason_ = "the session is beginning";
  hard_retry_.clear();
  last_token_ = control_stream;
  begin_by_ = now + config_.begin_deadline;
  wake(begin_by_);
  SessionBegin begin;
  begin.features = feature_verify | feature_limit;
  begin.sync = config_.sync;
  begin.software = config_.software;
  if (config_.id != MirrorId{}) begin.mirror = {config_.self, config_.id};
  begin.bulk_data_bytes_max = bulk_data_bytes_max;
  begin.entry_bytes_max = config_.entry_bytes_max;
  begin.in_flight_bytes_max = config_.in_flight_bytes_max;
  send(control_stream, begin);
  advance(now);
}

void MirrorMachine::on_dial_failed(const MirrorError& error, Instant now) {
  link_ = Link::down;
  link_reason_ = error.message();
  if (error.kind() != ErrorKind::Cancelled) last_error_ = error;
  if (rule_of(error.kind()).in_reconnect == InReconnect::hard && error.kind() != ErrorKind::Cancelled) {
    // Nothing here can mend it, but somebody elsewhere may: a certificate, a name, a database made later.
    hard_retry_.delay = config_.retry_cap;
    back_off(hard_retry_, now);
  }
  session_over(now);
  advance(now);
}

void MirrorMachine::on_disconnected(const MirrorError& error, Instant now) {
  if (link_ == Link::down) return;
  const bool ours = link_ == Link::closing;
  link_ = Link::down;
  if (!ours) {
    last_error_ = error;
    link_reason_ = error.message();
  }
  session_over(now);
  advance(now);
}

void MirrorMachine::close_link() {
  if (link_ == Link::down || link_ == Link::closing) return;
  link_ = Link::closing;
  actions_.push_back(mirror_action::CloseLink{});
}

void MirrorMachine::session_over(Instant) {
  const bool stepping_back = log_ && log_->step_back_to;
  log_.reset();
  snapshot_.reset();
  if (verify_) break_off_verify("the link was lost", false);
  // What a promotion found completely received still counts; nothing else does. Above a step back that was not made it
  // has nothing to stand on.
  if (!promoting_ || stepping_back) pending_.clear();
  chunks_.clear();
  leases_.clear();
  check_wanted_ = false;
  fragments_->drop();
  assembler_.on_stream_end();
  lag_.on_session_end();
  bulk_allowed_ = true;
  probed_at_.reset();
  notice_ = {};
  caught_up_since_.reset();
  held_bytes_ = count_held();
}

void MirrorMachine::halt(const MirrorError& error, Instant) {
  last_error_ = error;
  halted_ = fmt::format("{}: {}", to_string(error.kind()), error.message());
  pending_.clear();
  close_link();
}

void MirrorMachine::want_bootstrap(std::string reason) {
  bootstrap_wanted_ = true;
  bootstrap_reason_ = std::move(reason);
  drop_log_stream();
}

void MirrorMachine::advance_link(Instant now) {
  if ((link_ == Link::up || link_ == Link::beginning || link_ == Link::dialing) && !wants_link()) return close_link();
  if (link_ == Link::beginning && now >= begin_by_) {
    last_error_ = MirrorError::timeout("the source's SessionBegin did not come in time");
    link_reason_ = last_error_->message();
    return close_link();
  }
  if (link_ != Link::down || !wants_link()) return;
  const bool settled = !engine_ && pending_.empty() && chunks_.empty();
  if (!settled && !makes(Mistake::reset_not_awaited)) return;
  if (!hard_retry_.due(now)) return wake(*hard_retry_.at);
  hard_retry_.at.reset();
  link_ = Link::dialing;
  actions_.push_back(
      mirror_action::Dial{std::exchange(dialed_before_, true), mark_.position ? mark_.position->applied_lsn : Lsn{}});
}

// --- streams -------------------------------------------------------------------------------------------------------

void MirrorMachine::advance_streams(Instant now) {
  if (link_ != Link::up || reread_wanted_) return;
  if (limit_changed_ && (features_ & feature_limit) != 0) send(control_stream, Limit{bandwidth_, paused_});
  limit_changed_ = false;
  if (paused_) {
    if ((features_ & feature_limit) == 0) drop_log_stream();
    return;
  }
  if (log_ || snapshot_ || !pending_.empty() || !chunks_.empty()) return;
  if (engine_ && !makes(Mistake::reset_not_awaited)) return;
  if (!bootstrap_wanted_) {
    if (!log_retry_.due(now)) return wake(*log_retry_.at);
    log_ = LogStream{};
    log_->token = ++last_token_;
    log_->requested_from_switch = just_switched_;
    LogRequest request{*mark_.position, {}};
    if (config_.zstd) request.codecs.emplace_back(codec_zstd);
    return send(log_->token, request);
  }
  if (begin_snapshot_wanted_ || drop_snapshot_wanted_ || check_wanted_ || switch_wanted_) return;
  if (!snapshot_retry_.due(now)) return wake(*snapshot_retry_.at);
  snapshot_ = SnapshotStream{};
  snapshot_->token = ++last_token_;
  snapshot_->acked_offset = assembler_.stored_bytes();
  send(snapshot_->token, assembler_.request(traits_.formats));
}

void MirrorMachine::drop_log_stream() {
  forget_pending();
  fragments_->drop();
  if (!log_) return;
  if (link_ == Link::up) actions_.push_back(mirror_action::DropStream{log_->token});
  log_.reset();
  if (verify_) break_off_verify("the log stream ended", true);
}

void MirrorMachine::forget_pending() {
  pending_.clear();
  leases_.clear();
  set_held(count_held());
}

void MirrorMachine::forget_chunks() {
  chunks_.clear();
  set_held(count_held());
}

std::uint64_t MirrorMachine::count_held() {
  fragment_bytes_ = 0;
  for (const auto& batch : pending_)
    fragment_bytes_ += batch.fragment_bytes;
  for (const auto& batch : applying_)
    fragment_bytes_ += batch.fragment_bytes;
  auto held = storing_units_;
  for (const auto& batch : pending_)
    held += batch.units;
  for (const auto& batch : applying_)
    held += batch.units;
  for (const auto& chunk : chunks_)
    held += chunk.bytes.size();
  return held;
}

void MirrorMachine::drop_snapshot_stream() {
  if (!snapshot_) return;
  if (link_ == Link::up) actions_.push_back(mirror_action::DropStream{snapshot_->token});
  snapshot_.reset();
}

void MirrorMachine::set_held(std::uint64_t bytes) {
  held_bytes_ = bytes;
  // As at the source: stop at the cap, go on at three quarters of it.
  const auto items = pending_.size() + applying_.size() + chunks_.size();
  const auto memory_bytes = held_bytes_ + fragment_bytes_ + items * item_bytes;
  if (bulk_allowed_ && link_ == Link::up && memory_bytes >= cap_bytes_) {
    bulk_allowed_ = false;
    actions_.push_back(mirror_action::ReadBulk{false});
  } else if (!bulk_allowed_ && memory_bytes <= cap_bytes_ / 4 * 3) {
    bulk_allowed_ = true;
    actions_.push_back(mirror_action::ReadBulk{true});
  }
}

Duration MirrorMachine::probe_interval() const {
  auto smallest = lag_threshold(sync(), round_trip_);
  if (config_.max_lag) smallest = std::min(smallest, *config_.max_lag);
  return std::clamp<Duration>(smallest / 4, std::chrono::milliseconds(5), std::chrono::milliseconds(200));
}

void MirrorMachine::probe(Instant now) {
  if (link_ != Link::up) return;
  const auto due = probed_at_ ? *probed_at_ + probe_interval() : now;
  if (now >= due) {
    probed_at_ = now;
    if (!lag_.full()) send(control_stream, lag_.probe(now));
  }
  wake(*probed_at_ + probe_interval());
  const auto lag = lag_.lag(now);
  const bool caught_up = lag && *lag <= lag_threshold(sync(), round_trip_);
  if (!caught_up) {
    caught_up_since_.reset();
  } else if (!caught_up_since_) {
    caught_up_since_ = now;
  } else if (now - *caught_up_since_ >= caught_up_hold) {
    caught_up_since_ = now;
    actions_.push_back(mirror_action::Progress{});
  }
}

void MirrorMachine::acknowledge_log(Instant now) {
  if (!log_ || !log_->order || log_->step_back_to || !mark_.position) return;
  const auto applied = mark_.position->applied_lsn;
  const auto durable = std::min(mark_.durable, applied);
  const bool first = log_->acked_at == Instant(0);
  if (!first && applied == log_->acked_applied && durable == log_->acked_durable &&
      log_->released_bytes == log_->acked_released_bytes) {
    return;
  }
  const bool nothing_left = pending_.empty() && !engine_;
  const bool much = log_->released_bytes - log_->acked_released_bytes >= config_.ack_bytes_max;
  if (!first && !nothing_left && !much && now - log_->acked_at < config_.ack_every) {
    return wake(log_->acked_at + config_.ack_every);
  }
  log_->acked_applied = applied;
  log_->acked_durable = durable;
  log_->acked_released_bytes = log_->released_bytes;
  log_->acked_at = std::max(now, Instant(1));
  send(log_->token, LogAck{applied, durable, log_->released_bytes});
}

void MirrorMachine::acknowledge_snapshot(Instant now) {
  if (!snapshot_ || !snapshot_->begun || begin_snapshot_wanted_) return;
  const auto stored = assembler_.stored_bytes();
  if (stored <= snapshot_->acked_offset) return;
  const bool much = stored - snapshot_->acked_offset >= config_.ack_bytes_max;
  if (!chunks_.empty() && !much && now - snapshot_->acked_at < config_.ack_every) {
    return wake(snapshot_->acked_at + config_.ack_every);
  }
  snapshot_->acked_offset = stored;
  snapshot_->acked_at = now;
  send(snapshot_->token, SnapshotAck{stored});
}

void MirrorMachine::advance(Instant now) {
  advance_engine(now);
  if (promoting_ && !promoted_from_) advance_promotion(now);
  advance_verify(now);
  advance_link(now);
  advance_streams(now);
  if (link_ == Link::up) {
    acknowledge_log(now);
    acknowledge_snapshot(now);
  }
  probe(now);
}

void MirrorMachine::on_time(Instant now) { advance(now); }

// --- the operator --------------------------------------------------------------------------------------------------

Result<void> MirrorMachine::refuse_if_promoted() const {
  if (promoted_from_)
    return MirrorError(ErrorKind::MirrorPromoted, CausedBy::us, "it was promoted: it follows nobody any more");
  if (!promoting_) return {};
  return MirrorError(ErrorKind::Busy, CausedBy::us,
                     giving_up_ ? "its promotion is given up unless the step under way succeeds: try again"
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
  halted_.reset();
  engine_refused_ = false;
  log_retry_.clear();
  snapshot_retry_.clear();
  hard_retry_.clear();
  storage_retry_.clear();
  advance(now);
  return {};
}

Result<void> MirrorMachine::resync(Instant now) {
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  halted_.reset();
  engine_refused_ = false;
  snapshot_retry_.clear();
  drop_snapshot_stream();
  forget_chunks();
  check_wanted_ = switch_wanted_ = begin_snapshot_wanted_ = false;
  assembler_.on_stream_end();
  drop_snapshot_wanted_ = true;
  want_bootstrap("an operator asked for it");
  advance(now);
  return {};
}

std::string MirrorMachine::why_inconsistent() const {
  if (promoted_from_) return {};
  if (!mark_.position) return mark_.inconsistent ? "a bootstrap is being written over the data" : "";
  if (mark_.position->applied_lsn < consistent_lsn_) {
    return fmt::format("the data is consistent from LSN {} on, it is at {}", consistent_lsn_.value,
                       mark_.position->applied_lsn.value);
  }
  if (bootstrap_wanted_ && !traits_.atomic_switch)
    return "a bootstrap is under way and this engine has no data beside it";
  return {};
}

Result<void> MirrorMachine::promote(Instant now, const PromotionWish& wish) {
  if (promoted_from_) return {};
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  given_up_.reset();
  given_up_for_age_ = false;
  if (stopped_) return MirrorError::cancelled("the promotion: the mirror was stopped");
  if (!mark_.position && !mark_.inconsistent)
    return MirrorError::configuration("there is nothing to promote: the first bootstrap is not complete");
  if (const auto why = why_inconsistent(); !why.empty() && !wish.accept_inconsistent)
    return MirrorError::configuration(why);
  promoting_ = true;
  promotion_ = wish;
  ++promotions_;
  halted_.reset();  // this is what its operator chose; what stops the promotion itself halts it again
  engine_refused_ = false;
  if (wish.within) promote_by_ = now + *wish.within;
  advance(now);
  return {};
}

void MirrorMachine::give_up_promotion(MirrorError why, Instant now) {
  if (!promoting_) return;
  if (engine_ == Call::promote) {
    giving_up_ = std::move(why);
    return;
  }
  promoting_ = false;
  giving_up_.reset();
  given_up_ = std::move(why);
  // Where the engine stands is its to say: a call that failed may have changed something, and may be its last error.
  if (storage_error_) reread_wanted_ = true;
  advance(now);
}

/// The age is judged each time before the data is opened for writes, not when that was asked for.
void MirrorMachine::advance_promotion(Instant now) {
  if (promotion_.within && now >= promote_by_) {
    const auto waited = std::chrono::ceil<std::chrono::seconds>(*promotion_.within).count();
    const auto why = storage_error_ ? storage_error_->message() : std::string("what came before is not done yet");
    return give_up_promotion(MirrorError::timeout(fmt::format("not promoted within {} s: {}", waited, why)), now);
  }
  if (promotion_.within) wake(promote_by_);
  const bool may_promote = link_ == Link::down || makes(Mistake::promotion_before_link_teardown);
  if (engine_ || !may_promote || !pending_.empty() || !storage_retry_.due(now)) return;
  if (promotion_.age_max) {
    const auto age = lag_.lag(now);
    if (!age || *age > *promotion_.age_max) {
      given_up_for_age_ = true;
      const auto is = age ? fmt::format("the lag is {} ms", std::chrono::ceil<std::chrono::milliseconds>(*age).count())
                          : std::string("the lag is not known");
      const auto most = std::chrono::floor<std::chrono::milliseconds>(*promotion_.age_max).count();
      return give_up_promotion(MirrorError::configuration(fmt::format("{}, over the {} ms asked for", is, most)), now);
    }
  }
  call(Call::promote, mirror_action::Promote{});
}

Result<void> MirrorMachine::set_bandwidth(std::uint64_t bytes_per_s, Instant now) {
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  bandwidth_ = bytes_per_s;
  limit_changed_ = true;
  advance(now);
  return {};
}

void MirrorMachine::stop(Instant now) {
  stopped_ = true;
  advance(now);
}

MirrorStatus MirrorMachine::status(Instant now) {
  StatusFacts facts;
  facts.promoted = promoted_from_.has_value();
  facts.halted = halted_;
  facts.paused = paused_;
  facts.session = link_ == Link::up;
  facts.link_reason = link_reason_;
  if (control_at_) facts.control_age = now - *control_at_;
  facts.bootstrapping = bootstrap_wanted_;
  facts.bytes_done = assembler_.stored_bytes();
  facts.bytes_total = assembler_.total_bytes();
  facts.bootstrap_reason = bootstrap_reason_;
  if (storage_error_) facts.storage_error = storage_error_->message();
  facts.snapshot_queue = notice_.snapshot_queue;
  if (notice_.window_left_ms) facts.window_left = std::chrono::milliseconds(*notice_.window_left_ms);
  facts.unverified = unverified_;
  facts.lag = lag_.lag(now);
  facts.upstream = upstream_;
  facts.threshold = lag_threshold(sync(), round_trip_);
  facts.control_silence_max = config_.control_silence_max;
  return status_judge_.judge(facts, now);
}

std::optional<VerifyResult> MirrorMachine::take_verify_result() { return std::exchange(verify_result_, std::nullopt); }

}  // namespace crosslink::core
