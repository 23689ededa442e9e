// A RocksDB that a test owns, what it offers of it, and mirrors of that.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/sst_file_writer.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/rocksdb_source.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {

inline constexpr std::uint32_t callers_chunk_bytes = 4096;

class CallersRocksdb : public ::testing::Test {
 protected:
  static rocksdb::Options usual() {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.write_buffer_size = 256 * 1024;
    return options;
  }
  void open_database(rocksdb::Options options = usual(), bool prepared = true) {
    if (prepared) RocksdbSource::prepare(options);
    rocksdb::DB* opened = nullptr;
    const auto status = rocksdb::DB::Open(options, (folder.path() / "own").string(), &opened);
    if (!status.ok()) throw std::runtime_error(status.ToString());
    database.reset(opened);
  }
  RocksdbSourceOptions beside() const {
    RocksdbSourceOptions options;
    options.folder = folder.path() / "beside";
    options.boot_id = boot_id;
    return options;
  }
  void open() {
    open_database();
    source = must(RocksdbSource::open(*database, beside()));
  }
  void close() {
    source.reset();
    database.reset();
  }
  std::string refused() const { return refusal(RocksdbSource::open(*database, beside())); }
  void put(const std::string& key, const std::string& value) const { ASSERT_TRUE(database->Put({}, key, value).ok()); }
  Contents contents() const {
    Contents all;
    const std::unique_ptr<rocksdb::Iterator> pairs(database->NewIterator({}));
    for (pairs->SeekToFirst(); pairs->Valid(); pairs->Next())
      all.emplace(pairs->key().ToString(), pairs->value().ToString());
    return all;
  }
  static Contents all(RocksdbDatabase& mirror) {
    Contents found;
    for (auto& [key, value] : scan(*must(mirror.view()), "", std::nullopt))
      found.emplace(key, value);
    return found;
  }
  std::unique_ptr<RocksdbDatabase> bootstrapped(const std::string& format) {
    RocksdbOptions options;
    options.folder = folder.path() / fmt::format("mirror {}", ++mirrors);
    auto mirror = must(RocksdbDatabase::open_mirror(options));
    const std::vector<std::string> formats{format};
    receive(*mirror, *must(source->open_snapshot(formats, std::nullopt)), callers_chunk_bytes);
    EXPECT_FALSE(must(mirror->check_snapshot()).cut_back_to);
    must(mirror->switch_snapshot());
    return mirror;
  }
  /// A table with one pair that overlaps nothing else: RocksDB gives it no sequence number and writes no log record.
  static void ingest(rocksdb::DB& into, const std::filesystem::path& folder, const std::string& key) {
    const auto table = (folder / "table.sst").string();
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), into.GetOptions());
    ASSERT_TRUE(writer.Open(table).ok() && writer.Put(key, "ingested").ok() && writer.Finish().ok());
    ASSERT_TRUE(into.IngestExternalFile({table}, {}).ok());
  }
  void follow(RocksdbDatabase& mirror) {
    while (position_of(mirror).applied_lsn < source->source_state().head)
      apply_slice(mirror, *source, 50'000);
  }

  TemporaryFolder folder;
  std::string boot_id = "first boot";
  std::unique_ptr<rocksdb::DB> database;
  std::unique_ptr<RocksdbSource> source;
  int mirrors = 0;
};

}  // namespace crosslink::test
