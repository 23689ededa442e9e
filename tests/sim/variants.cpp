#include "sim/variants.hpp"

#include <array>
#include <string>

#include "core/broken.hpp"

namespace crosslink {
namespace sim {
namespace {

thread_local std::string in_force;

constexpr std::array all{
    Variant{"position_outside_group", "a group is applied without its position in the same write",
            "and holds the commit"},
    Variant{"gap_accepted", "a batch that begins after a gap is accepted", "where it does not belong"},
    Variant{"duplicate_accepted", "a batch that was accepted before is accepted again", "where it does not belong"},
    Variant{"switch_before_checksum", "a snapshot is switched in without the check of the whole",
            "and holds the commit"},
    Variant{"lag_from_arrival_times", "the lag is counted from when something was applied", "while the truth is"},
    Variant{"ack_after_reset_counted", "an acknowledgement on a stream that was given up releases the throttle",
            "bytes are in flight"},
    Variant{"reset_not_awaited", "the mirror dials again while what it received is still being applied",
            "where it does not belong"},
    Variant{"progress_past_undelivered", "the head of a probe moves the position", "and holds the commit"},
    Variant{"snapshot_lsn_too_low", "a snapshot is announced one LSN too low", "and holds the commit"},
    Variant{"history_check_left_out", "the source does not compare histories on a LogRequest",
            "where it does not belong"},
    Variant{"promotion_before_link_teardown", "a mirror is promoted while its link stands",
            "is promoted while its link stands"},
    Variant{"oversize_entry_holds_cap", "the fragments of an entry are not released before it is applied",
            "did not come together"},
    Variant{"chain_lag_without_upstream", "a mirror of a mirror leaves its source's own lag out", "while the truth is"},
    Variant{"restored_source_taken_for_window", "a source that was restored is taken for one whose window has passed",
            "told to let go"},
    Variant{"history_outlived_by_session", "a session goes on under a history that has changed",
            "and holds the commit"},
};

}  // namespace

std::span<const Variant> variants() { return all; }
void set_variant(std::string_view name) { in_force = name; }

}  // namespace sim

namespace core {
bool is_broken(std::string_view variant) { return variant == sim::in_force; }
}  // namespace core
}  // namespace crosslink
