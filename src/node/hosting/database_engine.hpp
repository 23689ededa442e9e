// Where a node's database keeps its data: an engine behind the interfaces, whichever it is.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "crosslink/engine.hpp"
#include "crosslink/etcd_engine.hpp"
#include "crosslink/result.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "node/config.hpp"
#include "node/hosting/catalog.hpp"

namespace crosslink::node {

/// One open engine. Its parts live as long as `owner`.
struct DatabaseEngine {
  std::shared_ptr<void> owner;
  SourceEngine* source = nullptr;
  MirrorEngine* mirror = nullptr;          ///< null: it cannot be a mirror
  VerifiableEngine* verifiable = nullptr;  ///< null: it cannot be verified
  RocksdbDatabase* local = nullptr;        ///< what clients read and write; null: they do so elsewhere
  std::string kept_at;                     ///< for people
  /// Could a mirror there follow a root of that incarnation in that cluster, whose head is there (no_snapshot:
  /// unknown)? Null: any.
  std::function<Result<void>(const Incarnation& source, const std::string& cluster, Lsn head)> may_follow = nullptr;
  /// Of a mirror that several nodes may follow for: the same at all of them. Absent: the catalog's.
  std::optional<MirrorId> mirror_id = std::nullopt;
  /// Of a mirror that is kept among keys of others: EtcdDatabase's functions of these names. Null: of any other.
  std::function<Result<EtcdSurvey>(const std::optional<std::string>& source_prefix)> survey = nullptr;
  std::function<Result<void>(std::int64_t revision)> agree_to_deletions = nullptr;
  std::function<std::int64_t()> shown_deletions = nullptr;
  /// Of a mirror that is kept elsewhere: EtcdDatabase::check_target. Null: of any other.
  std::function<Result<void>()> check_target = nullptr;
};

/// What an engine is opened with.
struct EngineRequest {
  DatabaseConfig config;
  CatalogEntry entry;
  std::filesystem::path data_dir;
  std::string cluster_id;
  std::string node_id;                                    ///< tells this node from others of its cluster
  std::shared_ptr<RocksdbResources> resources = nullptr;  ///< of all databases of the node
  std::stop_token stop = {};                              ///< the node stops: what a cluster is asked is not waited for
};

/// What the node keeps of a database: all of it, or what stands beside a cluster that keeps it.
std::filesystem::path engine_folder(const std::filesystem::path& data_dir, const CatalogEntry& entry);

/// The same of an engine of any kind, for a database whose kind changed.
std::vector<std::filesystem::path> engine_folders(const std::filesystem::path& data_dir, const std::string& name);
/// For people: where its data is, whether or not that can be opened.
std::string kept_at(const std::filesystem::path& data_dir, const CatalogEntry& entry);

/// Which data is in a RocksDB database's folder: a name that was drawn when it was made, or came with a snapshot, and
/// that every copy of it has. Empty: there is none. Errors: Storage.
Result<std::string> data_id(const std::filesystem::path& data_dir, const CatalogEntry& entry);

/// Opens what stands there, or makes it empty: a root, or a database to become a mirror. Blocks. Errors: Storage;
/// NotAuthorized; Configuration when the folder is in use, or holds a root where a mirror is wanted.
Result<DatabaseEngine> open_engine(const EngineRequest& request);

/// Is another process in charge of whether it can be opened now? Then it is worth trying again.
bool kept_elsewhere(const CatalogEntry& entry);

/// Removes what a mirror left of its position elsewhere than in its folder, so that the next one of that name begins
/// anew; the data stays. Its engine is closed. Blocks. Errors: as open_engine; Busy while another node follows with it.
/// MirrorPromoted when another node promoted it, or this one and `entry.promoted` does not say so.
Result<void> forget_position(const EngineRequest& request);
/// Of an error of forget_position(): the record is there for others, who go on with it.
bool is_in_use(const MirrorError& forgotten);

}  // namespace crosslink::node
