// A mirror's verify at the source: the view that both compare, and its questions.
#include "core/source_session.hpp"

namespace crosslink::core {

void SourceSession::open_verify(StreamToken stream, const VerifyBegin& begin, Instant now) {
  if ((features_ & feature_verify) == 0) return fail_session(stream, misplaced_frame(kind_of(begin)));
  if (verify_ || (config_.take_verify && !config_.take_verify(now))) {
    return fail_stream(stream,
                       {ErrorKind::Busy, CausedBy::peer, "another verify runs, or too many did within a minute"});
  }
  verify_ = Verify{};
  verify_->token = stream;
  verify_->applied = begin.applied_lsn;
  verify_->asked = ++last_question_;
  actions_.push_back(source_action::OpenView{last_question_});
}

bool SourceSession::on_view(Question question, Result<Lsn> at, Instant now) {
  if (outlived(now) || !verify_ || verify_->asked != question) return false;
  verify_->asked.reset();
  verify_->progress_at = now;
  if (!at) {
    fail_stream(verify_->token, at.error());
    return false;
  }
  verify_->said_at = true;
  send(verify_->token, VerifyAt{*at});
  return true;
}

void SourceSession::on_verify(const SessionMessage& message) {
  const auto stream = verify_->token;
  if (std::holds_alternative<VerifyEnd>(message)) {
    actions_.push_back(source_action::EndStream{stream});
    return drop_verify();
  }
  if (const auto* failure = std::get_if<SessionFailure>(&message)) {
    static_cast<void>(failure);
    return drop_verify();
  }
  if (verify_->asked || !verify_->said_at) return fail_session(stream, misplaced_frame(kind_of(message)));
  if (std::holds_alternative<VerifyAt>(message) && !verify_->confirmed) {
    verify_->confirmed = true;
    return;
  }
  const auto* digest = std::get_if<RangeDigest>(&message);
  const auto* keys = std::get_if<Keys>(&message);
  const bool question = (digest != nullptr && !digest->answer) || (keys != nullptr && !keys->answer);
  if (!verify_->confirmed || !question) return fail_session(stream, misplaced_frame(kind_of(message)));
  verify_->asked = ++last_question_;
  verify_->range = digest != nullptr ? digest->range : keys->range;
  if (digest != nullptr) {
    actions_.push_back(source_action::DigestRange{last_question_, verify_->range});
  } else {
    actions_.push_back(source_action::ListKeys{last_question_, verify_->range});
  }
}

void SourceSession::on_digest(Question question, Result<RangeDigest::Answer> answer, Instant now) {
  if (!verify_ || verify_->asked != question) return;
  verify_->asked.reset();
  verify_->progress_at = now;
  if (!answer) return fail_stream(verify_->token, answer.error());
  send(verify_->token, RangeDigest{verify_->range, *std::move(answer)});
}

void SourceSession::on_keys(Question question, Result<Keys::Answer> answer, Instant now) {
  if (!verify_ || verify_->asked != question) return;
  verify_->asked.reset();
  verify_->progress_at = now;
  if (!answer) return fail_stream(verify_->token, answer.error());
  send(verify_->token, Keys{verify_->range, *std::move(answer)});
}

void SourceSession::drop_verify() {
  if (!verify_) return;
  if (verify_->said_at) actions_.push_back(source_action::CloseView{});
  verify_.reset();
}

}  // namespace crosslink::core
