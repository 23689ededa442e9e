// One database of a node: its engine, who writes to it, who mirrors it, whom it mirrors.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "async/stop_event.hpp"
#include "crosslink/database_source.hpp"
#include "crosslink/link.hpp"
#include "node/config.hpp"
#include "node/engine_threads.hpp"
#include "node/hosting/database_engine.hpp"
#include "node/hosting/database_list.hpp"
#include "node/hosting/hosted_mirror.hpp"

namespace crosslink::node {

class AppliedWaiters;
class CommitQueue;
class SyncGate;
class WatchTable;
struct SyncFacts;

/// Where SCANs go on. Bounded: the one that was used longest ago is forgotten, and its cursor is an error then. Thread
/// safe.
class ScanCursors {
 public:
  static constexpr std::size_t cursors_max = 4096;
  /// A new cursor that stands before `key`. Never 0.
  std::uint64_t add(std::string key);
  /// Where it stands; again and again, as long as it is known. Absent: it was forgotten, or never was.
  std::optional<std::string> find(std::uint64_t cursor);

 private:
  std::mutex mutex_;
  std::uint64_t last_ = 0;
  std::list<std::pair<std::uint64_t, std::string>> by_age_;
  std::unordered_map<std::uint64_t, std::list<std::pair<std::uint64_t, std::string>>::iterator> by_number_;
};

/// What every database of a node shares.
struct HostingContext {
  std::string cluster_id;
  std::filesystem::path data_dir;
  quic::TlsFiles tls;
  quic::Endpoint endpoint;
  EngineExecutors executors;
  std::chrono::milliseconds disconnected_after{30'000};
  std::chrono::seconds stall_max{300};
  std::string node_id;  ///< of this node among those of its cluster
};

/// Is one of these certificate names in the list? Without one, any is.
bool is_allowed(const std::optional<std::vector<std::string>>& allow_mirrors, std::span<const std::string> names);

class HostedDatabase {
 public:
  /// `entry` says what it is; an entry with a mirror's spec gets a Mirror, which does nothing until it is run.
  HostedDatabase(const HostingContext& context, DatabaseConfig config, const CatalogEntry& entry,
                 DatabaseEngine engine);
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
  /// Precondition: local().
  CommitQueue& commits() { return *commits_; }
  WatchTable& watches() { return *watches_; }
  ScanCursors& cursors() { return cursors_; }

  /// May a mirror with one of these certificate names follow it?
  bool allows(std::span<const std::string> names) const;
  bool open_to_any_name() const;
  /// The list in force; absent: any name that the CA signed.
  std::optional<std::vector<std::string>> allow_mirrors() const;
  void set_allow_mirrors(std::optional<std::vector<std::string>> names);
  bool takes_writes() const { return role() != DatabaseRole::mirror; }
  /// It is being taken out of the node: its holders let go.
  void retire() {
    retired_ = true;
    stop_waiting();
  }
  bool retired() const { return retired_; }
  /// No write of a client is carried out from now on, and those before are. Blocks for these. Not of what clients write
  /// elsewhere, in etcd.
  void fence();
  void lift_fence();
  /// Set once it is closed, after the last one has let go.
  std::shared_ptr<async::StopEvent> closed() const { return closed_; }
  /// Once closed() is set: it took writes at its end, so it may have been promoted until then.
  std::shared_ptr<std::atomic<bool>> took_writes() const { return took_writes_; }

  /// Absent: the config names no mirrors in sync mode. Any thread.
  std::optional<SyncFacts> sync_facts() const;
  /// SyncGate::standing, in words; absent also without sync mode. Any thread.
  std::optional<std::string> sync_standing(std::span<const std::string> peer_names, const MirrorIdentity& mirror) const;
  /// Who waits for LSNs that mirrors apply here.
  const std::shared_ptr<AppliedWaiters>& applied_waiters() const { return applied_waiters_; }
  /// SyncGate::count. Blocks. Errors: Configuration, also without sync mode; Storage.
  Result<void> count_mirror(const MirrorId& id);
  /// The history changes, or did: sessions of mirrors end, and what they said does not count. Any thread.
  void change_history();
  /// No write waits for mirrors any more: those that do are answered NOSYNC. Any thread.
  void stop_waiting();
  /// Why a client that accepts data of that age at most must not read here now, as an error reply; empty: it may.
  std::string why_stale(std::chrono::milliseconds max_lag) const;

  /// The keys of a view at `lsn` were counted.
  void note_count(Lsn lsn, std::uint64_t keys);
  /// How many keys there are, exactly; absent: not counted since the last commit.
  std::optional<std::uint64_t> known_count() const;

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
  const std::unique_ptr<WatchTable> watches_;
  ScanCursors cursors_;
  std::atomic<bool> retired_ = false;
  const std::shared_ptr<std::atomic<bool>> took_writes_ = std::make_shared<std::atomic<bool>>(false);
  const std::shared_ptr<async::StopEvent> closed_ = std::make_shared<async::StopEvent>();
  mutable std::mutex allow_mutex_;
  std::optional<std::vector<std::string>> allow_mirrors_;
  struct Count {
    Lsn lsn;
    std::uint64_t keys = 0;
  };
  mutable std::mutex count_mutex_;
  std::optional<Count> count_;
  std::unique_ptr<CommitQueue> commits_;  // last: its thread ends first
};

}  // namespace crosslink::node
