// Small things about files that RocksDB does not do for us: atomic replacement, syncing folders, a lock, errors. All
// but the lock go through RocksDB's Env, so that a test can be the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/result.hpp"

namespace rocksdb {
class Env;
class RandomAccessFile;
class Status;
class WritableFile;
}  // namespace rocksdb

namespace crosslink::rocks {

using Path = std::filesystem::path;

MirrorError storage_error(std::string_view what, const rocksdb::Status& status);
/// With the system's words for `error_number`.
MirrorError storage_error(std::string_view what, int error_number);

/// What cannot be mirrored, here and not by the peer's fault.
MirrorError unsupported(std::string why);

/// A file that is written at its end. Closed with the object; an error of closing is one that sync() would have told.
class AppendFile {
 public:
  AppendFile(Path path, std::unique_ptr<rocksdb::WritableFile> file, std::uint64_t end);
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;
  ~AppendFile();
  const Path& path() const { return path_; }
  /// Where the next byte goes.
  std::uint64_t end() const { return end_; }
  /// All of `bytes`, or Storage; then `end` is no longer known and the file has to be opened again.
  Result<void> append(std::span<const std::byte> bytes);
  /// Begins to bring to disk what was appended last, and does not wait for it.
  void begin_sync(std::uint64_t bytes);
  Result<void> sync();

 private:
  Path path_;
  std::unique_ptr<rocksdb::WritableFile> file_;
  std::uint64_t end_ = 0;
};

/// A file that is read anywhere. Thread safe.
class ReadFile {
 public:
  ReadFile() = default;
  explicit ReadFile(std::unique_ptr<rocksdb::RandomAccessFile> file);
  ReadFile(ReadFile&& other) noexcept;
  ReadFile& operator=(ReadFile&& other) noexcept;
  ~ReadFile();
  explicit operator bool() const { return file_ != nullptr; }
  /// As many bytes as there are, up to out.size().
  Result<std::size_t> read(std::span<std::byte> out, std::uint64_t offset) const;

 private:
  std::unique_ptr<rocksdb::RandomAccessFile> file_;
};

/// The files of one Env; a copy is the same. Errors of all: Storage.
class Files {
 public:
  /// Null: the system's.
  explicit Files(rocksdb::Env* env);

  bool exists(const Path& path) const;
  Result<std::uint64_t> size(const Path& path) const;
  /// How many names the file has; 1 where the file system does not say.
  Result<std::uint64_t> names(const Path& path) const;
  /// Of the disk that the path is on.
  Result<std::uint64_t> free_bytes(const Path& path) const;
  /// Errors: Storage when the disk that the path is on has less free than `bytes`, with both numbers; `what` needs
  /// them.
  Result<void> need(const Path& path, std::uint64_t bytes, std::string_view what) const;
  /// Names in the folder, none when it is absent.
  Result<std::vector<std::string>> list(const Path& folder) const;
  /// The whole file; absent when there is none. Storage also above bytes_max.
  Result<std::optional<std::vector<std::byte>>> read(const Path& path, std::size_t bytes_max) const;
  Result<ReadFile> open_to_read(const Path& path) const;
  /// Opened, or made, with exactly `at` bytes: the rest is cut off, what lacks is zeros.
  Result<AppendFile> open_at(const Path& path, std::uint64_t at) const;
  /// Empty, if it is not there.
  Result<void> make_file(const Path& path) const;
  Result<void> cut(const Path& path, std::uint64_t bytes) const;

  /// With those it stands in, each of mode 0700 and on disk when it returns. Nothing is done to one that is there.
  Result<void> make_folder(const Path& path) const;
  Result<void> sync_file(const Path& path) const;
  Result<void> sync_folder(const Path& path) const;
  /// Either the old content or the new, whatever happens; durable when it returns.
  Result<void> replace(const Path& path, std::span<const std::byte> bytes) const;
  /// A second name for a file that is never written to again. On disk once the folder is synced.
  Result<void> link(const Path& from, const Path& to) const;
  /// The copy's bytes are on disk; its name is once the folder is synced.
  Result<void> copy(const Path& from, const Path& to) const;
  /// It need not be there.
  Result<void> remove(const Path& path) const;
  Result<void> remove_tree(const Path& path) const;

 private:
  rocksdb::Env* env_;
};

/// The lock that keeps other processes out; given back with the object.
class FolderLock {
 public:
  FolderLock() = default;
  /// Errors: Configuration when another holds it; Storage.
  static Result<FolderLock> take(const Path& folder);
  FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FolderLock& operator=(FolderLock&& other) noexcept;
  ~FolderLock();

 private:
  int descriptor_ = -1;
};

std::string system_boot_id();

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace crosslink::rocks
