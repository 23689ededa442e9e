#include "node/database_engine.hpp"

#include <fmt/format.h>

#include <utility>

namespace crosslink::node {
namespace {

RocksdbOptions engine_options(const DatabaseConfig& config, const std::filesystem::path& folder) {
  RocksdbOptions options;
  options.folder = folder;
  options.sync = config.sync;
  options.compression = config.compression;
  options.cache_bytes = config.cache_bytes;
  options.log_window = config.log_window;
  return options;
}

Result<std::unique_ptr<RocksdbDatabase>> open_rocksdb(RocksdbOptions options, DatabaseKind kind) {
  std::error_code error;
  // `live` is the first thing a database has of its own.
  if (std::filesystem::exists(options.folder / "live", error)) return RocksdbDatabase::open(std::move(options));
  return kind == DatabaseKind::root ? RocksdbDatabase::open_root(std::move(options))
                                    : RocksdbDatabase::open_mirror(std::move(options));
}

}  // namespace

Result<DatabaseEngine> open_engine(const DatabaseConfig& config, DatabaseKind kind,
                                   const std::filesystem::path& folder) {
  auto opened = open_rocksdb(engine_options(config, folder), kind);
  if (!opened) return opened.error().with_context(fmt::format("database {}", config.name));
  auto owner = std::shared_ptr<RocksdbDatabase>(*std::move(opened));
  if (kind == DatabaseKind::mirror && owner->source_state().role == DatabaseRole::root) {
    return MirrorError::configuration(fmt::format(
        "database {} is to be a mirror, but {} holds one that takes writes: move it away, or replace it by command",
        config.name, folder.string()));
  }
  auto* const database = owner.get();
  return DatabaseEngine{std::move(owner), database, database, database, database};
}

}  // namespace crosslink::node
