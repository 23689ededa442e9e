// Runs of commands that only read.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "node/clients/client_database.hpp"
#include "node/clients/long_reads.hpp"
#include "node/clients/write_run.hpp"

namespace crosslink::node {

/// What INFO says besides the database.
struct NodeFacts {
  std::uint64_t clients = 0;
  std::chrono::seconds uptime{0};
  std::vector<ClientDatabasePointer> databases;  ///< by index
};

/// Commands of one connection that write nothing, in order.
struct ReadRun {
  std::vector<PlacedCommand> commands;
  RespReply reply;
  std::function<NodeFacts()> node;
  /// As in WriteRun. INFO says what it knows all the same.
  std::function<std::string()> why_stale;

  std::size_t done = 0;  ///< so many of the commands were carried out
  // Of the next one, while it is under way.
  std::unique_ptr<LongRead> long_read;
  std::size_t next_begin = 0;  ///< of its answer

  bool is_done() const { return done == commands.size(); }
  /// It is to be carried out where the long reads are.
  bool next_reads_many_keys() const;
  void clear() {
    commands.clear();
    long_read.reset();
    done = 0;
  }
};

/// Carries out what is next of the run for some milliseconds: commands that read many keys, or commands that read few,
/// never both. Blocks. Precondition: !is_done().
void run_slice(ClientDatabase& database, ReadRun& run);

}  // namespace crosslink::node
