#include "session/mirror/link.hpp"

#include <utility>

namespace crosslink::core::mirror {
namespace {

constexpr auto ended_here = "the session was ended here, and is begun anew";

}  // namespace

void Link::on_connected(Instant now) {
  state_ = State::beginning;
  reason_ = "the session is beginning";
  retry_.clear();
  begin_by_ = now + begin_deadline_;
  out_->wake(begin_by_);
}

void Link::on_dial_failed(const MirrorError& error, Instant now) {
  state_ = State::down;
  reason_ = error.message();
  if (error.kind() == ErrorKind::Cancelled) return;
  last_error_ = error;
  // Nothing here can mend it, but an operator elsewhere may: a certificate, a name, a database made later.
  if (rule_of(error.kind()).in_reconnect == InReconnect::hard) refused(now);
}

bool Link::on_disconnected(const MirrorError& error) {
  if (state_ == State::down) return false;
  const bool ours = state_ == State::closing;
  state_ = State::down;
  if (!ours) note(error, true);
  return true;
}

void Link::on_begun() {
  state_ = State::up;
  reason_.clear();  // of a link that is up none is shown
}

void Link::note(const MirrorError& error, bool is_reason) {
  last_error_ = error;
  if (is_reason) reason_ = error.message();
}

void Link::close(std::string reason) {
  if (reason.empty() && reason_.empty()) reason = ended_here;
  if (!reason.empty()) reason_ = std::move(reason);
  if (state_ == State::down || state_ == State::closing) return;
  state_ = State::closing;
  out_->push(mirror_action::CloseLink{});
}

void Link::advance(bool wanted, bool settled, Lsn applied, Instant now) {
  if (state_ != State::down) {
    if (!wanted) return close(ended_here);
    if (state_ != State::beginning || now < begin_by_) return;
    note(MirrorError::timeout("the source's SessionBegin did not come in time"), true);
    return close();
  }
  if (!wanted || !settled) return;
  if (!retry_.due(now, *out_)) return;
  retry_.taken();
  state_ = State::dialing;
  out_->push(mirror_action::Dial{std::exchange(dialed_before_, true), applied});
}

}  // namespace crosslink::core::mirror
