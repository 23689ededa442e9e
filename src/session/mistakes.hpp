// Deliberate mistakes that the simulator must catch (tests/sim). They are in the product too, where nothing can switch
// one on: tests/unit/core_includes.cpp looks for who names `set_mistake`.
#pragma once

#include <cstdint>

namespace crosslink::core {

enum class Mistake : std::uint8_t {
  position_outside_group,
  gap_accepted,
  duplicate_accepted,
  switch_before_checksum,
  lag_from_arrival_times,
  ack_after_reset_counted,
  reset_not_awaited,
  progress_past_undelivered,
  snapshot_lsn_too_low,
  history_check_left_out,
  promotion_before_link_teardown,
  oversize_entry_holds_cap,
  chain_lag_without_upstream,
  restored_source_taken_for_window,
  history_outlived_by_session,
  lsn_confirmed_across_histories,
  confirmed_before_history_change,
  applied_said_durable,
  received_said_applied,
  copy_counted_by_name,
  sessions_counted,
  abandoned_command_begun,
  promotion_outlives_giving_up,
  final_failure_tried_again,
  final_failure_swallowed,
  passing_failure_tried_at_once,
  none,  ///< stays the last: its value is how many there are
};

class MistakeInForce {
  friend bool makes(Mistake mistake);
  friend void set_mistake(Mistake mistake);
  // Constant and defined here: what reads it calls no function that would construct it first.
  static inline constinit thread_local Mistake value = Mistake::none;
};

inline bool makes(Mistake mistake) { return MistakeInForce::value == mistake; }
/// The one in force for this thread. For the simulator and tests.
void set_mistake(Mistake mistake);

}  // namespace crosslink::core
