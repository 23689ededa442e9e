// The one function that changes a bootstrap, pair by pair.
#include "session/mirror/bootstrap_phase.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace crosslink::test {
namespace {

using core::mirror::BootstrapEvent;
using core::mirror::BootstrapPhase;
using P = BootstrapPhase;
using E = BootstrapEvent;

constexpr std::array phases{P::none, P::switched, P::receiving, P::beginning, P::dropping, P::checking, P::switching};

struct Row {
  E event;
  std::array<P, phases.size()> becomes;  ///< in the order of `phases`
};
constexpr std::array rows{
    Row{E::wanted, {P::receiving, P::receiving, P::receiving, P::beginning, P::dropping, P::checking, P::switching}},
    Row{E::resync, {P::dropping, P::dropping, P::dropping, P::dropping, P::dropping, P::dropping, P::dropping}},
    Row{E::new_snapshot, {P::none, P::switched, P::beginning, P::beginning, P::dropping, P::checking, P::switching}},
    Row{E::begun, {P::none, P::switched, P::receiving, P::receiving, P::dropping, P::checking, P::switching}},
    Row{E::unusable, {P::none, P::switched, P::dropping, P::dropping, P::dropping, P::checking, P::switching}},
    Row{E::dropped, {P::none, P::switched, P::receiving, P::beginning, P::receiving, P::checking, P::switching}},
    Row{E::all_stored, {P::none, P::switched, P::checking, P::beginning, P::dropping, P::checking, P::switching}},
    Row{E::found_whole, {P::none, P::switched, P::switching, P::beginning, P::dropping, P::switching, P::switching}},
    Row{E::found_damaged, {P::none, P::switched, P::receiving, P::beginning, P::dropping, P::receiving, P::switching}},
    Row{E::found_wrong, {P::none, P::switched, P::dropping, P::beginning, P::dropping, P::dropping, P::switching}},
    Row{E::switched_in, {P::switched, P::switched, P::switched, P::switched, P::switched, P::switched, P::switched}},
    Row{E::switch_failed, {P::none, P::switched, P::receiving, P::beginning, P::dropping, P::checking, P::checking}},
    Row{E::session_over, {P::none, P::switched, P::receiving, P::beginning, P::dropping, P::receiving, P::switching}},
    Row{E::log_began, {P::none, P::none, P::receiving, P::beginning, P::dropping, P::checking, P::switching}},
    Row{E::promoted, {P::none, P::none, P::none, P::none, P::none, P::none, P::none}},
};
static_assert(rows.size() == static_cast<std::size_t>(E::promoted) + 1, "an event has no row");
static_assert(phases.size() == static_cast<std::size_t>(P::switching) + 1, "a phase has no column");

TEST(BootstrapPhase, each_event_in_each_phase) {
  for (std::size_t row = 0; row < rows.size(); ++row) {
    EXPECT_EQ(static_cast<std::size_t>(rows[row].event), row);
    for (std::size_t column = 0; column < phases.size(); ++column) {
      EXPECT_EQ(core::mirror::next_phase(phases[column], rows[row].event), rows[row].becomes[column])
          << to_string(rows[row].event) << " while " << to_string(phases[column]);
    }
  }
}

TEST(BootstrapPhase, none_is_left_without_a_way_back_to_the_log) {
  for (const auto phase : phases) {
    EXPECT_EQ(core::mirror::next_phase(core::mirror::next_phase(phase, E::switched_in), E::log_began), P::none);
    EXPECT_FALSE(std::string(to_string(phase)).empty());
  }
}

TEST(BootstrapPhase, data_is_to_be_replaced_in_all_but_two) {
  for (const auto phase : phases)
    EXPECT_EQ(is_under_way(phase), phase != P::none && phase != P::switched) << to_string(phase);
}

}  // namespace
}  // namespace crosslink::test
