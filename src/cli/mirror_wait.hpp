// Waiting until mirrors follow, with a line on a terminal that says how far they are.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <optional>
#include <string>

#include "cli/admin_client.hpp"

namespace crosslink::cli {

/// {"mirrors":[...]}, of all mirrors or the one named.
Result<AdminAnswer> ask_mirrors(const AdminOptions& options, const std::string& name,
                                std::chrono::steady_clock::duration timeout = admin_look_timeout);

/// Why one mirror never comes to Following without an operator; absent: it may. Errors of its own kind. `refusals_end`:
/// also when its source refuses it, which a change at the source could mend.
std::optional<MirrorError> hopeless(const boost::json::object& mirror, bool refusals_end);
bool all_following(const boost::json::array& mirrors);

struct WaitOptions {
  AdminOptions admin;
  std::string name;  ///< empty: all, at least one
  std::optional<std::chrono::steady_clock::duration> timeout;
  bool refusals_end = false;
  bool shown = true;  ///< on a terminal
};
struct WaitEnd {
  AdminAnswer last;                  ///< {"mirrors":[...]}, or what the node said no with
  std::optional<MirrorError> error;  ///< absent: all follow, or the node said no
};
/// A node that is not there, or not yet, is asked again until the time is over; so is one that has not opened the
/// mirror.
WaitEnd wait_until_following(const WaitOptions& options);

}  // namespace crosslink::cli
