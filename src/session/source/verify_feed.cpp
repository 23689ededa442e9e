#include "session/source/verify_feed.hpp"

#include <utility>

namespace crosslink::core::source {

void VerifyFeed::open(StreamToken stream) {
  verify_ = Verify{};
  verify_->token = stream;
  verify_->asked = out_->next_question();
  out_->push(source_action::OpenView{*verify_->asked});
}

void VerifyFeed::close() {
  if (!verify_) return;
  if (verify_->said_at) out_->push(source_action::CloseView{});
  verify_.reset();
}

void VerifyFeed::answered(Instant now) {
  verify_->asked.reset();
  verify_->progress_at = now;
}

Result<void> VerifyFeed::on_view(const Result<Lsn>& at, Instant now) {
  answered(now);
  if (!at) return at.error();
  verify_->said_at = true;
  out_->send(verify_->token, VerifyAt{*at});
  return {};
}

bool VerifyFeed::on_frame(const SessionMessage& message, Instant now) {
  verify_->progress_at = now;
  if (std::holds_alternative<VerifyEnd>(message)) {
    out_->end_stream(verify_->token);
    close();
    return true;
  }
  if (std::holds_alternative<SessionFailure>(message)) {
    close();
    return true;
  }
  if (verify_->asked || !verify_->said_at) return false;
  if (std::holds_alternative<VerifyAt>(message)) return !std::exchange(verify_->confirmed, true);
  if (!verify_->confirmed) return false;
  if (const auto* digest = std::get_if<RangeDigest>(&message); digest != nullptr && !digest->answer) {
    verify_->asked = out_->next_question();
    verify_->range = digest->range;
    out_->push(source_action::DigestRange{*verify_->asked, verify_->range});
    return true;
  }
  if (const auto* keys = std::get_if<Keys>(&message); keys != nullptr && !keys->answer) {
    verify_->asked = out_->next_question();
    verify_->range = keys->range;
    out_->push(source_action::ListKeys{*verify_->asked, verify_->range});
    return true;
  }
  return false;
}

Result<void> VerifyFeed::on_digest(Result<RangeDigest::Answer> answer, Instant now) {
  answered(now);
  if (!answer) return answer.error();
  out_->send(verify_->token, RangeDigest{verify_->range, *std::move(answer)});
  return {};
}

Result<void> VerifyFeed::on_keys(Result<Keys::Answer> answer, Instant now) {
  answered(now);
  if (!answer) return answer.error();
  out_->send(verify_->token, Keys{verify_->range, *std::move(answer)});
  return {};
}

std::optional<Instant> VerifyFeed::progress_at() const {
  if (!verify_ || verify_->asked) return std::nullopt;
  return verify_->progress_at;
}

}  // namespace crosslink::core::source
