// What a node's database has to say to those who read and write it here, whatever protocol they speak.
#pragma once

#include <functional>
#include <memory>

#include "crosslink/engine.hpp"

namespace crosslink::node {

class HostedDatabase;

/// The clients of one database. Made and owned by its HostedDatabase, which ends it: nothing here is called after that,
/// and its destructor returns once it has let go of the database.
class DatabaseClients {
 public:
  DatabaseClients() = default;
  virtual ~DatabaseClients() = default;
  DatabaseClients(const DatabaseClients&) = delete;
  DatabaseClients& operator=(const DatabaseClients&) = delete;

  /// No write is carried out from now on, and those before are once it returns. Blocks for these: a commit at most. As
  /// often as it is fenced it is to be lifted. Any thread.
  virtual void fence() = 0;
  virtual void lift_fence() = 0;
  /// Another history began: any key may be another than it was read, and a commit may be gone. Never blocks. Any
  /// thread.
  virtual void on_history_change() = 0;
  /// As a mirror it applied these. On the thread that did; must not block.
  virtual void on_applied(const CommittedLog& log) = 0;
};

/// Called for each database when it is opened, before it is in the list. What it gets has its engine and its gate, not
/// yet its source, and outlives what is made.
using ClientsMaker = std::function<std::unique_ptr<DatabaseClients>(HostedDatabase& database)>;

}  // namespace crosslink::node
