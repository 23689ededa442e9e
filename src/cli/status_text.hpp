// How mirrors look to a person, and what their status means for an exit code. Mirrors are the objects of the admin
// port.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <optional>
#include <string>

namespace crosslink::cli {

/// A table, and below it what needs words: reasons, last errors, windows left, verifies.
std::string status_table(const boost::json::array& mirrors);
/// Everything about one mirror, a line each.
std::string status_page(const boost::json::object& mirror);
/// "orders  Following: within 5 s of the source".
std::string status_line(const boost::json::object& mirror);
/// A bootstrap with its bar, or the status while there is none: what a person sees who waits.
std::string progress_line(const boost::json::object& mirror);
/// The bar of the last bootstrap that is done; absent: there was none since the node's start.
std::optional<std::string> bootstrapped_line(const boost::json::object& mirror);
/// Name, source, addresses, mode, status.
std::string mirror_list(const boost::json::array& mirrors);

/// 4 Disconnected; 3 a lag over `lag_max`, or unknown (a promoted mirror has none); else 0. Of several the worst.
int status_exit_code(const boost::json::array& mirrors, std::optional<std::chrono::microseconds> lag_max);

}  // namespace crosslink::cli
