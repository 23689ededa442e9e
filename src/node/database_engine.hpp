// Where a node's database keeps its data: an engine behind the interfaces, whichever it is.
#pragma once

#include <memory>

#include "crosslink/engine.hpp"
#include "crosslink/result.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "node/catalog.hpp"
#include "node/config.hpp"

namespace crosslink::node {

/// One open engine. Its parts live as long as `owner`.
struct DatabaseEngine {
  std::shared_ptr<void> owner;
  SourceEngine* source = nullptr;
  MirrorEngine* mirror = nullptr;          ///< null: it cannot be a mirror
  VerifiableEngine* verifiable = nullptr;  ///< null: it cannot be verified
  RocksdbDatabase* local = nullptr;        ///< what clients read and write; null: they do so elsewhere
};

/// Opens what stands in `folder`, or makes it empty: a root, or a database to become a mirror. Blocks. Errors: Storage;
/// Configuration when the folder is in use, or holds a root where a mirror is wanted.
Result<DatabaseEngine> open_engine(const DatabaseConfig& config, DatabaseKind kind,
                                   const std::filesystem::path& folder);

}  // namespace crosslink::node
