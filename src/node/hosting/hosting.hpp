// The databases of a node: opened at its start, made, replaced and deleted by command, followed and followed by.
//
//   catalog (what is wanted)  ->  engine in data_dir/databases/NAME (what is)  ->  HostedDatabase in the list
//
// Every change begins with a durable write of the catalog. What a kill leaves unfinished is finished at the next start.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "node/hosting/catalog.hpp"
#include "node/hosting/command_turns.hpp"
#include "node/hosting/database_clients.hpp"
#include "node/hosting/hosted_database.hpp"
#include "node/hosting/step_listener.hpp"

namespace crosslink::node {

struct DeleteOptions {
  bool keep_data = false;  ///< it stays as a read-only database that follows no source
  bool promoted = false;   ///< also when it takes writes: its data goes to set-aside
};

/// What a delete left.
struct DeletedDatabase {
  std::filesystem::path set_aside;  ///< where its data is now; empty: removed, kept, or in etcd
  bool kept_elsewhere = false;      ///< in etcd, where its keys are left
  /// Why the record of a mirror in etcd stays there, so that another mirror of its name goes on from it; absent: there
  /// is none.
  std::optional<MirrorError> record_left;
};

/// How a mirror is followed from now on.
struct MirrorChange {
  std::function<Result<void>(MirrorSpec& spec)> plan;  ///< gets what is now
  std::function<Result<void>(Mirror& mirror)> tell;    ///< once that is durable
};

/// What a new mirror finds under its name.
enum class MirrorPlace : std::uint8_t {
  free,
  taken,  ///< by what would be replaced
  same,   ///< the very mirror is there already: nothing is done
};

class Hosting {
 public:
  /// Finishes what was under way, then opens every database. One that does not open keeps no other from being served:
  /// it is in databases().not_open(), and tried again and again. Blocks. Errors: Configuration, Storage, when the
  /// catalog or data_dir itself cannot be used. `make_clients`: who reads and writes the databases here; empty: no client
  /// does.
  static Result<std::unique_ptr<Hosting>> open(const NodeConfig& config, quic::Endpoint endpoint,
                                               EngineExecutors executors, ClientsMaker make_clients,
                                               StepListener on_step);
  ~Hosting();
  Hosting(const Hosting&) = delete;
  Hosting& operator=(const Hosting&) = delete;

  /// How many databases were not open yet when open() returned. Before run().
  std::size_t opening() const;
  DatabaseList& databases();
  const DatabaseList& databases() const;
  const HostingContext& context() const;
  /// May a mirror with one of these certificate names see that database? False also when there is none. Any thread.
  bool allows(std::span<const std::string> names, const std::string& database) const;
  /// Its keys are in an etcd cluster outside this node, also while that does not answer.
  bool is_kept_elsewhere(const std::string& name) const;
  /// For people: where its data is, also while it is not open; empty: there is no such database.
  std::string place_of(const std::string& name) const;
  /// What create_mirror() would find, and do, now. Errors: those that it would end with before it changes anything.
  Result<MirrorPlace> place_for_mirror(const std::string& name, const MirrorSpec& spec,
                                       const std::optional<EtcdPlace>& etcd, bool replace) const;
  /// What a bootstrap of a database of that name leaves free on the disk.
  std::uint64_t min_free_bytes(const std::string& name) const;
  /// The folders in set-aside that data of a database of that name is in, the oldest first, but the one named `but`.
  std::vector<std::string> set_aside_before(const std::string& name, const std::string& but) const;
  /// Runs the mirrors until stop() or cancellation, then awaits their ends and what commands are doing. Call once, on a
  /// single thread. Errors: Cancelled, by cancellation only.
  Task<void> run();
  /// From any thread.
  void stop();

  // Commands. On run()'s thread, one at a time for each database: others of that database wait. One whose caller leaves
  // while it waits is not begun (Cancelled); one that was begun is carried through. All: Configuration when there is no
  // database of that name, and as said; Storage.

  /// A new root, which only the named clusters may mirror. With `anew`, one that is there and not open because its data
  /// is gone: it begins empty. Errors: Configuration (a name that is taken or no name).
  Task<void> create_database(std::string name, std::optional<std::vector<std::string>> allow_mirrors, bool anew,
                             CommandCaller caller = {});
  /// A new mirror, kept in `etcd` or, without one, in RocksDB here; durable when it returns; it dials by itself from
  /// then on. With `replace` what has the name now is moved to data_dir/set-aside first; without it a name that is
  /// taken is an error, unless the mirror that has it is the same. `agreed`: its first bootstrap may delete what
  /// stood at its place at that revision of the etcd (EtcdDatabase::agree_to_deletions), 0: nothing. The result is
  /// where in set-aside the data is now that was replaced; empty: none was here. Errors: Configuration.
  Task<std::filesystem::path> create_mirror(std::string name, MirrorSpec spec, std::optional<EtcdPlace> etcd,
                                            bool replace, std::int64_t agreed, CommandCaller caller = {});
  /// Its data is removed; moved to set-aside when it takes writes or is not open, so that this cannot be told. Errors:
  /// Configuration for what is no mirror and was none, for one that the config names unless its data is kept, and for
  /// one that takes writes unless that is agreed to; Busy when the node stops meanwhile: it is finished at the next
  /// start.
  Task<DeletedDatabase> delete_mirror(std::string name, DeleteOptions options, CommandCaller caller = {});
  /// Takes a root out of the node; its data moves to set-aside. `followed`: also while mirrors follow it, or did a short
  /// time ago. Errors: Configuration for what is no root, for one that the config names, and for one that is followed
  /// unless that is agreed to; Busy as delete_mirror.
  Task<DeletedDatabase> delete_database(std::string name, bool followed, CommandCaller caller = {});
  /// Durable before the mirror is told. Errors: Configuration for what is no mirror; what `change` says.
  Task<void> change_mirror(std::string name, MirrorChange change, CommandCaller caller = {});
  /// Who may mirror it, when the config has no list of its own for it. Holds at once: sessions that are not allowed any
  /// more are cut. Errors: Configuration when the config has one.
  Task<void> allow_mirrors(std::string name, std::vector<std::string> names, CommandCaller caller = {});
  /// A new incarnation, of a database that was set back without a start of its node. Errors: Configuration for a mirror.
  Task<void> restamp(std::string name, CommandCaller caller = {});
  /// In sync mode the mirror with this id counts from now on, in the place of the one that did (SyncGate::count).
  /// Errors: Configuration, Storage.
  Task<void> count_mirror(std::string name, MirrorId id);
  /// Promotes a mirror; what it was is in the result. Others commands of the database do not wait for its end: pause
  /// and resume give it up, a delete stops it. Errors: as Mirror::promote.
  Task<Promotion> promote(std::string name, PromotionOptions options, CommandCaller caller = {});

  /// Lists of names anew, and `tls.denied` is looked at: sessions of mirrors that no longer pass are cut. Done when it
  /// returns, whatever commands are under way. On run()'s thread.
  void reload(const NodeConfig& config);
  /// The node's certificate files hold something else: when it is the authorities, all links are made anew. As reload.
  void renew_certificates(const quic::TlsFiles& tls);
  /// Ends sessions and links whose certificate has expired or is denied. To be called every second or so. As reload.
  void judge_connections();
  /// The clusters that keep databases, by the databases' names. Any thread.
  std::vector<std::pair<std::string, EtcdPlace>> etcd_places() const;

 private:
  struct Impl;
  explicit Hosting(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace crosslink::node
