// Files over RocksDB's Env, so that a test that is RocksDB's disk is ours, too; and RocksDB's errors.
#pragma once

#include <string>
#include <string_view>

#include "base/files.hpp"
#include "crosslink/result.hpp"

namespace rocksdb {
class Env;
class Status;
}  // namespace rocksdb

namespace crosslink::rocks {

using base::AppendFile;
using base::bytes_of;
using base::Files;
using base::Path;
using base::ReadFile;
using base::storage_error;
using base::text_of;

MirrorError storage_error(std::string_view what, const rocksdb::Status& status);

/// What cannot be mirrored, here and not by the peer's fault.
MirrorError unsupported(std::string why);

/// Null: the system's.
Files files_of(rocksdb::Env* env);

/// Keeps other processes out of a database's folder. Errors: Configuration when another holds it; Storage.
Result<base::FileLock> lock_folder(const Path& folder);

std::string system_boot_id();

}  // namespace crosslink::rocks
