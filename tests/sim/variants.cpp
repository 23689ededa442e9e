#include "sim/variants.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace crosslink::sim {
namespace {

using core::Mistake;

constexpr std::array all{
    Variant{Mistake::position_outside_group, "position_outside_group",
            "a group is applied without its position in the same write", "and holds the commit"},
    Variant{Mistake::gap_accepted, "gap_accepted", "a batch that begins after a gap is accepted",
            "where it does not belong"},
    Variant{Mistake::duplicate_accepted, "duplicate_accepted", "a batch that was accepted before is accepted again",
            "where it does not belong"},
    Variant{Mistake::switch_before_checksum, "switch_before_checksum",
            "a snapshot is switched in without the check of the whole", "and holds the commit"},
    Variant{Mistake::lag_from_arrival_times, "lag_from_arrival_times",
            "the lag is counted from when something was applied", "while the truth is"},
    Variant{Mistake::ack_after_reset_counted, "ack_after_reset_counted",
            "an acknowledgement on a stream that was given up releases the throttle", "bytes are in flight"},
    Variant{Mistake::reset_not_awaited, "reset_not_awaited",
            "the mirror dials again while what it received is still being applied", "where it does not belong"},
    Variant{Mistake::progress_past_undelivered, "progress_past_undelivered", "the head of a probe moves the position",
            "and holds the commit"},
    Variant{Mistake::snapshot_lsn_too_low, "snapshot_lsn_too_low", "a snapshot is announced one LSN too low",
            "and holds the commit"},
    Variant{Mistake::history_check_left_out, "history_check_left_out",
            "the source does not compare histories on a LogRequest", "where it does not belong"},
    Variant{Mistake::promotion_before_link_teardown, "promotion_before_link_teardown",
            "a mirror is promoted while its link stands", "is promoted while its link stands"},
    Variant{Mistake::oversize_entry_holds_cap, "oversize_entry_holds_cap",
            "the fragments of an entry are not released before it is applied", "did not come together"},
    Variant{Mistake::chain_lag_without_upstream, "chain_lag_without_upstream",
            "a mirror of a mirror leaves its source's own lag out", "while the truth is"},
    Variant{Mistake::restored_source_taken_for_window, "restored_source_taken_for_window",
            "a source that was restored is taken for one whose window has passed", "told to let go"},
    Variant{Mistake::history_outlived_by_session, "history_outlived_by_session",
            "a session goes on under a history that has changed", "and holds the commit", "is told to let go of"},
    Variant{Mistake::lsn_confirmed_across_histories, "lsn_confirmed_across_histories",
            "what a mirror said of a history that is gone confirms commits of the next", "does not hold durably"},
    Variant{Mistake::confirmed_before_history_change, "confirmed_before_history_change",
            "what a mirror said counts on after data was restored that goes on under its old incarnation",
            "does not hold durably"},
    Variant{Mistake::applied_said_durable, "applied_said_durable",
            "a mirror says durable of what it applied and has not synced", "does not hold durably"},
    Variant{Mistake::received_said_applied, "received_said_applied",
            "a mirror acknowledges what it received and has not applied", "does not hold durably"},
    Variant{Mistake::copy_counted_by_name, "copy_counted_by_name",
            "another copy under the name of the mirror that counts confirms in its place", "does not hold durably"},
    Variant{Mistake::sessions_counted, "sessions_counted",
            "WAIT counts a mirror twice that dialed again while its old session stands", "answers WAIT with"},
    Variant{Mistake::abandoned_command_begun, "abandoned_command_begun",
            "a command is begun whose caller left while it waited for its turn", "after its caller has left"},
    Variant{Mistake::promotion_outlives_giving_up, "promotion_outlives_giving_up",
            "a promotion that was given up takes effect as soon as it can", "is promoted though that was given up"},
    Variant{Mistake::final_failure_tried_again, "final_failure_tried_again",
            "a call that the engine refused for good is made again at once", "which refused for good"},
    Variant{Mistake::final_failure_swallowed, "final_failure_swallowed",
            "a call that the engine refused for good halts nothing and is not reported", "though its engine refused"},
    Variant{Mistake::passing_failure_tried_at_once, "passing_failure_tried_at_once",
            "a call that the disk had no room for is made again without a wait", "again without a wait"},
};

constexpr bool every_mistake_has_its_line() {
  if (all.size() != static_cast<std::size_t>(Mistake::none)) return false;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].mistake != static_cast<Mistake>(i)) return false;
  return true;
}
static_assert(every_mistake_has_its_line(), "one line for each mistake of core/mistakes.hpp, in its order");

}  // namespace

std::span<const Variant> variants() { return all; }

void set_variant(std::string_view name) {
  const auto* const found = std::ranges::find(all, name, &Variant::name);
  core::set_mistake(found == all.end() ? Mistake::none : found->mistake);
}

}  // namespace crosslink::sim
