#include "node/database_engine.hpp"

#include <fmt/format.h>

#include <utility>

#include "node/certificate_watch.hpp"
#include "node/durable_file.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

RocksdbOptions rocksdb_options(const EngineWish& wish) {
  const auto& config = wish.config;
  RocksdbOptions options;
  options.folder = engine_folder(wish.data_dir, wish.entry);
  options.sync = config.sync;
  options.compression = config.compression;
  options.cache_bytes = config.cache_bytes;
  options.log_window = config.log_window;
  options.min_free_bytes = config.min_free_bytes;
  options.on_warning = [name = wish.entry.name](const std::string& what) {
    log(Severity::warning, what, {{"database", name}});
  };
  options.snapshot_files = config.snapshot_files;
  return options;
}

Result<DatabaseEngine> open_rocksdb(const EngineWish& wish) {
  auto options = rocksdb_options(wish);
  const auto folder = options.folder;
  std::error_code error;
  // `live` is the first thing a database has of its own.
  const bool there = std::filesystem::exists(folder / "live", error);
  if (error)
    return MirrorError(ErrorKind::Storage, CausedBy::us,
                       fmt::format("{} cannot be looked at: {}", folder.string(), error.message()));
  if (!there && wish.entry.made) {
    return MirrorError(
        ErrorKind::Storage, CausedBy::us,
        fmt::format("its data was in {} and is not there now: is the volume mounted? It is not made anew by itself",
                    folder.string()));
  }
  auto opened = there                                   ? RocksdbDatabase::open(std::move(options))
                : wish.entry.kind == DatabaseKind::root ? RocksdbDatabase::open_root(std::move(options))
                                                        : RocksdbDatabase::open_mirror(std::move(options));
  if (!opened) return opened.error();
  auto owner = std::shared_ptr<RocksdbDatabase>(*std::move(opened));
  if (wish.entry.kind == DatabaseKind::mirror && owner->role() == DatabaseRole::root) {
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

EtcdOptions etcd_options(const EngineWish& wish) {
  EtcdOptions options;
  options.cluster = wish.entry.etcd->cluster;
  options.prefix = wish.entry.etcd->prefix;
  options.excludes = wish.entry.etcd->excludes;
  options.crosslink_cluster = wish.cluster_id;
  options.folder = engine_folder(wish.data_dir, wish.entry);
  options.name = wish.entry.name;
  options.node = wish.node_id;
  options.log_window_bytes = wish.config.log_window.bytes;
  options.log_budget_bytes = wish.config.log_window.budget_bytes;
  options.target_revisions_kept = wish.entry.etcd->target_revisions_kept.value_or(wish.config.target_revisions_kept);
  options.min_free_bytes = wish.config.min_free_bytes;
  options.on_warning = [name = wish.entry.name](const std::string& what) {
    log(Severity::warning, what, {{"database", name}});
  };
  options.on_deletions = [mirror = wish.entry.name](const EtcdDeletions& deletions) {
    log_deletions(mirror, deletions);
  };
  return options;
}

Result<DatabaseEngine> open_etcd(const EngineWish& wish) {
  // Made by a version that allowed what is not allowed now: it goes on, and is told each time.
  if (const auto place = check_etcd_place(*wish.entry.etcd); !place) {
    log(Severity::warning, "a database would not be made like this any more",
        {{"database", wish.entry.name}, {"message", place.error().message()}});
  }
  // The engine itself does not judge who else may read a key.
  if (auto good = check_certificates(certificate_set_of(wish.entry.name, wish.entry.etcd->cluster)); !good)
    return good.error();
  auto options = etcd_options(wish);
  auto opened = wish.entry.kind == DatabaseKind::root ? EtcdDatabase::open_root(std::move(options))
                                                      : EtcdDatabase::open_mirror(std::move(options));
  if (!opened) return opened.error();
  auto owner = std::shared_ptr<EtcdDatabase>(*std::move(opened));
  auto* const database = owner.get();
  auto may_follow = [database](const Incarnation& source, const std::string& cluster, Lsn head) {
    return database->may_follow(source, cluster, head);
  };
  DatabaseEngine engine{
      std::move(owner),     database, database, database, nullptr, to_text(*wish.entry.etcd), std::move(may_follow),
      database->mirror_id()};
  if (wish.entry.kind == DatabaseKind::root) return engine;
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
  auto named = read_small_file(engine_folder(data_dir, entry) / "live", bytes_max);
  // What is no name of ours is damaged: opening it says so.
  return named && !is_database_name(*named) ? std::string() : named;
}

Result<DatabaseEngine> open_engine(const EngineWish& wish) {
  auto opened = wish.entry.etcd ? open_etcd(wish) : open_rocksdb(wish);
  if (!opened) return opened.error().with_context(fmt::format("database {}", wish.entry.name));
  return opened;
}

Result<void> forget_position(const EngineWish& wish) {
  if (!wish.entry.etcd || wish.entry.kind == DatabaseKind::root) return {};
  auto opened = EtcdDatabase::open_mirror(etcd_options(wish));
  if (!opened) return opened.error();
  return (*opened)->forget();
}

}  // namespace crosslink::node
