// What a node is told by its config file, in TOML. `crosslink config generate` prints one with every key.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/database_source.hpp"
#include "crosslink/etcd_engine.hpp"
#include "crosslink/mirror.hpp"
#include "crosslink/quic/config.hpp"
#include "crosslink/quic/endpoint.hpp"
#include "crosslink/result.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/source.hpp"
#include "crosslink/types.hpp"
#include "node/hosting/etcd_place.hpp"
#include "session/sync_rule.hpp"

namespace crosslink::node {

/// In a list of names that may mirror a database: every name that the CA signed.
inline constexpr std::string_view any_mirror = "*";

/// A key that sets an option of the library has that option's default, unless its comment says why not.
struct DatabaseConfig {
  std::string name;
  /// The etcd cluster that keeps it; absent: RocksDB, below data_dir. Never of database_defaults.
  std::optional<EtcdPlace> etcd;
  /// Certificate names of clusters that may mirror it, or any_mirror. Absent: this table does not say; of a hosted
  /// database, where all that is said was put together (hosting_settings.cpp): any that our CA signed.
  std::optional<std::vector<std::string>> allow_mirrors;
  RocksdbSync sync = RocksdbOptions().sync;
  RocksdbCompression compression = RocksdbOptions().compression;
  std::optional<std::uint64_t> cache_bytes = RocksdbOptions().cache_bytes;
  RocksdbLogWindow log_window;
  bool snapshot_files = RocksdbOptions().snapshot_files;
  /// What a mirror's bootstrap, and entries that wait until they are whole, leave free on the disk.
  std::uint64_t min_free_bytes = RocksdbOptions().min_free_bytes;
  /// Certificate names of mirrors in sync mode: a write is answered OK once it is durable at each of them. With them
  /// `sync` is always.
  std::vector<std::string> sync_mirrors;
  std::chrono::milliseconds sync_timeout = DatabaseSourceOptions().sync_timeout;
  OnSyncLoss on_sync_loss = DatabaseSourceOptions().on_sync_loss;
  /// Of a mirror in etcd whose command says nothing else: what EtcdOptions says.
  std::uint64_t target_revisions_kept = EtcdOptions().target_revisions_kept;
};

struct NodeConfig {
  std::string cluster_id;
  std::filesystem::path data_dir;  ///< relative paths are relative to the config file's folder, here and below
  quic::HostPort mirrors;          ///< QUIC
  quic::HostPort clients;          ///< RESP
  quic::HostPort admin;            ///< HTTP; with TLS unless it is loopback
  quic::TlsFiles tls;
  /// Of certificates that are let in no more, in the form of quic::DeniedSerials.
  std::set<std::string> denied_serials;
  std::optional<std::string> client_password;
  std::uint32_t clients_max = 10'000;
  /// What all connections together may hold of commands and answers beyond 64 KiB each.
  std::uint64_t clients_buffers_bytes = 1024ull * 1024 * 1024;
  /// Sessions of mirrors at once: of one certificate name with one database, and all.
  std::uint32_t mirrors_per_name_max = AcceptorLimits().mirrors_per_name_max,
                mirrors_max = AcceptorLimits().mirrors_max;
  /// DatabaseSourceOptions::stall_max.
  std::chrono::seconds stall_max = DatabaseSourceOptions().stall_max;
  /// Of mirrors: without a control frame for this long the status is Disconnected.
  std::chrono::milliseconds disconnected_after = MirrorOptions().disconnected_after;
  /// What the databases in RocksDB share. Its threads are not configured.
  RocksdbResources::Options memory;
  std::vector<DatabaseConfig> databases;
  DatabaseConfig database_defaults;  ///< of mirrors and databases made by command; without a name
};

/// `[A-Za-z0-9_.-]{1,64}`, no leading dot: it becomes a folder's name.
bool is_database_name(std::string_view name);
/// The same for one that is made now: no number, which SELECT takes for an index.
bool is_new_database_name(std::string_view name);

/// Errors: Configuration, naming the key, and the line where TOML itself is broken.
Result<NodeConfig> parse_config(std::string_view text, const std::filesystem::path& folder);
/// Errors: Configuration (unreadable, over 1 MiB, as parse_config).
Result<NodeConfig> load_config(const std::filesystem::path& file);
/// A commented config with every key; parse_config takes it.
std::string_view example_config();

}  // namespace crosslink::node
