// One database of a node: its engine, who mirrors it, whom it mirrors, and whether its writes wait for mirrors.
//
//                                 clients()  fenced, and told of another history
//                                   |  ^
//                                   v  |
//   the source's cluster -> mirror() -> engine() -> source() -> its mirrors, for which writes wait at sync_gate()
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "async/stop_event.hpp"
#include "crosslink/database_source.hpp"
#include "crosslink/link.hpp"
#include "node/config.hpp"
#include "node/engine_threads.hpp"
#include "node/hosting/database_clients.hpp"
#include "node/hosting/database_engine.hpp"
#include "node/hosting/database_list.hpp"
#include "node/hosting/hosted_mirror.hpp"

namespace crosslink::node {

class AppliedWaiters;
class SyncGate;
struct SyncFacts;

/// What every database of a node shares.
struct HostingContext {
  std::string cluster_id;
  std::filesystem::path data_dir;
  quic::TlsFiles tls;
  quic::Endpoint endpoint;
  EngineExecutors executors;
  std::chrono::milliseconds disconnected_after = NodeConfig().disconnected_after;
  std::chrono::seconds stall_max = NodeConfig().stall_max;
  std::string node_id;        ///< of this node among those of its cluster
  ClientsMaker make_clients;  ///< who reads and writes its databases here; empty: no client does
  std::stop_token stop = {};  ///< the node stops
};

/// Is one of these certificate names in the list? Without one, any is.
bool is_allowed(const std::optional<std::vector<std::string>>& allow_mirrors, std::span<const std::string> names);

/// An open database, from when its engine is open until that is closed. It knows nothing of the protocol that clients
/// speak: what they need besides its data is its clients'.
///
/// Threads: functions may be called from any, and do not block unless they say so. The mirror runs where Hosting runs it,
/// the source's sessions where they are served, the engine's calls on the executors of the context, or on threads of its
/// own for a database that is kept in an etcd cluster.
///
/// Lifetime: its users hold a DatabasePointer. Hosting takes it out of the node: it calls retire(), stops the mirror and
/// ends the source's sessions; the holders let go, and the last pointer has it destroyed on an engine thread, since that
/// blocks.
class HostedDatabase {
 public:
  /// `entry` says what it is; an entry with a mirror's spec gets a Mirror, which does nothing until it is run. May read
  /// a file. `context` is not kept.
  HostedDatabase(const HostingContext& context, DatabaseConfig config, const CatalogEntry& entry,
                 DatabaseEngine engine);
  /// Carries out the writes that it took on, then closes the engine. Blocks. Preconditions: its mirror does not run, and
  /// no session of its source does.
  ~HostedDatabase();
  HostedDatabase(const HostedDatabase&) = delete;
  HostedDatabase& operator=(const HostedDatabase&) = delete;

  const std::string& name() const { return config_.name; }
  std::uint32_t index() const { return index_; }
  DatabaseKind kind() const { return kind_; }
  const DatabaseConfig& config() const { return config_; }
  DatabaseEngine& engine() { return engine_; }
  SourceState state() const { return engine_.source->source_state(); }
  DatabaseRole role() const { return engine_.source->role(); }
  Lsn head() const { return engine_.source->head(); }
  DatabaseSource& source() { return *source_; }
  /// Null: it follows no source.
  HostedMirror* mirror() { return mirror_.get(); }
  std::shared_ptr<HostedMirror> shared_mirror() { return mirror_; }
  /// Of a mirror: which copy it is to its source. All zero: of anything else.
  const MirrorId& mirror_id() const { return mirror_id_; }
  /// What clients read and write. Null: they cannot do so here.
  RocksdbDatabase* local() { return engine_.local; }
  /// What ClientsMaker made. Null: it was opened without one.
  DatabaseClients* clients() { return clients_.get(); }
  /// At which clients' writes wait for mirrors. Null: none does.
  SyncGate* sync_gate() { return gate_.get(); }

  /// May a mirror with one of these certificate names follow it?
  bool allows(std::span<const std::string> names) const;
  bool open_to_any_name() const;
  /// The list in force; absent: any name that the CA signed.
  std::optional<std::vector<std::string>> allow_mirrors() const;
  void set_allow_mirrors(std::optional<std::vector<std::string>> names);
  bool takes_writes() const { return role() != DatabaseRole::mirror; }
  /// It is being taken out of the node: its holders let go, and what waits for mirrors here does not wait any more.
  void retire() {
    retired_ = true;
    stop_waiting();
  }
  bool retired() const { return retired_; }
  /// No write of a client is carried out from now on, and those before are once it returns. Blocks for these. As often as
  /// it is fenced it is to be lifted. Says nothing of what clients write elsewhere, in etcd.
  void fence();
  void lift_fence();
  /// Set once it is closed, after the last holder has let go.
  std::shared_ptr<async::StopEvent> closed() const { return closed_; }
  /// Once closed() is set: it took writes at its end, so it may have been promoted until then.
  std::shared_ptr<std::atomic<bool>> took_writes() const { return took_writes_; }

  /// Absent: the config names no mirrors in sync mode.
  std::optional<SyncFacts> sync_facts() const;
  /// SyncGate::standing, in words; absent also without sync mode.
  std::optional<std::string> sync_standing(std::span<const std::string> peer_names, const MirrorIdentity& mirror) const;
  /// Who waits for LSNs that mirrors apply here.
  const std::shared_ptr<AppliedWaiters>& applied_waiters() const { return applied_waiters_; }
  /// SyncGate::count. Blocks. Errors: Configuration, also without sync mode; Storage.
  Result<void> count_mirror(const MirrorId& id);
  /// The history changes, or did: sessions of mirrors end, and what they said does not count.
  void change_history();
  /// No write waits for mirrors any more: those that do are refused as unconfirmed (SyncGate::stop).
  void stop_waiting();

 private:
  boost::asio::any_io_executor work_executor(const HostingContext& context) const;
  boost::asio::any_io_executor scan_executor(const HostingContext& context) const;
  DatabaseSourceOptions source_options(const HostingContext& context);
  std::unique_ptr<Mirror> make_mirror(const HostingContext& context, const MirrorSpec& spec);
  std::unique_ptr<SyncGate> make_gate(const HostingContext& context, const CatalogEntry& entry) const;

  const DatabaseConfig config_;
  const std::uint32_t index_;
  const DatabaseKind kind_;
  /// Null: it is kept here, and shares the node's.
  const std::unique_ptr<ThreadPool> own_threads_;
  DatabaseEngine engine_;
  const MirrorId mirror_id_;
  std::shared_ptr<HostedMirror> mirror_;
  std::unique_ptr<SyncGate> gate_;  ///< null: no write waits for mirrors
  const std::shared_ptr<AppliedWaiters> applied_waiters_;
  std::unique_ptr<DatabaseSource> source_;
  std::atomic<bool> retired_ = false;
  const std::shared_ptr<std::atomic<bool>> took_writes_ = std::make_shared<std::atomic<bool>>(false);
  const std::shared_ptr<async::StopEvent> closed_ = std::make_shared<async::StopEvent>();
  mutable std::mutex allow_mutex_;
  std::optional<std::vector<std::string>> allow_mirrors_;
  std::unique_ptr<DatabaseClients> clients_;  ///< last: they use the rest
};

}  // namespace crosslink::node
