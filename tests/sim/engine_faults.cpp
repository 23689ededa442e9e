#include "sim/engine_faults.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>
#include <variant>

#include "sim/events.hpp"

namespace crosslink::sim {
namespace {

using namespace core::mirror_action;

/// Reads only, and fails for the caller.
bool is_look(const core::MirrorAction& call) { return std::holds_alternative<OpenView>(call); }

bool is_last_step(const core::MirrorAction& call) {
  return std::holds_alternative<CheckSnapshot>(call) || std::holds_alternative<SwitchSnapshot>(call);
}

}  // namespace

void EngineFaults::refuse_some() {
  // Snapshots come seldom, and what ends them seldom goes wrong elsewhere.
  static const std::array calls{
      core::MirrorAction(BeginSnapshot{}).index(),  core::MirrorAction(BeginSnapshot{}).index(),
      core::MirrorAction(StoreChunk{}).index(),     core::MirrorAction(CheckSnapshot{}).index(),
      core::MirrorAction(SwitchSnapshot{}).index(), core::MirrorAction(DropSnapshot{}).index(),
      core::MirrorAction(Apply{}).index(),          core::MirrorAction(Sync{}).index(),
      core::MirrorAction(Promote{}).index(),
  };
  refuses_ = calls[world_->below(calls.size())];
  world_->tell(fmt::format("{}: its engine refuses calls of kind {}", name_, *refuses_));
}

std::optional<MirrorError> EngineFaults::refusal(const core::MirrorAction& call) {
  if (refuses_ != call.index()) return std::nullopt;
  world_->happened(std::holds_alternative<BeginSnapshot>(call) ? event::snapshot_refused : event::refused);
  return MirrorError::configuration("this place can never take that");
}

void EngineFaults::before(const core::MirrorAction& call, core::Instant now) const {
  constexpr core::Duration wait_least{1'000'000};
  if (is_look(call)) return;
  if (refused_) throw Violation(name_ + " asks its engine again, which refused for good");
  if (failed_at_ && now - *failed_at_ < wait_least)
    throw Violation(name_ + " asks its engine again without a wait, which could not do it");
}

void EngineFaults::after(const core::MirrorAction& call, const Result<core::EngineAnswer>& answer, core::Instant now) {
  if (is_look(call)) return;
  const bool dropped = std::exchange(dropped_, false);
  failed_at_.reset();
  if (answer) return;
  if (answer.error().kind() == ErrorKind::Storage) {
    failed_at_ = now;
  } else if (!dropped || !is_last_step(call)) {
    refused_ = answer.error().message();
  }
}

void EngineFaults::check(const MirrorStatus& status) const {
  if (!refused_ || status.kind == StatusKind::Promoted) return;
  if (status.kind != StatusKind::Halted || !status.reason.contains(*refused_)) {
    throw Violation(
        fmt::format("{} is {} ({}) though its engine refused for good", name_, to_string(status.kind), status.reason));
  }
}

void EngineFaults::on_start() {
  refused_.reset();
  failed_at_.reset();
  dropped_ = false;
}

void EngineFaults::on_operator(bool resync) {
  refused_.reset();
  dropped_ = dropped_ || resync;
}

void EngineFaults::on_resume() {
  on_operator(false);
  failed_at_.reset();
}

}  // namespace crosslink::sim
