#include "node/config_changes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace crosslink::node {
namespace {

class Changes {
 public:
  template <class T>
  void compare(std::string_view key, const T& before, const T& now) {
    if (before != now) keys.push_back(where + std::string(key));
  }
  /// All but the list, which holds at once.
  void compare_databases(const std::string& place, const DatabaseConfig& before, const DatabaseConfig& now) {
    where = place + ".";
    compare("engine", before.etcd.has_value(), now.etcd.has_value());
    if (before.etcd && now.etcd) compare("engine's keys", *before.etcd, *now.etcd);
    compare("sync", before.sync, now.sync);
    compare("compression", before.compression, now.compression);
    compare("cache_bytes", before.cache_bytes, now.cache_bytes);
    compare("min_free_bytes", before.min_free_bytes, now.min_free_bytes);
    compare("log_window_bytes", before.log_window.bytes, now.log_window.bytes);
    compare("log_window_time", before.log_window.time, now.log_window.time);
    compare("log_budget_bytes", before.log_window.budget_bytes, now.log_window.budget_bytes);
    compare("snapshot_formats", before.snapshot_files, now.snapshot_files);
    compare("sync_mirrors", before.sync_mirrors, now.sync_mirrors);
    compare("sync_timeout", before.sync_timeout, now.sync_timeout);
    compare("on_sync_loss", before.on_sync_loss, now.on_sync_loss);
    compare("target_revisions_kept", before.target_revisions_kept, now.target_revisions_kept);
    where.clear();
  }
  std::string where;
  std::vector<std::string> keys;
};

auto address(const quic::HostPort& at) { return std::tie(at.host, at.port); }

const DatabaseConfig* table_of(const NodeConfig& config, std::string_view name) {
  const auto found = std::ranges::find(config.databases, name, &DatabaseConfig::name);
  return found == config.databases.end() ? nullptr : &*found;
}

}  // namespace

std::vector<std::string> needs_restart(const NodeConfig& running, const NodeConfig& fresh,
                                       const std::function<bool(std::string_view name)>& is_known) {
  Changes changes;
  changes.compare("cluster_id", running.cluster_id, fresh.cluster_id);
  changes.compare("data_dir", running.data_dir, fresh.data_dir);
  changes.compare("listen.mirrors", address(running.mirrors), address(fresh.mirrors));
  changes.compare("listen.clients", address(running.clients), address(fresh.clients));
  changes.compare("listen.admin", address(running.admin), address(fresh.admin));
  changes.compare("clients.connections_max", running.clients_max, fresh.clients_max);
  changes.compare("clients.buffers_bytes", running.clients_buffers_bytes, fresh.clients_buffers_bytes);
  changes.compare("source.mirrors_per_name_max", running.mirrors_per_name_max, fresh.mirrors_per_name_max);
  changes.compare("source.mirrors_max", running.mirrors_max, fresh.mirrors_max);
  changes.compare("source.stall_max", running.stall_max, fresh.stall_max);
  changes.compare("memory.cache_bytes", running.memory.cache_bytes, fresh.memory.cache_bytes);
  changes.compare("memory.write_buffers_bytes", running.memory.write_buffers_bytes, fresh.memory.write_buffers_bytes);
  changes.compare("mirror.disconnected_after", running.disconnected_after, fresh.disconnected_after);
  changes.compare_databases("database_defaults", running.database_defaults, fresh.database_defaults);
  for (const auto& now : fresh.databases) {
    const auto* const before = table_of(running, now.name);
    if (before == nullptr && !is_known(now.name)) {
      changes.keys.push_back(fmt::format("database '{}', which is new", now.name));
      continue;
    }
    changes.compare_databases(fmt::format("database '{}'", now.name),
                              before != nullptr ? *before : running.database_defaults, now);
  }
  for (const auto& before : running.databases) {
    if (table_of(fresh, before.name) != nullptr || !is_known(before.name)) continue;
    changes.compare_databases(fmt::format("database '{}'", before.name), before, fresh.database_defaults);
  }
  return changes.keys;
}

}  // namespace crosslink::node
