// MirrorMachine: answers of the engine.
#include <utility>

#include "session/mirror/mirror_machine.hpp"
#include "session/mistakes.hpp"

namespace crosslink::core {

using mirror::EngineCall;
namespace call = mirror::call;

void MirrorMachine::on_engine(Result<EngineAnswer> answer, Instant now) {
  const auto which = engine_.take();
  if (answer) {
    on_answered(which, *answer, now);
  } else {
    on_failed(which, answer.error(), now);
  }
  advance(now);
}

void MirrorMachine::on_answered(const EngineCall& which, const EngineAnswer& answer, Instant now) {
  const auto durable_before = engine_.durable();
  const bool fell = engine_.on_answer(answer.mark);
  const bool writes = std::holds_alternative<call::Sync>(which) || std::holds_alternative<call::Apply>(which);
  // Its disk took what it had not confirmed: what was received stands on a position that is gone.
  if (fell && writes) reread_engine();
  std::visit(Visitor{[&](call::Apply) { on_applied(now); },
                     [&](call::StepBack) {
                       log_.on_stepped_back();
                       probe_.forget();
                     },
                     [&](call::Sync) { on_position_read(now); }, [&](call::BeginSnapshot) { bootstrap_.on_begun(); },
                     [&](call::StoreChunk) { bootstrap_.on_stored(); },
                     [&](call::CheckSnapshot) {
                       if (const auto error = bootstrap_.on_checked(*answer.check, link_.up(), now)) halt(*error);
                     },
                     [&](call::SwitchSnapshot) {
                       bootstrap_.on_switched(link_.up());
                       diverged_from_source_.reset();
                       unverified_ = false;
                       log_.forget_pending();
                       probe_.forget();
                     },
                     [&](call::DropSnapshot) { bootstrap_.on_dropped(); },
                     [&](call::Promote) { on_promoted(*answer.promoted_from, now); },
                     [&](call::OpenView) { verify_.on_view(); }},
             which);
  if (engine_.durable() > durable_before) out_.push(mirror_action::Progress{});
}

void MirrorMachine::on_applied(Instant now) {
  if (makes(Mistake::position_outside_group)) engine_.set_position(log_.applying_to());
  log_.on_applied();
  probe_.on_applied(engine_.applied(), now);
}

void MirrorMachine::on_position_read(Instant now) {
  if (engine_.on_reread() && !engine_.position()) {
    bootstrap_.want("it has no data yet");
    drop_log();
  }
  if (promotion_.active() && !engine_.position() && !engine_.inconsistent())
    give_up_promotion(MirrorError::configuration("there is nothing to promote: what keeps the data has none now"), now);
  // A promotion that was given up had come about all the same, which could not be known then.
  if (engine_.promoted_from() && !promoted_from_) on_promoted(*engine_.promoted_from(), now);
}

void MirrorMachine::on_promoted(const PromotedFrom& from, Instant now) {
  promoted_from_ = from;
  promotion_.on_promoted(probe_.lag(now));
  bootstrap_.on_promoted();
}

void MirrorMachine::on_failed(const EngineCall& which, const MirrorError& error, Instant now) {
  // An operator wants the snapshot dropped meanwhile: what is wrong with it does not matter.
  const bool to_be_dropped = bootstrap_.phase() == mirror::BootstrapPhase::dropping;
  // Does the failure concern the engine as a whole? What was on its way waits again.
  const bool concerns_engine =
      std::visit(Visitor{[&](call::Apply) {
                           log_.on_apply_failed(link_.up() || promotion_.active());
                           return true;
                         },
                         [&](call::StoreChunk) {
                           bootstrap_.on_store_failed(link_.up(), now);
                           return true;
                         },
                         [&](call::CheckSnapshot) { return !to_be_dropped; },
                         [&](call::SwitchSnapshot) {
                           bootstrap_.on_switch_failed();
                           return !to_be_dropped;
                         },
                         [&](call::OpenView) {
                           verify_.on_view_failed(error, link_.up());
                           return false;
                         },
                         [](call::StepBack) { return true; }, [](call::Sync) { return true; },
                         [](call::BeginSnapshot) { return true; }, [](call::DropSnapshot) { return true; },
                         [](call::Promote) { return true; }},
                 which);
  // Another process owns the mirror, or promoted it: the engine is asked what it is now.
  const bool moved = error.kind() == ErrorKind::Busy || error.kind() == ErrorKind::MirrorPromoted;
  const bool passes = error.kind() == ErrorKind::Storage || moved;
  if (std::holds_alternative<call::OpenView>(which)) return;
  if (passes) {
    on_storage_error(error, now);
    if (moved) reread_engine();
    if (error.kind() == ErrorKind::MirrorPromoted) give_up_promotion(error, now);
    if (promotion_.giving_up()) give_up_promotion(MirrorError(*promotion_.giving_up()), now);
  } else if (concerns_engine) {
    promotion_.end();
    if (!makes(Mistake::final_failure_tried_again)) engine_.refuse();
    if (!makes(Mistake::final_failure_swallowed)) halt(error);
  }
}

void MirrorMachine::on_storage_error(const MirrorError& error, Instant now) {
  engine_.on_storage_error(error, now);
  link_.note(error);
}

/// Another process owns the mirror, or did: what was received stands on a position that may not be true any more.
void MirrorMachine::reread_engine() {
  engine_.reread();
  drop_log();
  probe_.forget();
}

void MirrorMachine::on_position_moved(Instant now) {
  if (promoted_from_ || stopped_) return;
  reread_engine();
  advance(now);
}

// --- answers about the view of a verify ----------------------------------------------------------------------------

void MirrorMachine::on_digest(Question question, Result<RangeDigest::Answer> answer, Instant now) {
  verify_.on_digest(question, std::move(answer), link_.up());
  advance(now);
}

void MirrorMachine::on_keys(Question question, Result<Keys::Answer> answer, Instant now) {
  verify_.on_keys(question, std::move(answer), link_.up());
  advance(now);
}

}  // namespace crosslink::core
