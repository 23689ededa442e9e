#include "node/hosting/hosted_database.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "node/hosting/applied_waiters.hpp"
#include "node/hosting/sync_gate.hpp"
#include "node/log.hpp"

namespace crosslink::node {

HostedDatabase::HostedDatabase(const HostingContext& context, DatabaseConfig config, const CatalogEntry& entry,
                               DatabaseEngine engine)
    : config_(std::move(config)),
      index_(entry.index),
      kind_(entry.kind),
      own_threads_(engine.local == nullptr ? own_threads(config_.name) : nullptr),
      engine_(std::move(engine)),
      mirror_id_(engine_.mirror_id.value_or(entry.mirror_id)),
      applied_waiters_(std::make_shared<AppliedWaiters>()),
      allow_mirrors_(config_.allow_mirrors) {
  if (kind_ == DatabaseKind::mirror && entry.mirror)
    mirror_ = std::make_shared<HostedMirror>(config_.name, *entry.mirror, make_mirror(context, *entry.mirror));
  if (!config_.sync_mirrors.empty() && engine_.local != nullptr) gate_ = make_gate(context, entry);
  if (context.make_clients) clients_ = context.make_clients(*this);
  // After the clients: from now on the engine tells of another history, on any thread.
  source_ = std::make_unique<DatabaseSource>(*engine_.source, engine_.verifiable, work_executor(context),
                                             source_options(context));
}

/// The source hears of the last commits, and clients are told of another history until there is no source.
HostedDatabase::~HostedDatabase() {
  fence();
  source_.reset();
}

boost::asio::any_io_executor HostedDatabase::work_executor(const HostingContext& context) const {
  return own_threads_ ? own_threads_->executor() : context.executors.links;
}

boost::asio::any_io_executor HostedDatabase::scan_executor(const HostingContext& context) const {
  return own_threads_ ? own_threads_->executor() : context.executors.scans;
}

DatabaseSourceOptions HostedDatabase::source_options(const HostingContext& context) {
  DatabaseSourceOptions options;
  options.name = context.cluster_id + "/" + config_.name;
  options.sync_mirrors = config_.sync_mirrors;
  options.scan_executor = scan_executor(context);
  options.stall_max = context.stall_max;
  options.bootstrap_away_max = config_.log_window.time;
  options.on_mirror_at = [this](const MirrorProgress& progress) {
    applied_waiters_->on_applied(progress.applied);
    // Of a mirror nothing is to be confirmed, and what is said of it now is not true of what it may be promoted with.
    if (!gate_ || !takes_writes()) return;
    const auto now = state();
    gate_->on_mirror_at(progress.peer_names, progress.mirror, {progress.incarnation, progress.durable},
                        {now.history.newest().incarnation, now.head});
  };
  options.on_log = [this](const CommittedLog& log) {
    if (clients_ && !takes_writes()) clients_->on_applied(log);
  };
  options.on_history_change = [this] {
    if (clients_) clients_->on_history_change();
    if (gate_) gate_->on_history_change();
    applied_waiters_->wake_all();  // whose write is gone need not wait
  };
  if (gate_) {
    options.on_sync_loss = config_.on_sync_loss;
    options.sync_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(config_.sync_timeout);
    options.sync_standing = [this](const std::vector<std::string>& names, const MirrorIdentity& mirror) {
      return gate_->standing(names, mirror);
    };
  }
  if (mirror_) {
    // Once promoted it is a root of its own: the old source may follow it then.
    options.upstream_chain = [this] {
      return takes_writes() ? std::vector<std::string>() : mirror_->mirror().facts().chain;
    };
    options.upstream_lag = [mirror = mirror_] { return mirror->mirror().lag(); };
  }
  return options;
}

std::unique_ptr<SyncGate> HostedDatabase::make_gate(const HostingContext& context, const CatalogEntry& entry) const {
  const auto file = engine_folder(context.data_dir, entry) / "sync_mirrors.json";
  auto counted = read_counted_mirrors(file);
  // Without it any mirror of the name would count anew: rather none does until an operator has said which.
  std::optional<MirrorError> unreadable;
  if (!counted) {
    unreadable = counted.error().with_context(
        "no mirror counts in sync mode until `crosslink db count-mirror` says which: what says it cannot be read");
    log(Severity::error, unreadable->message(), {{"database", config_.name}});
  }
  SyncGate::Options options;
  options.database = config_.name;
  options.config = {config_.sync_mirrors, config_.sync_timeout, config_.on_sync_loss};
  if (counted) options.counted = *std::move(counted);
  options.keep = [file, unreadable](const CountedMirrors& wanted, bool by_operator) -> Result<void> {
    if (unreadable && !by_operator) return *unreadable;
    return write_counted_mirrors(file, wanted);
  };
  return std::make_unique<SyncGate>(std::move(options));
}

std::unique_ptr<Mirror> HostedDatabase::make_mirror(const HostingContext& context, const MirrorSpec& spec) {
  quic::ClientConfig client;
  client.tls = context.tls;
  client.transport.congestion = spec.congestion;
  auto link = std::make_unique<CrossClusterLink>(ClusterId(spec.source_cluster), DatabaseId(spec.source_database),
                                                 spec.addresses, context.endpoint, std::move(client));
  MirrorOptions options;
  options.name = context.cluster_id + "/" + config_.name;
  options.id = mirror_id_;
  options.sync = spec.sync;
  options.resync_when_source_behind = spec.resync_when_source_behind;
  options.disconnected_after = context.disconnected_after;
  options.spill_folder = context.data_dir;
  options.scan_executor = scan_executor(context);
  options.min_free_bytes = config_.min_free_bytes;
  // Its own mirrors follow the data that goes.
  options.before_history_change = [this] { change_history(); };
  auto mirror = std::make_unique<Mirror>(std::move(link), *engine_.mirror, engine_.verifiable, work_executor(context),
                                         std::move(options));
  // A promoted one refuses both, and needs neither.
  if (spec.bandwidth_bytes_per_s > 0) static_cast<void>(mirror->set_bandwidth(spec.bandwidth_bytes_per_s));
  if (spec.paused) static_cast<void>(mirror->pause());
  return mirror;
}

std::optional<SyncFacts> HostedDatabase::sync_facts() const {
  if (!gate_) return std::nullopt;
  return gate_->facts();
}

std::optional<std::string> HostedDatabase::sync_standing(std::span<const std::string> peer_names,
                                                         const MirrorIdentity& mirror) const {
  const auto standing = gate_ ? gate_->standing(peer_names, mirror) : std::nullopt;
  return standing ? std::optional(std::string(to_string(*standing))) : std::nullopt;
}

Result<void> HostedDatabase::count_mirror(const MirrorId& id) {
  if (!gate_) return MirrorError::configuration(fmt::format("database '{}' names no mirrors in sync mode", name()));
  // One that came just now has not said how far it is, and is in the list that shows its id all the same.
  for (const auto& one : source_->mirrors())
    gate_->on_mirror_came(one.peer_names, one.mirror);
  const auto now = state();
  const auto head =
      now.history.empty() ? core::SyncPoint{} : core::SyncPoint{now.history.newest().incarnation, now.head};
  return gate_->count(id, head);
}

void HostedDatabase::change_history() {
  source_->end_sessions();
  if (gate_) gate_->on_history_change();
}

void HostedDatabase::stop_waiting() {
  if (gate_) gate_->stop();
  applied_waiters_->wake_all();
}

void HostedDatabase::fence() {
  if (clients_) clients_->fence();
}

void HostedDatabase::lift_fence() {
  if (clients_) clients_->lift_fence();
}

bool is_allowed(const std::optional<std::vector<std::string>>& allow_mirrors, std::span<const std::string> names) {
  if (!allow_mirrors) return true;
  return std::ranges::any_of(names, [&allow_mirrors](const std::string& name) {
    return std::ranges::any_of(*allow_mirrors,
                               [&name](const std::string& allowed) { return equal_ignoring_case(name, allowed); });
  });
}

bool HostedDatabase::allows(std::span<const std::string> names) const {
  const std::scoped_lock lock(allow_mutex_);
  return is_allowed(allow_mirrors_, names);
}

bool HostedDatabase::open_to_any_name() const {
  const std::scoped_lock lock(allow_mutex_);
  return !allow_mirrors_;
}

std::optional<std::vector<std::string>> HostedDatabase::allow_mirrors() const {
  const std::scoped_lock lock(allow_mutex_);
  return allow_mirrors_;
}

void HostedDatabase::set_allow_mirrors(std::optional<std::vector<std::string>> names) {
  const std::scoped_lock lock(allow_mutex_);
  allow_mirrors_ = std::move(names);
}

}  // namespace crosslink::node
