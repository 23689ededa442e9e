// One database of a node: its engine, who writes to it, who mirrors it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "crosslink/database_source.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "node/commit_queue.hpp"
#include "node/config.hpp"

namespace crosslink::node {

/// Where SCANs go on. Bounded: the one that was used longest ago is forgotten, and its cursor is an error then. Thread
/// safe.
class ScanCursors {
 public:
  static constexpr std::size_t cursors_max = 4096;
  /// A new cursor that stands before `key`. Never 0.
  std::uint64_t add(std::string key);
  /// Where it stands; again and again, as long as it is known. Absent: it was forgotten, or never was.
  std::optional<std::string> find(std::uint64_t cursor);

 private:
  std::mutex mutex_;
  std::uint64_t last_ = 0;
  std::list<std::pair<std::uint64_t, std::string>> by_age_;
  std::unordered_map<std::uint64_t, std::list<std::pair<std::uint64_t, std::string>>::iterator> by_number_;
};

class HostedDatabase {
 public:
  /// Opens the root in `folder`. Errors: those of RocksdbDatabase::open_root.
  static Result<std::unique_ptr<HostedDatabase>> open(const DatabaseConfig& config, const std::string& cluster_id,
                                                      const std::filesystem::path& folder,
                                                      boost::asio::any_io_executor engine_executor);
  HostedDatabase(const DatabaseConfig& config, const std::string& cluster_id, std::unique_ptr<RocksdbDatabase> engine,
                 boost::asio::any_io_executor engine_executor);

  const std::string& name() const { return config_.name; }
  const DatabaseConfig& config() const { return config_; }
  RocksdbDatabase& engine() { return *engine_; }
  DatabaseSource& source() { return source_; }
  CommitQueue& commits() { return commits_; }
  WatchTable& watches() { return watches_; }
  ScanCursors& cursors() { return cursors_; }
  /// May a mirror with one of these certificate names follow it?
  bool allows(std::span<const std::string> names) const;
  bool takes_writes() const { return engine_->source_state().role != DatabaseRole::mirror; }
  /// How many keys there are, exactly: counts them, unless nothing was committed since it last did. Blocks. Errors:
  /// Storage.
  Result<std::uint64_t> count_keys();
  /// The count, if nothing was committed since.
  std::optional<std::uint64_t> known_count() const;

 private:
  const DatabaseConfig config_;
  const std::unique_ptr<RocksdbDatabase> engine_;
  DatabaseSource source_;
  WatchTable watches_;
  ScanCursors cursors_;
  struct Count {
    Lsn lsn;
    std::uint64_t keys = 0;
  };
  mutable std::mutex count_mutex_;
  std::optional<Count> count_;
  CommitQueue commits_;  // last: its thread ends first
};

}  // namespace crosslink::node
