// One request to a node's admin port, and its answer.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <optional>
#include <string>

#include "cli/admin_address.hpp"
#include "crosslink/result.hpp"

namespace crosslink::cli {

/// An answer larger than this is refused.
inline constexpr std::size_t admin_answer_bytes_max = 64u * 1024 * 1024;
inline constexpr std::chrono::seconds admin_connect_timeout{5};
/// For what a node only looks up. What watches a node by `status` learns that it hangs.
inline constexpr std::chrono::seconds admin_look_timeout{15};
/// For what a node does at once, unless another command has the database's turn; and beyond what it was told that a
/// command may take.
inline constexpr std::chrono::seconds admin_answer_timeout{60};
/// For what takes as long as there is data.
inline constexpr std::chrono::hours admin_work_timeout{24};

enum class AdminMethod : std::uint8_t { get, post, remove };

struct AdminRequest {
  AdminMethod method = AdminMethod::get;
  std::string path;          ///< "/v1/mirrors"; names in it are database names, which need no escapes
  boost::json::object body;  ///< of post
  std::chrono::steady_clock::duration timeout = admin_answer_timeout;
};

struct AdminAnswer {
  boost::json::object body;
  /// Set: the node says no; `body` has the error's fields, and this is how the command ends.
  std::optional<int> exit_code;
};

/// Connects, asks, closes. Blocks for admin_connect_timeout and the request's own at most. Errors: Transport (nothing
/// listens there, the connection was lost), Timeout, TlsRefused, ProtocolViolation (what answers is no node),
/// Configuration (--ca).
Result<AdminAnswer> ask(const AdminTarget& target, const AdminRequest& request);
/// find_admin, then ask.
Result<AdminAnswer> ask_node(const AdminOptions& options, const AdminRequest& request);

}  // namespace crosslink::cli
