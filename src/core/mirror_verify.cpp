// MirrorMachine: proof that both sides are equal at one LSN. docs/protocol.md, "Verify".
#include <fmt/format.h>

#include <utility>

#include "core/mirror_machine.hpp"

namespace crosslink::core {

Result<void> MirrorMachine::start_verify(Instant now) {
  if (auto refused = refuse_if_promoted(); !refused) return refused;
  if (verify_) return MirrorError(ErrorKind::Busy, CausedBy::us, "a verify is running already");
  if (link_ != Link::up || !log_ || !log_->order || paused_) {
    return MirrorError(ErrorKind::NotConnected, CausedBy::us,
                       "it is not following its source now: there is nothing to compare with");
  }
  if ((features_ & feature_verify) == 0) return MirrorError::configuration("the source cannot verify");
  verify_result_.reset();
  verify_ = VerifyRun{};
  verify_->token = ++last_token_;
  verify_->deadline = now + config_.verify_deadline;
  wake(verify_->deadline);
  advance(now);
  return {};
}

std::optional<Lsn> MirrorMachine::apply_limit() const {
  if (!verify_ || promoting_) return std::nullopt;
  switch (verify_->phase) {
    case VerifyRun::Phase::drain:
    case VerifyRun::Phase::ask: return mark_.position->applied_lsn;
    case VerifyRun::Phase::reach: return verify_->at;
    case VerifyRun::Phase::compare: return std::nullopt;
  }
  return std::nullopt;
}

void MirrorMachine::advance_verify(Instant now) {
  if (!verify_) return;
  if (now >= verify_->deadline) {
    const char* const why = verify_->phase == VerifyRun::Phase::compare
                                ? "an answer did not come in time"
                                : "both sides did not come to the same LSN in time";
    return break_off_verify(why, true);
  }
  if (engine_) return;
  if (verify_->phase == VerifyRun::Phase::drain) {
    verify_->phase = VerifyRun::Phase::ask;
    send(verify_->token, VerifyBegin{mark_.position->applied_lsn});
  }
  if (verify_->phase != VerifyRun::Phase::reach || mark_.position->applied_lsn < *verify_->at) return;
  if (!verify_->view_open) {
    verify_->view_wanted = true;
    return advance_engine(now);
  }
  verify_->phase = VerifyRun::Phase::compare;
  send(verify_->token, VerifyAt{*verify_->at});
  wait_for_answers(now);
  compare_next();
  advance_engine(now);
}

/// Either side may have to read all of a large database for one answer.
void MirrorMachine::wait_for_answers(Instant now) {
  constexpr int times = 20;
  verify_->deadline = now + times * config_.verify_deadline;
  wake(verify_->deadline);
}

void MirrorMachine::compare_next() {
  const auto step = verify_->compare.next();
  if (std::holds_alternative<VerifyCompare::Done>(step)) return end_verify(verify_->compare.result(*verify_->at), true);
  verify_->question = ++last_token_;
  if (const auto* digest = std::get_if<VerifyCompare::AskDigest>(&step)) {
    send(verify_->token, RangeDigest{digest->range, {}});
    actions_.push_back(mirror_action::DigestRange{verify_->question, digest->range});
  } else {
    const auto& range = std::get<VerifyCompare::AskKeys>(step).range;
    send(verify_->token, Keys{range, {}});
    actions_.push_back(mirror_action::ListKeys{verify_->question, range});
  }
}

void MirrorMachine::compare_answers() {
  auto& run = *verify_;
  if (run.source_digest && run.mirror_digest) {
    run.compare.on_digests(*run.source_digest, *run.mirror_digest);
    run.source_digest.reset();
    run.mirror_digest.reset();
    compare_next();
  } else if (run.source_keys && run.mirror_keys) {
    run.compare.on_keys(*run.source_keys, *run.mirror_keys);
    run.source_keys.reset();
    run.mirror_keys.reset();
    compare_next();
  }
}

void MirrorMachine::on_verify_frame(const SessionMessage& message, Instant now) {
  if (const auto* at = std::get_if<VerifyAt>(&message); at != nullptr && verify_->phase == VerifyRun::Phase::ask) {
    if (at->lsn < mark_.position->applied_lsn) {
      return violation(verify_->token, MirrorError::protocol_violation("a verify is to be made in the past"), now);
    }
    verify_->at = at->lsn;
    verify_->phase = VerifyRun::Phase::reach;
    return;
  }
  if (const auto* end = std::get_if<VerifyEnd>(&message)) {
    return break_off_verify(fmt::format("the source: {}", printable(end->detail)), false);
  }
  const auto* digest = std::get_if<RangeDigest>(&message);
  const auto* keys = std::get_if<Keys>(&message);
  if (verify_->phase == VerifyRun::Phase::compare && digest != nullptr && digest->answer && !verify_->source_digest) {
    verify_->source_digest = digest->answer;
  } else if (verify_->phase == VerifyRun::Phase::compare && keys != nullptr && keys->answer && !verify_->source_keys) {
    verify_->source_keys = keys->answer;
  } else {
    return violation(
        verify_->token,
        MirrorError::protocol_violation(fmt::format("a {} frame is not allowed here", kind_name(kind_of(message)))),
        now);
  }
  wait_for_answers(now);
  compare_answers();
}

void MirrorMachine::on_digest(Question question, Result<RangeDigest::Answer> answer, Instant now) {
  if (!verify_ || verify_->question != question) return;
  if (!answer) {
    break_off_verify(answer.error().message(), true);
  } else {
    verify_->mirror_digest = *std::move(answer);
    compare_answers();
  }
  advance(now);
}

void MirrorMachine::on_keys(Question question, Result<Keys::Answer> answer, Instant now) {
  if (!verify_ || verify_->question != question) return;
  if (!answer) {
    break_off_verify(answer.error().message(), true);
  } else {
    verify_->mirror_keys = *std::move(answer);
    compare_answers();
  }
  advance(now);
}

/// What differs already differs, whatever was not compared.
void MirrorMachine::break_off_verify(std::string reason, bool tell_source) {
  end_verify(verify_->compare.result(verify_->at.value_or(Lsn{}), std::move(reason)), tell_source);
}

void MirrorMachine::end_verify(VerifyResult result, bool tell_source) {
  const bool opened = verify_->phase != VerifyRun::Phase::drain;
  if (tell_source && opened && link_ == Link::up) {
    const auto outcome = static_cast<VerifyOutcome>(result.outcome);
    send(verify_->token, VerifyEnd{outcome, result.reason});
    actions_.push_back(mirror_action::DropStream{verify_->token});
  }
  if (verify_->view_open) actions_.push_back(mirror_action::CloseView{});
  verify_.reset();
  if (result.outcome == VerifyResult::Outcome::equal) unverified_ = false;
  verify_result_ = std::move(result);
}

}  // namespace crosslink::core
