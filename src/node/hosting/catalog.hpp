// Which databases a node has, besides what its config says: one small file, replaced in one step.
//
// It says what is wanted of a database's folder. What stands in the folder, role and position, is the engine's own
// record, and that alone is the truth: a mirror that was promoted is a mirror here and takes writes all the same.
//
// Every change is one durable write of this file before anything else is done, and one after it where there is more to
// do than one step; a node that was killed in between finishes it at its next start (hosting.hpp).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.hpp"
#include "crosslink/position.hpp"
#include "crosslink/result.hpp"
#include "node/hosting/etcd_place.hpp"
#include "node/hosting/mirror_spec.hpp"

namespace crosslink::node {

enum class DatabaseKind : std::uint8_t {
  root,      ///< made here, to take writes
  mirror,    ///< follows a source, or did until it was promoted
  detached,  ///< was a mirror, or a folder that the catalog did not know; kept as it was, follows no source
};
/// What is under way. After a kill it is finished, never undone: nothing but a command of the operator began it.
enum class DatabaseChange : std::uint8_t {
  none,
  deleting,   ///< its folder goes, or moves to `set_aside`, then the entry
  replacing,  ///< its old folder moves to `set_aside`, then it is a new, empty mirror
};

struct CatalogEntry {
  std::string name;
  std::uint32_t index = 0;  ///< for SELECT; never given twice
  DatabaseKind kind = DatabaseKind::root;
  DatabaseChange change = DatabaseChange::none;
  std::optional<MirrorSpec> mirror;  ///< of mirrors, and of detached ones unless the catalog was lost
  MirrorId mirror_id;                ///< of mirrors; drawn when one is created
  std::optional<EtcdPlace> etcd;     ///< where it is kept; absent: RocksDB, below data_dir
  std::string set_aside;  ///< where its data goes, a name under data_dir/set-aside; of `deleting` empty: it is removed
  /// Of `replacing`: the folder that goes there, below data_dir. Empty: an older version began.
  std::string moving_from;
  /// It stood here once: a folder that is gone is not made anew.
  bool made = false;
  /// Which data its folder held when that was last noted (data_id()), so that another database's is told from it.
  /// Empty: not known, or kept in etcd. A mirror's is other data after each bootstrap.
  std::string data_id;
  /// Its first bootstrap may delete what stood at its place at that revision of the etcd; 0: nothing, or the engine has
  /// noted it itself.
  std::int64_t agreed_to_deletions = 0;
  /// The config named it when the node last started. Absent: an older version did not note it, and the config has not
  /// named it since.
  std::optional<bool> configured = false;
  /// Of a mirror: it takes writes, or a promotion of it was begun. While it is not open nothing else tells.
  bool promoted = false;
  /// Of a root: mirrors follow it, or did a short time ago (followed_for): right after a start none has dialled yet.
  bool followed = false;
  /// As given by command; the config's own list goes before.
  std::optional<std::vector<std::string>> allow_mirrors;
  /// An older version's: without any list, every name that the CA signed may mirror it.
  bool open_without_list = false;
  friend bool operator==(const CatalogEntry&, const CatalogEntry&) = default;
};

/// Thread safe.
class Catalog {
 public:
  static constexpr std::size_t databases_max = 1024;
  static constexpr std::uint64_t file_bytes_max = 16ull * 1024 * 1024;

  /// Reads `file`; a file that is not there is an empty catalog. Errors: Storage; Configuration when it is no catalog.
  static Result<Catalog> load(std::filesystem::path file, base::Files files = base::Files());

  /// There was a file when it was loaded: without one it was lost, or there never was a database.
  bool found() const { return found_; }
  std::vector<CatalogEntry> entries() const;  ///< by index
  std::optional<CatalogEntry> find(std::string_view name) const;
  /// Adds or replaces the entry of that name (a new one gets its index here), durable when it returns. Unchanged on
  /// failure. Errors: Storage; Configuration above databases_max.
  Result<CatalogEntry> put(CatalogEntry entry);
  /// Adds those whose names it lacks, in one step, each under the index that it has, or the next one when that is
  /// taken: of a catalog that is made anew. Durable when it returns. Unchanged on failure. Errors: as put().
  Result<void> adopt(std::vector<CatalogEntry> found);
  /// As put(), if what it has is `expected`; false: it is not. `entry` has the same name and index. Errors: Storage.
  Result<bool> amend(const CatalogEntry& expected, CatalogEntry entry);
  /// Durable when it returns; it need not be there. Unchanged on failure. Errors: Storage.
  Result<void> remove(std::string_view name);

 private:
  Catalog(std::filesystem::path file, base::Files files) : file_(std::move(file)), files_(std::move(files)) {}
  Result<void> parse(std::string_view text);
  Result<void> save(const std::vector<CatalogEntry>& entries, std::uint32_t next_index) const;

  std::filesystem::path file_;
  base::Files files_;
  bool found_ = false;
  /// Also held while the file is written: one change after another.
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
  std::vector<CatalogEntry> entries_;
  std::uint32_t next_index_ = 0;
};

/// What stands beside a database's data, so that a catalog that was lost can be made anew: its entry.
std::string catalog_entry_text(const CatalogEntry& entry);
/// Errors: Configuration when it is none.
Result<CatalogEntry> read_catalog_entry(std::string_view text);

std::string_view to_string(DatabaseKind kind);
std::string_view to_string(quic::CongestionControl congestion);
std::optional<quic::CongestionControl> congestion_named(std::string_view name);

}  // namespace crosslink::node
