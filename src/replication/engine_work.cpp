#include "replication/engine_work.hpp"

namespace crosslink::replication {

namespace action = core::mirror_action;

Result<core::EngineAnswer> carry_out_on_engine(const OnEngine& on, const core::MirrorAction& request,
                                               std::shared_ptr<const DataView>& opened) {
  auto& engine = on.engine;
  core::EngineAnswer answer;
  Result<void> done;
  if (const auto* apply = std::get_if<action::Apply>(&request)) {
    if (!apply->leases.empty()) done = engine.note_leases(apply->leases);
    if (done) done = engine.apply(apply->group);
  } else if (const auto* back = std::get_if<action::StepBack>(&request)) {
    done = engine.step_back(back->from);
  } else if (std::holds_alternative<action::Sync>(request)) {
    const auto synced = engine.sync();
    if (!synced) return synced.error();
  } else if (const auto* begin = std::get_if<action::BeginSnapshot>(&request)) {
    done = engine.begin_snapshot(begin->facts);
  } else if (const auto* store = std::get_if<action::StoreChunk>(&request)) {
    if (!store->leases.empty()) done = engine.note_leases(store->leases);
    if (done) done = engine.store_chunk(store->chunk, store->bytes);
  } else if (std::holds_alternative<action::CheckSnapshot>(request)) {
    const auto check = engine.check_snapshot();
    if (!check) return check.error();
    answer.check = *check;
  } else if (const auto* switching = std::get_if<action::SwitchSnapshot>(&request)) {
    if (on.options.before_history_change) on.options.before_history_change();
    done = engine.note_consistent(switching->consistent_lsn);
    if (done) done = engine.switch_snapshot();
  } else if (std::holds_alternative<action::DropSnapshot>(request)) {
    done = engine.drop_snapshot();
  } else if (std::holds_alternative<action::Promote>(request)) {
    const auto promoted = engine.promote(on.link.source_cluster_id().str(), on.link.source_database_id().str());
    if (!promoted) return promoted.error();
    answer.promoted_from = *promoted;
  } else if (std::holds_alternative<action::OpenView>(request)) {
    auto made = on.verifiable->view();
    if (!made) return made.error();
    opened = *std::move(made);
  }
  if (!done) return done.error();
  const auto state = engine.mirror_state();
  answer.mark = {state.position, state.durable, state.inconsistent, state.promoted_from};
  return answer;
}

}  // namespace crosslink::replication
