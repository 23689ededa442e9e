// Where a bootstrap stands: one state, one function that changes it.
#pragma once

#include <cstdint>
#include <string_view>

namespace crosslink::core::mirror {

enum class BootstrapPhase : std::uint8_t {
  none,       ///< the log is followed
  switched,   ///< the data is new, and no log has begun on it yet
  receiving,  ///< a snapshot is to be asked for, or comes
  beginning,  ///< the engine is to begin to store a new one
  dropping,   ///< the engine is to drop what it has of one
  checking,   ///< all is stored: the engine is to check it
  switching,  ///< it is whole: the engine is to switch to it
};

enum class BootstrapEvent : std::uint8_t {
  wanted,        ///< the log does not go on from the data: it has to be copied
  resync,        ///< an operator wants it copied, from the beginning
  new_snapshot,  ///< the source sends another one than the one that is stored in part
  begun,         ///< the engine has done so
  unusable,      ///< what is stored, or its continuation, is no good
  dropped,       ///< the engine has done so
  all_stored,
  found_whole,    ///< by the check
  found_damaged,  ///< the check kept its undamaged beginning
  found_wrong,    ///< the check was bad as a whole
  switched_in,    ///< the engine has done so
  switch_failed,
  session_over,
  log_began,
  promoted,
};

/// What an event changes; the same phase where it means nothing there.
constexpr BootstrapPhase next_phase(BootstrapPhase phase, BootstrapEvent event) {
  using P = BootstrapPhase;
  using E = BootstrapEvent;
  switch (event) {
    case E::wanted: return phase == P::none || phase == P::switched ? P::receiving : phase;
    case E::resync: return P::dropping;
    case E::new_snapshot: return phase == P::receiving ? P::beginning : phase;
    case E::begun: return phase == P::beginning ? P::receiving : phase;
    case E::unusable: return phase == P::receiving || phase == P::beginning ? P::dropping : phase;
    case E::dropped: return phase == P::dropping ? P::receiving : phase;
    case E::all_stored: return phase == P::receiving ? P::checking : phase;
    // A check goes on when the session ends meanwhile; what an operator wants dropped is not judged any more.
    case E::found_whole: return phase == P::checking || phase == P::receiving ? P::switching : phase;
    case E::found_damaged: return phase == P::checking ? P::receiving : phase;
    case E::found_wrong: return phase == P::checking || phase == P::receiving ? P::dropping : phase;
    case E::switched_in: return P::switched;
    // Until it is tried again what was checked may be damaged.
    case E::switch_failed: return phase == P::switching ? P::checking : phase;
    // The source says what the whole must be with the last chunk, which comes again.
    case E::session_over: return phase == P::checking ? P::receiving : phase;
    case E::log_began: return phase == P::switched ? P::none : phase;
    case E::promoted: return P::none;
  }
  return phase;
}

/// The data is to be replaced.
constexpr bool is_under_way(BootstrapPhase phase) {
  return phase != BootstrapPhase::none && phase != BootstrapPhase::switched;
}

std::string_view to_string(BootstrapPhase phase);
std::string_view to_string(BootstrapEvent event);

}  // namespace crosslink::core::mirror
