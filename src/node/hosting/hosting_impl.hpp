// What the files hosting*.cpp share.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/stop_event.hpp"
#include "async/task_group.hpp"
#include "node/hosting/command_turns.hpp"
#include "node/hosting/database_engine.hpp"
#include "node/hosting/hosting.hpp"

namespace crosslink::node {

/// What the CA file says; empty when it cannot be read: then no peer can connect either.
std::string authorities_in(const quic::TlsFiles& tls);

/// A mirror that was cut, or whose source started anew, is back by then: it dials every 30 s at the latest.
inline constexpr std::chrono::seconds followed_for{60};

/// What stands in a database's folder.
struct FolderContent {
  std::string data_id;  ///< CatalogEntry::data_id of what is there
  bool agreed = false;  ///< an operator says that it is this database's, whosever it was
};

struct Hosting::Impl : std::enable_shared_from_this<Impl> {
  Impl(const NodeConfig& chosen, Catalog own, HostingContext shared, StepListener listener)
      : config(chosen),
        catalog(std::move(own)),
        context(std::move(shared)),
        on_step(std::move(listener)),
        authorities(authorities_in(config.tls)) {
    context.stop = node_stop.get_token();
  }

  void step(std::string_view name) const {
    if (on_step) on_step(name);
  }
  std::filesystem::path folder_of(const CatalogEntry& entry) const { return engine_folder(config.data_dir, entry); }
  std::filesystem::path set_aside(const std::string& name) const { return config.data_dir / "set-aside" / name; }
  /// Any thread.
  DatabaseConfig config_of(const CatalogEntry& entry) const;
  EngineRequest engine_request(const CatalogEntry& entry) const {
    return {config_of(entry), entry, config.data_dir, context.cluster_id, context.node_id, resources, context.stop};
  }
  HostingContext context_now() const {
    const std::scoped_lock lock(settings_mutex);
    return context;
  }

  // Which there are. Before run(), on the thread that opens the node.
  Result<void> adopt_databases();
  Result<void> adopt_configured(const DatabaseConfig& wanted);
  Result<void> adopt_lost();
  Result<void> adopt_new(CatalogEntry entry);
  void adopt_strays();
  void name_unnamed(const std::vector<std::string>& fresh) const;
  bool has_data(const CatalogEntry& entry) const;
  /// Before it is opened: errors are Storage, and Configuration when its folder holds what belongs to another database.
  /// What is kept elsewhere is not looked at: its data is there.
  Result<FolderContent> look_into(const CatalogEntry& entry) const;
  /// Which data it has from now on. In the database's turn, or before run(): no other command changes its entry. Errors:
  /// Storage.
  Result<void> note_opened(const CatalogEntry& opened, const FolderContent& before);
  /// The same of one that runs: a bootstrap gave it other data.
  Task<void> note_data(DatabasePointer database);
  Result<CatalogEntry> put(CatalogEntry entry);
  /// As put(), of an entry that others change as well: `change` gets what is now, again and again until nothing came in
  /// between. Errors: what it says; Storage.
  Result<void> amend(const std::string& name, const std::function<Result<void>(CatalogEntry&)>& change);
  void keep_beside(const CatalogEntry& entry) const;

  // What a command began is finished by these, however often they were begun. They block.
  Result<DeletedDatabase> finish_delete(CatalogEntry entry);
  Result<CatalogEntry> finish_replace(CatalogEntry entry);
  /// Absent: it was deleted.
  Result<std::optional<CatalogEntry>> finish_change(CatalogEntry entry);
  Result<void> move_aside(const std::filesystem::path& folder, const std::string& name) const;

  // They block.
  Result<void> open_all();
  void agree_to_deletions(const CatalogEntry& entry, const DatabaseEngine& engine);
  bool is_wanted(const CatalogEntry& opened) const;
  struct Opening;
  void begin_opening(const CatalogEntry& entry);
  Result<DatabasePointer> open_at_start(const CatalogEntry& entry);
  void settle_opened(const CatalogEntry& entry, const Result<DatabasePointer>& opened);
  Result<CatalogEntry> with_mirror_id(CatalogEntry entry);
  Result<DatabasePointer> open_database(const CatalogEntry& entry);
  Result<DatabasePointer> open_and_list(CatalogEntry entry);
  Result<DatabasePointer> open_made(const CatalogEntry& entry);
  Result<DatabasePointer> open_anew(CatalogEntry entry);
  Result<DatabasePointer> open_replaced(const CatalogEntry& entry);
  Result<DatabasePointer> finish_or_note(const CatalogEntry& entry, DeletedDatabase& deleted);

  Result<void> check_free(const std::string& name) const;
  Result<CatalogEntry> plan_database(const std::string& name, std::optional<std::vector<std::string>> allow_mirrors,
                                     bool anew) const;
  /// Absent: the very mirror is there already.
  Result<std::optional<CatalogEntry>> plan_new_mirror(const std::string& name, const MirrorSpec& spec,
                                                      const std::optional<EtcdPlace>& etcd, bool replace) const;
  std::vector<std::string> set_aside_before(const std::string& name, const std::string& but) const;
  Task<void> look_at_target(std::string name);
  Result<CatalogEntry> plan_delete(const std::string& name, const DeleteOptions& options) const;
  Result<CatalogEntry> plan_delete_root(const std::string& name, bool followed) const;
  static Task<DeletedDatabase> carry_out_delete(std::shared_ptr<Impl> self, CatalogEntry planned);
  void list_database(const DatabasePointer& database, const CatalogEntry& entry);
  void start_mirror(const DatabasePointer& database);
  static void log_detail(HostedDatabase& database, std::set<std::string>& with_detail);
  static std::optional<MirrorError> forget(const EngineRequest& request);
  std::string free_set_aside(const std::string& name) const;

