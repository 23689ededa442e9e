// What RocksdbResources is made of.
#pragma once

#include <cstdint>
#include <memory>

#include "crosslink/rocksdb_engine.hpp"
#include "engine/rocksdb/upkeep.hpp"

namespace rocksdb {
class Cache;
class WriteBufferManager;
}  // namespace rocksdb

namespace crosslink {

/// Of a database that shares nothing.
inline constexpr std::uint64_t rocksdb_cache_bytes = 64ull * 1024 * 1024;

struct RocksdbResources::Impl {
  explicit Impl(const Options& options);
  const std::shared_ptr<rocksdb::Cache> cache;
  const std::shared_ptr<rocksdb::WriteBufferManager> write_buffers;
  rocks::Upkeep upkeep;
};

}  // namespace crosslink
