// What RocksDB tells of a program's own database while it is open: files that come in past the log, and which tables
// its compactions make others of.
#pragma once

#include <rocksdb/listener.h>

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "crosslink/result.hpp"

namespace crosslink::rocks {

/// Put into the options before the database is opened. Programs use one set of options for several databases: each is
/// told apart by its name, which is its folder. Thread safe.
class ChangeListener final : public rocksdb::EventListener {
 public:
  /// `on_change` is called when data came in past the log, on RocksDB's thread; it must not wait for RocksDB. True:
  /// that happened before, since the database was opened. Errors: Configuration when a caller listens for it already.
  Result<bool> listen(const std::string& database, std::function<void()> on_change);
  /// From now on it is remembered again.
  void ignore(const std::string& database);
  /// Was this table an input of a compaction since the database was opened?
  bool was_compacted(const std::string& database, std::uint64_t table) const;
  /// Was any?
  bool has_compacted(const std::string& database) const;
  /// Tables that flushes and compactions made since this was asked last.
  std::set<std::uint64_t> take_made(const std::string& database);
  /// These are gone, and are not asked for again.
  void forget(const std::string& database, const std::set<std::uint64_t>& tables);

  void OnExternalFileIngested(rocksdb::DB* database, const rocksdb::ExternalFileIngestionInfo&) override;
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status*) override;
  void OnFlushCompleted(rocksdb::DB* database, const rocksdb::FlushJobInfo& job) override;
  void OnCompactionBegin(rocksdb::DB* database, const rocksdb::CompactionJobInfo& job) override;
  void OnCompactionCompleted(rocksdb::DB* database, const rocksdb::CompactionJobInfo& job) override;

 private:
  struct OfDatabase {
    std::function<void()> on_change;
    bool changed = false, has_compacted = false;
    std::set<std::uint64_t> compacted, made;
    void tell();
    void keep_within_bounds();
  };
  mutable std::mutex mutex_;
  std::map<std::string, OfDatabase> databases_;
};

/// The number in a table's path; 0: it has none.
std::uint64_t number_of_table(const std::string& path);

}  // namespace crosslink::rocks
