#include "node/hosting/database_engine.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/files.hpp"
#include "node/certificate_watch.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

RocksdbOptions rocksdb_options(const EngineRequest& request) {
  const auto& config = request.config;
  RocksdbOptions options;
  options.folder = engine_folder(request.data_dir, request.entry);
  options.sync = config.sync;
  options.compression = config.compression;
  options.resources = request.resources;
  options.cache_bytes = config.cache_bytes;
  options.log_window = config.log_window;
  options.min_free_bytes = config.min_free_bytes;
  options.on_warning = [name = request.entry.name](const std::string& what) {
    log(Severity::warning, what, {{"database", name}});
  };
  options.snapshot_files = config.snapshot_files;
  return options;
}

Result<DatabaseEngine> open_rocksdb(const EngineRequest& request) {
  auto options = rocksdb_options(request);
  const auto folder = options.folder;
  std::error_code error;
  // `live` is the first thing a database has of its own.
  const bool there = std::filesystem::exists(folder / "live", error);
  if (error)
    return MirrorError(ErrorKind::Storage, CausedBy::us,
                       fmt::format("{} cannot be looked at: {}", folder.string(), error.message()));
  if (!there && request.entry.made) {
    return MirrorError(
        ErrorKind::Storage, CausedBy::us,
        fmt::format("its data was in {} and is not there now: is the volume mounted? It is not made anew by itself",
                    folder.string()));
  }
  auto opened = there                                      ? RocksdbDatabase::open(std::move(options))
                : request.entry.kind == DatabaseKind::root ? RocksdbDatabase::open_root(std::move(options))
                                                           : RocksdbDatabase::open_mirror(std::move(options));
  if (!opened) return opened.error();
  auto owner = std::shared_ptr<RocksdbDatabase>(*std::move(opened));
  if (request.entry.kind == DatabaseKind::mirror && owner->role() == DatabaseRole::root) {
    return MirrorError::configuration(
        fmt::format("it is to be a mirror, but {} holds one that takes writes: move it away, or replace it by command",
                    folder.string()));
  }
  auto* const database = owner.get();
  return DatabaseEngine{std::move(owner), database, database, database, database, folder.string()};
}

void log_deletions(const std::string& mirror, const EtcdDeletions& deletions) {
  std::vector<std::string> shown;
  shown.reserve(deletions.shown.size());
  for (const auto& key : deletions.shown)
    shown.push_back(escape(key, 200));
  log(Severity::warning, "a bootstrap deletes keys that the source does not have",
      {{"mirror", mirror}, {"keys", fmt::format("{}", deletions.keys)}, {"such_as", joined(shown, ", ")}});
}

EtcdOptions etcd_options(const EngineRequest& request) {
  EtcdOptions options;
  options.cluster = request.entry.etcd->cluster;
  options.prefix = request.entry.etcd->prefix;
  options.excludes = request.entry.etcd->excludes;
  options.crosslink_cluster = request.cluster_id;
  options.folder = engine_folder(request.data_dir, request.entry);
  options.name = request.entry.name;
  options.node = request.node_id;
  options.stop = request.stop;
  options.log_window_bytes = request.config.log_window.bytes;
  options.log_budget_bytes = request.config.log_window.budget_bytes;
  options.target_revisions_kept =
      request.entry.etcd->target_revisions_kept.value_or(request.config.target_revisions_kept);
  options.min_free_bytes = request.config.min_free_bytes;
  options.on_warning = [name = request.entry.name](const std::string& what) {
    log(Severity::warning, what, {{"database", name}});
  };
  options.on_deletions = [mirror = request.entry.name](const EtcdDeletions& deletions) {
    log_deletions(mirror, deletions);
  };
  return options;
}

Result<DatabaseEngine> open_etcd(const EngineRequest& request) {
  // Made by a version that allowed what is not allowed now: it goes on, and is told each time.
  if (const auto place = check_etcd_place(*request.entry.etcd); !place) {
    log(Severity::warning, "a database would not be made like this any more",
        {{"database", request.entry.name}, {"message", place.error().message()}});
  }
  // The engine itself does not judge who else may read a key.
  if (auto good = check_certificates(certificate_set_of(request.entry.name, request.entry.etcd->cluster)); !good)
    return good.error();
  auto options = etcd_options(request);
  auto opened = request.entry.kind == DatabaseKind::root ? EtcdDatabase::open_root(std::move(options))
                                                         : EtcdDatabase::open_mirror(std::move(options));
  if (!opened) return opened.error();
  auto owner = std::shared_ptr<EtcdDatabase>(*std::move(opened));
  auto* const database = owner.get();
  auto may_follow = [database](const Incarnation& source, const std::string& cluster, Lsn head) {
    return database->may_follow(source, cluster, head);
  };
  DatabaseEngine engine{
      std::move(owner),     database, database, database, nullptr, to_text(*request.entry.etcd), std::move(may_follow),
      database->mirror_id()};
  if (request.entry.kind == DatabaseKind::root) return engine;
  engine.survey = [database](const std::optional<std::string>& source_prefix) {
    return database->survey(source_prefix);
  };
  engine.agree_to_deletions = [database](std::int64_t revision) { return database->agree_to_deletions(revision); };
  engine.shown_deletions = [database] { return database->shown_deletions(); };
  engine.check_target = [database] { return database->check_target(); };
  return engine;
}

}  // namespace

bool kept_elsewhere(const CatalogEntry& entry) { return entry.etcd.has_value(); }

std::string kept_at(const std::filesystem::path& data_dir, const CatalogEntry& entry) {
  return kept_elsewhere(entry) ? to_text(*entry.etcd) : engine_folder(data_dir, entry).string();
}

std::vector<std::filesystem::path> engine_folders(const std::filesystem::path& data_dir, const std::string& name) {
  return {data_dir / "databases" / name, data_dir / "beside" / name};
}

std::filesystem::path engine_folder(const std::filesystem::path& data_dir, const CatalogEntry& entry) {
  // A catalog that was lost is made anew from `databases`: what is no database must not stand there.
  return data_dir / (kept_elsewhere(entry) ? "beside" : "databases") / entry.name;
}

Result<std::string> data_id(const std::filesystem::path& data_dir, const CatalogEntry& entry) {
  constexpr std::uint64_t bytes_max = 4096;
  auto named = base::Files().read_text(engine_folder(data_dir, entry) / "live", bytes_max);
  // What is no name of ours is damaged: opening it says so.
  return named && !is_database_name(*named) ? std::string() : named;
}

Result<DatabaseEngine> open_engine(const EngineRequest& request) {
  auto opened = request.entry.etcd ? open_etcd(request) : open_rocksdb(request);
  if (!opened) return opened.error().with_context(fmt::format("database {}", request.entry.name));
  return opened;
}

Result<void> forget_position(const EngineRequest& request) {
  if (!request.entry.etcd || request.entry.kind == DatabaseKind::root) return {};
  auto opened = EtcdDatabase::open_mirror(etcd_options(request));
  if (!opened) return opened.error();
  return (*opened)->forget(request.entry.promoted ? ForgetPromoted::own : ForgetPromoted::no);
}

bool is_in_use(const MirrorError& forgotten) {
  return forgotten.kind() == ErrorKind::Busy || forgotten.kind() == ErrorKind::MirrorPromoted;
}

}  // namespace crosslink::node
