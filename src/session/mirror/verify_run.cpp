#include "session/mirror/verify_run.hpp"

#include <fmt/format.h>

#include <utility>

namespace crosslink::core::mirror {

void VerifyRun::start(StreamToken token, Instant now) {
  result_.reset();
  run_ = Run{};
  run_->token = token;
  run_->by = now + deadline_;
  out_->wake(run_->by);
}

std::optional<Lsn> VerifyRun::apply_limit(Lsn applied) const {
  if (!run_) return std::nullopt;
  switch (run_->phase) {
    case Phase::drain:
    case Phase::ask: return applied;
    case Phase::reach: return run_->at;
    case Phase::compare: return std::nullopt;
  }
  return std::nullopt;
}

void VerifyRun::advance(Lsn applied, bool engine_busy, bool link_up, Instant now) {
  if (!run_) return;
  if (now >= run_->by) {
    const char* const why = run_->phase == Phase::compare ? "an answer did not come in time"
                                                          : "both sides did not come to the same LSN in time";
    return break_off(why, true, link_up);
  }
  if (engine_busy) return;
  if (run_->phase == Phase::drain) {
    run_->phase = Phase::ask;
    out_->send(run_->token, VerifyBegin{applied});
  }
  if (run_->phase != Phase::reach || applied < *run_->at) return;
  if (run_->view != View::open) {
    run_->view = View::wanted;
    return;
  }
  run_->phase = Phase::compare;
  out_->send(run_->token, VerifyAt{*run_->at});
  wait_for_answers(now);
  compare_next(link_up);
}

void VerifyRun::wait_for_answers(Instant now) {
  constexpr int times = 20;
  run_->by = now + times * deadline_;
  out_->wake(run_->by);
}

void VerifyRun::compare_next(bool link_up) {
  const auto step = run_->compare.next();
  if (std::holds_alternative<VerifyCompare::Done>(step)) return end(run_->compare.result(*run_->at), true, link_up);
  run_->question = ++last_question_;
  if (const auto* digest = std::get_if<VerifyCompare::AskDigest>(&step)) {
    out_->send(run_->token, RangeDigest{digest->range, {}});
    out_->push(mirror_action::DigestRange{run_->question, digest->range});
  } else {
    const auto& range = std::get<VerifyCompare::AskKeys>(step).range;
    out_->send(run_->token, Keys{range, {}});
    out_->push(mirror_action::ListKeys{run_->question, range});
  }
}

void VerifyRun::compare_answers(bool link_up) {
  auto& run = *run_;
  if (run.source_digest && run.mirror_digest) {
    run.compare.on_digests(*run.source_digest, *run.mirror_digest);
    run.source_digest.reset();
    run.mirror_digest.reset();
    compare_next(link_up);
  } else if (run.source_keys && run.mirror_keys) {
    run.compare.on_keys(*run.source_keys, *run.mirror_keys);
    run.source_keys.reset();
    run.mirror_keys.reset();
    compare_next(link_up);
  }
}

Result<void> VerifyRun::on_frame(const SessionMessage& message, Lsn applied, bool link_up, Instant now) {
  if (const auto* at = std::get_if<VerifyAt>(&message); at != nullptr && run_->phase == Phase::ask) {
    if (at->lsn < applied) return MirrorError::protocol_violation("a verify is to be made in the past");
    run_->at = at->lsn;
    run_->phase = Phase::reach;
    return {};
  }
  if (const auto* over = std::get_if<VerifyEnd>(&message)) {
    break_off(fmt::format("the source: {}", printable(over->detail)), false, link_up);
    return {};
  }
  const auto* digest = std::get_if<RangeDigest>(&message);
  const auto* keys = std::get_if<Keys>(&message);
  if (run_->phase == Phase::compare && digest != nullptr && digest->answer && !run_->source_digest) {
    run_->source_digest = digest->answer;
  } else if (run_->phase == Phase::compare && keys != nullptr && keys->answer && !run_->source_keys) {
    run_->source_keys = keys->answer;
  } else {
    return MirrorError::protocol_violation(fmt::format("a {} frame is not allowed here", kind_name(kind_of(message))));
  }
  wait_for_answers(now);
  compare_answers(link_up);
  return {};
}

void VerifyRun::on_digest(Question question, Result<RangeDigest::Answer> answer, bool link_up) {
  if (!run_ || run_->question != question) return;
  if (!answer) return break_off(answer.error().message(), true, link_up);
  run_->mirror_digest = *std::move(answer);
  compare_answers(link_up);
}

void VerifyRun::on_keys(Question question, Result<Keys::Answer> answer, bool link_up) {
  if (!run_ || run_->question != question) return;
  if (!answer) return break_off(answer.error().message(), true, link_up);
  run_->mirror_keys = *std::move(answer);
  compare_answers(link_up);
}

void VerifyRun::on_view() {
  if (run_ && run_->view == View::asked) {
    run_->view = View::open;
  } else {
    out_->push(mirror_action::CloseView{});
  }
}

void VerifyRun::on_view_failed(const MirrorError& error, bool link_up) {
  if (run_ && run_->view == View::asked) break_off(error.message(), true, link_up);
}

void VerifyRun::break_off(std::string reason, bool tell_source, bool link_up) {
  if (!run_) return;
  end(run_->compare.result(run_->at.value_or(Lsn{}), std::move(reason)), tell_source, link_up);
}

void VerifyRun::end(VerifyResult result, bool tell_source, bool link_up) {
  if (tell_source && run_->phase != Phase::drain && link_up) {
    out_->send(run_->token, VerifyEnd{static_cast<VerifyOutcome>(result.outcome), result.reason});
    out_->push(mirror_action::DropStream{run_->token});
  }
  if (run_->view == View::open) out_->push(mirror_action::CloseView{});
  run_.reset();
  equal_ = result.outcome == VerifyResult::Outcome::equal;
  result_ = std::move(result);
}

}  // namespace crosslink::core::mirror