  DatabaseConfig config_with_settings(const CatalogEntry& entry) const;  ///< with settings_mutex held
  MirrorError unknown(std::string_view name) const;
  void take_settings(const NodeConfig& fresh);
  bool has_list_in_config(const std::string& name) const;
  bool is_in_config(const std::string& name) const;
  Result<void> check_not_in_config(const std::string& name) const;
  void apply_lists();
  /// Null: the caller of the command has left; it is logged, and not to be begun.
  awaitable<CommandTurns::Held> take_turn(std::string command, std::string database, CommandCaller caller);
  Task<void> note_promoted(std::string name, bool promoted);
  Task<void> note(std::string name, std::function<void(CatalogEntry&)> change);
  static awaitable<void> note_found_promoted(std::shared_ptr<Impl> self, std::string name);
  /// Which databases mirrors follow, before a restart and after it. Looks again and again.
  static awaitable<void> note_followed(std::shared_ptr<Impl> self);
  static awaitable<void> note_found_data(std::shared_ptr<Impl> self, DatabasePointer database);
  /// Ends what may not go on. With settings_mutex held.
  void judge_connections(bool same_authorities);
  void judge_source(HostedDatabase& database, bool same_authorities) const;
  std::string_view objection(const std::string& serial, std::chrono::system_clock::time_point not_after) const;

  static awaitable<void> run_mirror(DatabasePointer database);
  static awaitable<void> look_at_mirrors(std::shared_ptr<Impl> self);
  static awaitable<void> open_rest(std::shared_ptr<Impl> self);
  /// When a database that is not open is tried again.
  struct Retry {
    std::chrono::milliseconds wait{1000};
    std::chrono::steady_clock::time_point next;
  };
  void try_rest(std::map<std::string, Retry>& retries);
  static awaitable<void> open_again(std::shared_ptr<Impl> self, CatalogEntry entry);
  static awaitable<void> open_here_again(std::shared_ptr<Impl> self, std::string name);
  static awaitable<void> open_elsewhere_again(std::shared_ptr<Impl> self, CatalogEntry entry);
  void go_on_opening();
  static awaitable<void> finish_opening(std::shared_ptr<Impl> self, std::shared_ptr<Opening> opening);
  static awaitable<void> take_over_elsewhere(std::shared_ptr<Impl> self, CatalogEntry entry,
                                             Result<DatabasePointer> opened);
  /// What was opened, or not, for a database that is another by now, or none.
  static awaitable<void> close_dropped(std::shared_ptr<Impl> self, CatalogEntry entry, Result<DatabasePointer> opened);
  void note_not_open(const CatalogEntry& entry, const MirrorError& error);
  /// Did it take writes at its end? Absent: the node stops, and it is not closed.
  static awaitable<std::optional<bool>> retire(std::shared_ptr<Impl> self, std::string name);
  const boost::asio::any_io_executor& executor_of(const CatalogEntry& entry) const {
    return kept_elsewhere(entry) ? context.executors.elsewhere : context.executors.files;
  }
  // On an engine thread, awaited.
  static Task<void> blocking(boost::asio::any_io_executor executor, std::move_only_function<Result<void>()> work);
  Task<DatabasePointer> opening(const CatalogEntry& entry, std::move_only_function<Result<DatabasePointer>()> work);

  /// Of the databases, their defaults and the certificates in `config`, and of those in `context`: a reload changes
  /// them while engine threads open databases. Held as well while a database is listed, so that none misses a reload.
  mutable std::mutex settings_mutex;
  NodeConfig config;
  const std::shared_ptr<RocksdbResources> resources = RocksdbResources::make(config.memory);
  base::FileLock folder_lock;  ///< of data_dir
  Catalog catalog;
  HostingContext context;
  const StepListener on_step;
  DatabaseList list;
  CommandTurns turns;
  std::string authorities;  ///< what the CA file says
  async::StopEvent stop;
  std::stop_source node_stop;  ///< of what is asked of clusters, on threads of its own
  std::optional<async::TaskGroup> group;
  bool stopping = false;
  /// Which are not opened as long as this config holds, and why. Not changed once the node is open.
  std::map<std::string, MirrorError> refused;
  // On run()'s thread, once it runs.
  std::set<std::string> being_opened;
  /// Begun at the start, and under way since then.
  struct Opening {
    Opening(CatalogEntry of, std::future<Result<DatabasePointer>> outcome)
        : entry(std::move(of)), result(std::move(outcome)) {}
    const CatalogEntry entry;
    std::future<Result<DatabasePointer>> result;
    async::StopEvent done;  ///< set after `result`
  };
  std::map<std::string, std::shared_ptr<Opening>> opening_since_start;
};

}  // namespace crosslink::node
