// MirrorMachine: what the engine is asked to do, one call at a time.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/mirror_machine.hpp"
#include "core/mistakes.hpp"

namespace crosslink::core {

void MirrorMachine::call(Call which, MirrorAction action) {
  engine_ = which;
  actions_.push_back(std::move(action));
}

Position MirrorMachine::position_after(const AcceptedBatch& batch) const {
  Position position = applying_.empty() ? *mark_.position : applying_to_;
  position.applied_lsn = batch.last_lsn;
  if (batch.last_entry) position.last_entry = *batch.last_entry;
  position.origin_lsn = batch.origin_lsn.value_or(batch.last_lsn);
  position.incarnation = source_->history.incarnation_at(batch.last_lsn);
  return position;
}

bool MirrorMachine::start_apply(Instant) {
  const auto limit = apply_limit();
  applying_.clear();
  std::uint64_t bytes = 0;
  while (!pending_.empty() && bytes < config_.group_bytes_max) {
    auto& next = pending_.front();
    if (limit && next.prev_lsn >= *limit) break;
    if (limit && next.last_lsn > *limit) {
      auto [before, after] = cut_batch(std::move(next), *limit);
      if (before.origin_lsn) before.origin_lsn = (applying_.empty() ? *mark_.position : applying_to_).origin_lsn;
      next = std::move(after);
      applying_to_ = position_after(before);
      applying_.push_back(std::move(before));
      break;
    }
    bytes += next.entries.size();
    applying_to_ = position_after(next);
    applying_.push_back(std::move(next));
    pending_.pop_front();
  }
  if (applying_.empty()) return false;
  mirror_action::Apply apply;
  for (auto& batch : applying_) {
    if (!batch.entries.empty()) apply.group.entries.push_back(batch.entries);
    apply.leases.insert(apply.leases.end(), batch.leases.begin(), batch.leases.end());
  }
  apply.batches = applying_;
  apply.group.position = makes(Mistake::position_outside_group) ? *mark_.position : applying_to_;
  call(Call::apply, std::move(apply));
  return true;
}

void MirrorMachine::advance_engine(Instant now) {
  if (engine_) return;
  if (engine_refused_) return ask_for_view();
  if (!storage_retry_.due(now)) return wake(*storage_retry_.at);
  if (reread_wanted_) return call(Call::sync, mirror_action::Sync{});
  if (log_ && log_->step_back_to) return call(Call::step_back, mirror_action::StepBack{*log_->step_back_to});
  const bool dirty = mark_.position && mark_.durable < mark_.position->applied_lsn;
  if (!dirty) dirty_since_.reset();
  if (dirty && !dirty_since_) dirty_since_ = now;
  if (dirty && (sync() || now - *dirty_since_ >= config_.sync_every)) return call(Call::sync, mirror_action::Sync{});
  if (dirty) wake(*dirty_since_ + config_.sync_every);
  if (mark_.position && source_ && !pending_.empty() && start_apply(now)) return;
  ask_for_view();
  if (!engine_ && !promoting_ && !promoted_from_) advance_snapshot(now);
}

void MirrorMachine::ask_for_view() {
  if (!verify_ || !verify_->view_wanted) return;
  verify_->view_asked = true;
  call(Call::open_view, mirror_action::OpenView{});
}

void MirrorMachine::advance_snapshot(Instant now) {
  if (drop_snapshot_wanted_) return call(Call::drop_snapshot, mirror_action::DropSnapshot{});
  if (begin_snapshot_wanted_) {
    return call(Call::begin_snapshot, mirror_action::BeginSnapshot{assembler_.partial()->facts});
  }
  while (!chunks_.empty() && chunks_.front().bytes.empty()) {
    assembler_.on_stored(chunks_.front().chunk);
    chunks_.pop_front();
  }
  if (!chunks_.empty()) {
    auto next = std::move(chunks_.front());
    chunks_.pop_front();
    storing_ = next.chunk;
    storing_units_ = next.bytes.size();
    return call(Call::store_chunk,
                mirror_action::StoreChunk{next.chunk, std::move(next.keep), next.bytes, std::move(next.leases)});
  }
  if (halted_) return;  // by the source, while it came: nothing would come of it but work
  if (switch_wanted_) return call(Call::switch_snapshot, mirror_action::SwitchSnapshot{assembler_.consistent_lsn()});
  if (!check_wanted_ && assembler_.complete()) check_wanted_ = true;
  if (check_wanted_) return call(Call::check_snapshot, mirror_action::CheckSnapshot{});
  static_cast<void>(now);
}

void MirrorMachine::on_storage_error(const MirrorError& error, Instant now) {
  storage_error_ = error;
  last_error_ = error;
  back_off(storage_retry_, now);
}

/// Another process owns the mirror, or did: what was received stands on a position that may not be true any more.
void MirrorMachine::reread_engine() {
  reread_wanted_ = true;
  drop_log_stream();
  lag_.forget();
}

void MirrorMachine::on_position_moved(Instant now) {
  if (promoted_from_ || stopped_) return;
  reread_engine();
  advance(now);
}

void MirrorMachine::note_durable() { actions_.push_back(mirror_action::Progress{}); }

void MirrorMachine::on_applied(Instant now) {
  std::uint64_t units = 0;
  for (const auto& batch : applying_) {
    units += batch.units;
    fragment_bytes_ -= std::min(fragment_bytes_, batch.fragment_bytes);
  }
  applying_.clear();
  if (log_) log_->released_bytes += units;
  set_held(held_bytes_ - std::min(units, held_bytes_));
  if (makes(Mistake::position_outside_group)) mark_.position = applying_to_;
  lag_.on_applied(mark_.position->applied_lsn, now);
}

void MirrorMachine::on_checked(const SnapshotCheck& check, Instant now) {
  check_wanted_ = false;
  if (drop_snapshot_wanted_) return;  // asked for while it was being checked
  switch (assembler_.on_check(check)) {
    case SnapshotAssembler::Verdict::whole: switch_wanted_ = true; return;
    case SnapshotAssembler::Verdict::cut_back:
      bootstrap_reason_ =
          fmt::format("a stored part of the snapshot was damaged; it goes on at byte {}", *check.cut_back_to);
      drop_snapshot_stream();
      return;
    case SnapshotAssembler::Verdict::drop:
      bootstrap_reason_ = "the snapshot as a whole did not have its CRC and was dropped";
      drop_snapshot_wanted_ = true;
      drop_snapshot_stream();
      return back_off(snapshot_retry_, now);
    case SnapshotAssembler::Verdict::give_up: {
      drop_snapshot_wanted_ = true;
      drop_snapshot_stream();
      const auto [said, given] = *assembler_.wrong_total();
      return halt(
          {ErrorKind::SnapshotCrcMismatch, CausedBy::peer,
           fmt::format("twice in a row a snapshot whose parts were good had CRC {:#010x} as a whole, not {:#010x}",
                       given, said),
           SnapshotCrcs{{}, said, given}},
          now);
    }
  }
}

void MirrorMachine::on_switched(Instant) {
  switch_wanted_ = false;
  bootstrap_wanted_ = false;
  just_switched_ = true;
  consistent_lsn_ = assembler_.consistent_lsn();
  unverified_ = false;
  ++bootstraps_;
  snapshot_retry_.clear();
  last_snapshot_bytes_ = assembler_.stored_bytes();
  drop_snapshot_stream();
  assembler_.on_dropped();
  forget_pending();
  forget_chunks();
  lag_.forget();
}

/// Some call of it failed.
void MirrorMachine::on_engine_error(Call which, const MirrorError& error, Instant now) {
  // What was on its way to the engine waits again; the flags of the other calls still stand.
  if (which == Call::apply && (link_ == Link::up || promoting_)) {
    pending_.insert(pending_.begin(), applying_.begin(), applying_.end());
  }
  applying_.clear();
  set_held(count_held());
  if (which == Call::store_chunk && storing_) {
    // Asked for again: the bytes are no longer here.
    drop_snapshot_stream();
    assembler_.on_stream_end();
    storing_.reset();
    storing_units_ = 0;
    forget_chunks();
    back_off(snapshot_retry_, now);
  }
  if (which == Call::switch_snapshot) {
    // Until it is tried again what was checked may be damaged.
    switch_wanted_ = false;
    check_wanted_ = !drop_snapshot_wanted_;
  }
  // Asked to be dropped meanwhile: what is wrong with it concerns nobody.
  const bool dropped = drop_snapshot_wanted_ && (which == Call::switch_snapshot || which == Call::check_snapshot);
  if (which == Call::open_view) {
    if (verify_ && verify_->view_asked) break_off_verify(error.message(), true);
  } else if (error.kind() == ErrorKind::Storage || error.kind() == ErrorKind::Busy) {
    on_storage_error(error, now);
    if (error.kind() == ErrorKind::Busy) reread_engine();
    if (giving_up_) give_up_promotion(*giving_up_, now);
  } else if (!dropped) {
    promoting_ = false;
    giving_up_.reset();
    engine_refused_ = true;
    halt(error, now);
  }
}

void MirrorMachine::on_promoted(const PromotedFrom& from, Instant now) {
  promoted_from_ = from;
  promoting_ = false;
  giving_up_.reset();
  given_up_.reset();
  age_at_promotion_ = lag_.lag(now);
  // Of a bootstrap nothing is left to do.
  bootstrap_wanted_ = begin_snapshot_wanted_ = drop_snapshot_wanted_ = check_wanted_ = switch_wanted_ = false;
  assembler_.on_dropped();
  forget_chunks();
}

void MirrorMachine::on_engine(Result<EngineAnswer> answer, Instant now) {
  const auto which = *std::exchange(engine_, std::nullopt);
  if (!answer) {
    on_engine_error(which, answer.error(), now);
    return advance(now);
  }
  const auto durable_before = mark_.durable;
  const bool fell =
      mark_.position && answer->mark.position && answer->mark.position->applied_lsn < mark_.position->applied_lsn;
  mark_ = answer->mark;
  // Its disk took what it had not confirmed: what was received stands on a position that is gone.
  if (fell && (which == Call::sync || which == Call::apply)) {
    pending_.clear();
    reread_engine();
  }
  storage_error_.reset();
  storage_retry_.clear();
  switch (which) {
    case Call::apply: on_applied(now); break;
    case Call::step_back:
      if (log_) log_->step_back_to.reset();
      lag_.forget();
      break;
    case Call::sync:
      if (std::exchange(reread_wanted_, false) && !mark_.position) want_bootstrap("it has no data yet");
      if (promoting_ && !mark_.position && !mark_.inconsistent)
        give_up_promotion(MirrorError::configuration("there is nothing to promote: what keeps the data has none now"),
                          now);
      // A promotion that was given up had come about all the same, and nobody could know.
      if (mark_.promoted_from && !promoted_from_) on_promoted(*mark_.promoted_from, now);
      break;
    case Call::begin_snapshot: begin_snapshot_wanted_ = false; break;
    case Call::store_chunk:
      assembler_.on_stored(*storing_);
      set_held(held_bytes_ - std::min(storing_units_, held_bytes_));
      storing_.reset();
      storing_units_ = 0;
      actions_.push_back(mirror_action::Progress{});
      break;
    case Call::check_snapshot: on_checked(*answer->check, now); break;
    case Call::switch_snapshot: on_switched(now); break;
    case Call::drop_snapshot:
      drop_snapshot_wanted_ = begin_snapshot_wanted_ = false;
      assembler_.on_dropped();
      break;
    case Call::promote: on_promoted(*answer->promoted_from, now); break;
    case Call::open_view:
      if (verify_ && verify_->view_asked) {
        verify_->view_open = true;
        verify_->view_wanted = false;
      } else {
        actions_.push_back(mirror_action::CloseView{});  // of a verify that has ended meanwhile
      }
      break;
  }
  if (mark_.durable > durable_before) note_durable();
  advance(now);
}

}  // namespace crosslink::core
