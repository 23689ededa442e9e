#include "session/mirror/engine_calls.hpp"

#include "session/mistakes.hpp"

namespace crosslink::core::mirror {

void EngineCalls::start(NextCall next) {
  under_way_ = next.which;
  out_->push(std::move(next.action));
}

bool EngineCalls::on_answer(const EngineMark& mark) {
  const bool fell = mark_.position && mark.position && mark.position->applied_lsn < mark_.position->applied_lsn;
  mark_ = mark;
  storage_error_.reset();
  retry_.clear();
  return fell;
}

void EngineCalls::on_storage_error(const MirrorError& error, Instant now) {
  storage_error_ = error;
  if (!makes(Mistake::passing_failure_tried_at_once)) retry_.back_off(now, *out_);
}

bool EngineCalls::wants_sync(bool at_once, Instant now) {
  if (!mark_.position || mark_.durable >= mark_.position->applied_lsn) {
    dirty_since_.reset();
    return false;
  }
  if (!dirty_since_) dirty_since_ = now;
  if (at_once || now - *dirty_since_ >= sync_every_) return true;
  out_->wake(*dirty_since_ + sync_every_);
  return false;
}

}  // namespace crosslink::core::mirror
