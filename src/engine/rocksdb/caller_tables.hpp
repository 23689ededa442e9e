// The tables of a program's own RocksDB: whether a mirror can read what is in them, and whether all of it came through
// the log.
#pragma once

#include <rocksdb/db.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "crosslink/result.hpp"
#include "crosslink/types.hpp"
#include "engine/rocksdb/change_listener.hpp"
#include "engine/rocksdb/env_disk.hpp"

namespace crosslink::rocks {

struct CallerTable {
  int level = 0;
  Lsn smallest;  ///< of its entries; 0 once a compaction found that it no longer matters
  bool was_ingested = false;
  std::string session;  ///< of the opening of a database in which it was made
  std::string compression;
  std::uint64_t merge_operands = 0;
};
/// Each live table of the default family, by its number, which no other table of the database ever has. Errors:
/// Storage.
Result<std::map<std::uint64_t, CallerTable>> list_tables(rocksdb::DB& database);

/// Errors: UnsupportedOperation when they hold what no mirror reads right, by its name.
Result<void> check_tables(const std::map<std::uint64_t, CallerTable>& tables);
/// Errors: UnsupportedOperation when there are others than the default one; Storage.
Result<void> check_families(rocksdb::DB& database);

/// The snapshot format in which these tables can be given away as files; empty: only as pairs.
std::string files_format(rocksdb::DB& database, const std::map<std::uint64_t, CallerTable>& tables);

/// What tables there were when the source looked last, beside the database. A table that came since, or went, and that
/// neither the log nor a compaction explains is a change past the log. One caller at a time.
class TableWatch {
 public:
  TableWatch(Files disk, Path file) : disk_(disk), file_(std::move(file)) {}
  struct Before {
    bool watched_to_its_end = false;  ///< the earlier process was killed with its source open
    Lsn given_away;                   ///< to mirrors, at least up to here
  };
  /// Is everything explained since what was noted last, by this process or an earlier one? Errors: Storage.
  Result<bool> is_explained(rocksdb::DB& database, const ChangeListener& heard, const Before& before) const;
  /// Were all tables that were ingested there when it was noted last? Errors: Storage.
  Result<bool> knows_ingested(rocksdb::DB& database) const;
  /// Notes how it is now. Errors: Storage.
  Result<void> note(rocksdb::DB& database);
  /// While it is watched: false when a table went and was no input of a compaction. Notes what changed. Quick when
  /// nothing did. Errors: Storage.
  Result<bool> look(rocksdb::DB& database, ChangeListener& heard);

 private:
  struct Noted {
    std::string session;
    Lsn flushed, head;  ///< every entry up to the first is in a table
    std::set<std::uint64_t> tables;
  };
  static Result<Noted> look_at(rocksdb::DB& database);
  /// Of a version that noted no tables, as 0ae46f2, and no table came in past the log, as far as tables tell: then what
  /// that version knew is all there is to know.
  Result<bool> is_of_older_version(rocksdb::DB& database) const;
  Result<void> save(Noted seen, std::uint64_t version);
  Result<std::optional<Noted>> read() const;
  Files disk_;
  Path file_;
  Noted noted_;
  std::set<std::uint64_t> made_;  ///< since then, as was heard
  std::uint64_t version_ = 0;     ///< RocksDB's count of its changes of tables, when noted_ was
};

}  // namespace crosslink::rocks
