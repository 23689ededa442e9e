// Hosted databases in a folder of the test's own.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "engine/rocksdb/snapshot_store.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {

inline constexpr std::uint32_t chunk_bytes = 4096;

class RocksdbEngine : public ::testing::Test {
 protected:
  RocksdbOptions options(const std::string& name) const {
    RocksdbOptions chosen;
    chosen.folder = folder.path() / name;
    chosen.sync = RocksdbSync::never;
    return chosen;
  }
  std::unique_ptr<RocksdbDatabase> root(const std::string& name = "root") const {
    return must(RocksdbDatabase::open_root(options(name)));
  }
  std::unique_ptr<RocksdbDatabase> mirror(const std::string& name = "mirror") const {
    return must(RocksdbDatabase::open_mirror(options(name)));
  }
  static Lsn put(RocksdbDatabase& database, const std::string& key, const std::string& value) {
    const std::array operations{Operation::put(key, value)};
    return must(database.commit(operations));
  }
  static void fill(RocksdbDatabase& database, int keys, std::size_t value_bytes) {
    for (int i = 0; i < keys; ++i)
      put(database, fmt::format("key{:06}", i), std::string(value_bytes, static_cast<char>('a' + i % 26)));
  }
  static Contents all(RocksdbDatabase& database) {
    Contents contents;
    for (auto& [key, value] : scan(*must(database.view()), "", std::nullopt))
      contents.emplace(key, value);
    return contents;
  }
  static std::shared_ptr<SnapshotReader> open_as(RocksdbDatabase& source, const std::string& format,
                                                 const std::optional<SnapshotId>& wanted = {}) {
    const std::vector<std::string> formats{format};
    return must(source.open_snapshot(formats, wanted));
  }
  /// What the database does by itself, within a second or so.
  static bool comes(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition() && std::chrono::steady_clock::now() < until)
      std::this_thread::yield();
    return condition();
  }
  static std::string own_format() { return rocks::checkpoint_format(RocksdbCompression::lz4); }
  static std::string raw_error(const Result<std::unique_ptr<RocksdbDatabase>>& opened) { return refusal(opened); }

  TemporaryFolder folder;
};

}  // namespace crosslink::test
