#include "engine/rocksdb/resources.hpp"

#include <rocksdb/cache.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <utility>

namespace crosslink {

RocksdbResources::Impl::Impl(const Options& options)
    : cache(rocksdb::NewLRUCache(static_cast<std::size_t>(options.cache_bytes))),
      write_buffers(
          std::make_shared<rocksdb::WriteBufferManager>(static_cast<std::size_t>(options.write_buffers_bytes))),
      upkeep(std::max<std::size_t>(options.threads, 1)) {}

std::shared_ptr<RocksdbResources> RocksdbResources::make(const Options& options) {
  return std::shared_ptr<RocksdbResources>(new RocksdbResources(std::make_unique<Impl>(options)));
}

RocksdbResources::RocksdbResources(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RocksdbResources::~RocksdbResources() = default;

}  // namespace crosslink
