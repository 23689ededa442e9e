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

#include "crosslink/position.hpp"
#include "crosslink/result.hpp"
#include "node/etcd_place.hpp"
#include "node/mirror_spec.hpp"

namespace crosslink::node {

enum class DatabaseKind : std::uint8_t {
  root,      ///< made here, to take writes
  mirror,    ///< follows a source, or did until it was promoted
  detached,  ///< was a mirror; kept as it was, read-only, follows nobody
};
/// What is under way. After a kill it is finished, never undone: nothing but a command of the operator began it.
enum class DatabaseChange : std::uint8_t {
  none,
  deleting,   ///< its folder goes, then the entry
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
  std::string set_aside;             ///< of `replacing`: a name under data_dir/set-aside
  std::optional<std::vector<std::string>> allow_mirrors;  ///< as given when it was created here; the config goes before
  friend bool operator==(const CatalogEntry&, const CatalogEntry&) = default;
};

/// Thread safe.
class Catalog {
 public:
  static constexpr std::size_t databases_max = 1024;
  static constexpr std::uint64_t file_bytes_max = 16ull * 1024 * 1024;

  /// Reads `file`; a file that is not there is an empty catalog. Errors: Storage; Configuration when it is no catalog.
  static Result<Catalog> load(std::filesystem::path file);

  std::vector<CatalogEntry> entries() const;  ///< by index
  std::optional<CatalogEntry> find(std::string_view name) const;
  /// Adds or replaces the entry of that name (a new one gets its index here), durable when it returns. Unchanged on
  /// failure. Errors: Storage; Configuration above databases_max.
  Result<CatalogEntry> put(CatalogEntry entry);
  /// Durable when it returns; it need not be there. Unchanged on failure. Errors: Storage.
  Result<void> remove(std::string_view name);

 private:
  explicit Catalog(std::filesystem::path file) : file_(std::move(file)) {}
  Result<void> parse(std::string_view text);
  Result<void> save(const std::vector<CatalogEntry>& entries, std::uint32_t next_index) const;

  std::filesystem::path file_;
  /// Also held while the file is written: one change after another.
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
  std::vector<CatalogEntry> entries_;
  std::uint32_t next_index_ = 0;
};

std::string_view to_string(DatabaseKind kind);
std::string_view to_string(quic::CongestionControl congestion);
std::optional<quic::CongestionControl> congestion_named(std::string_view name);

}  // namespace crosslink::node
