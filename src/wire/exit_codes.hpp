// What a command of the program ends with; README.md lists them. Which of them a kind of error is: error.cpp.
#pragma once

namespace crosslink {

inline constexpr int exit_good = 0;
inline constexpr int exit_failed = 1;        ///< nothing below says it better
inline constexpr int exit_usage = 2;         ///< what was given, by command line or config, is wrong
inline constexpr int exit_lag = 3;           ///< it is over what was asked for, or unknown
inline constexpr int exit_disconnected = 4;  ///< the link or the node is down
inline constexpr int exit_different = 5;     ///< a verify found a difference
inline constexpr int exit_refused = 6;

}  // namespace crosslink
