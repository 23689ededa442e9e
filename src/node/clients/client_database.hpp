// A database as the clients of the Redis port see it: what they have besides its data.
//
//   ClientSession, one a connection  ->  ClientDatabase  ->  HostedDatabase  ->  engine
//                                         commits            mirrors, sync gate
//                                         watches, cursors
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "crosslink/types.hpp"
#include "node/clients/commit_queue.hpp"
#include "node/clients/scan_cursors.hpp"
#include "node/clients/watch_table.hpp"
#include "node/hosting/database_clients.hpp"
#include "node/hosting/database_list.hpp"

namespace crosslink::node {

class ClientDatabase;
/// Keeps the database open, as DatabasePointer does: hold it while commands are carried out, not while you wait for a
/// client.
using ClientDatabasePointer = std::shared_ptr<ClientDatabase>;

/// One for each HostedDatabase, which makes, owns and ends it: nothing of it is kept when a database is closed, and a
/// client that watched a key or went through a SCAN begins anew. What clients write is carried out by `committers`;
/// everything else happens on its callers'. Thread safe.
class ClientDatabase final : public DatabaseClients {
 public:
  /// `hosted` must outlive it, and have its engine and its gate already.
  ClientDatabase(HostedDatabase& hosted, const boost::asio::any_io_executor& committers);

  HostedDatabase& hosted() { return *hosted_; }
  /// Precondition: hosted().local().
  CommitQueue& commits() { return *commits_; }
  WatchTable& watches() { return watches_; }
  ScanCursors& cursors() { return cursors_; }

  /// Why a client that accepts data of that age at most must not read here now, as an error reply; empty: it may.
  std::string why_stale(std::chrono::milliseconds max_lag) const;

  /// The keys of a view at `lsn` were counted.
  void note_count(Lsn lsn, std::uint64_t keys);
  /// How many keys there are, exactly; absent: not counted since the last commit.
  std::optional<std::uint64_t> known_count() const;

  void fence() override;
  void lift_fence() override;
  void on_history_change() override;
  void on_applied(const CommittedLog& log) override;

 private:
  struct Count {
    Lsn lsn;
    std::uint64_t keys = 0;
  };
  HostedDatabase* const hosted_;
  WatchTable watches_;
  ScanCursors cursors_;
  mutable std::mutex count_mutex_;
  std::optional<Count> count_;
  std::unique_ptr<CommitQueue> commits_;  ///< null: it is kept elsewhere. Last: its turn ends first
};

/// The clients' side of a database that was opened with client_databases(). Null for null, and for one that was
/// opened without clients.
ClientDatabasePointer client_database(DatabasePointer hosted);
/// Of a node whose databases are committed to by these threads.
ClientsMaker client_databases(boost::asio::any_io_executor committers);

}  // namespace crosslink::node
