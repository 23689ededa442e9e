// The commands about a database as a whole, and runs of commands that only read. They block.
#pragma once

#include <functional>

#include "node/database_list.hpp"
#include "node/write_run.hpp"

namespace crosslink::node {

/// What INFO says besides the database.
struct NodeFacts {
  std::uint64_t clients = 0;
  std::chrono::seconds uptime{0};
  std::vector<DatabasePointer> databases;  ///< by index
};

/// Commands of one connection that write nothing, in order.
struct ReadRun {
  std::vector<PlacedCommand> commands;
  RespReply reply;
  std::function<NodeFacts()> node;
  /// As in WriteRun. INFO says what it knows all the same.
  std::function<std::string()> why_stale;
};

void run_reads(HostedDatabase& database, ReadRun& run);

}  // namespace crosslink::node
