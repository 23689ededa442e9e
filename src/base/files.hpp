// What the program does with files: whole after a kill and a power cut, bounded, durable when it returns where that is
// said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/descriptor.hpp"
#include "base/disk.hpp"
#include "crosslink/result.hpp"

namespace crosslink::base {

/// A file that is written at its end. Closed with the object; an error of closing is one that sync() would have told.
class AppendFile {
 public:
  AppendFile(Path path, std::unique_ptr<Disk::Appended> file, std::uint64_t end)
      : path_(std::move(path)), file_(std::move(file)), end_(end) {}
  const Path& path() const { return path_; }
  /// Where the next byte goes.
  std::uint64_t end() const { return end_; }
  /// All of `bytes`, or Storage; then `end` is no longer known and the file has to be opened again.
  Result<void> append(std::span<const std::byte> bytes);
  /// Begins to bring to disk what was appended last, and does not wait for it.
  void begin_sync(std::uint64_t bytes) { file_->begin_sync(end_ - bytes, bytes); }
  Result<void> sync() { return file_->sync(); }

 private:
  Path path_;
  std::unique_ptr<Disk::Appended> file_;
  std::uint64_t end_ = 0;
};

/// A file that is read anywhere. Thread safe.
class ReadFile {
 public:
  ReadFile() = default;
  explicit ReadFile(std::unique_ptr<Disk::Readable> file) : file_(std::move(file)) {}
  explicit operator bool() const { return file_ != nullptr; }
  /// As many bytes as there are, up to out.size().
  Result<std::size_t> read(std::span<std::byte> out, std::uint64_t offset) const;
  /// Storage also when there are fewer.
  Result<std::vector<std::byte>> read_exactly(std::uint64_t offset, std::size_t bytes) const;

 private:
  std::unique_ptr<Disk::Readable> file_;
};

/// The files of one disk; a copy is the same. Errors of all: Storage.
class Files {
 public:
  explicit Files(std::shared_ptr<Disk> disk = system_disk()) : disk_(std::move(disk)) {}

  bool exists(const Path& path) const { return disk_->exists(path); }
  Result<std::uint64_t> size(const Path& path) const { return disk_->size(path); }
  Result<std::uint64_t> names(const Path& path) const { return disk_->names(path); }
  Result<std::uint64_t> free_bytes(const Path& path) const { return disk_->free_bytes(path); }
  Result<std::vector<std::string>> list(const Path& folder) const { return disk_->list(folder); }

  /// The whole file; absent when there is none. Storage also above bytes_max.
  Result<std::optional<std::vector<std::byte>>> read(const Path& path, std::size_t bytes_max) const;
  /// The same; a file that is not there is an empty text.
  Result<std::string> read_text(const Path& path, std::size_t bytes_max) const;
  Result<ReadFile> open_to_read(const Path& path) const;
  /// Opened, or made, with exactly `at` bytes: the rest is cut off, what lacks is zeros.
  Result<AppendFile> open_at(const Path& path, std::uint64_t at) const;
  /// Empty, if it is not there.
  Result<void> make_file(const Path& path) const;
  Result<void> cut(const Path& path, std::uint64_t bytes) const;

  /// With those it stands in, each on disk when it returns. Those of `above` that are made have that mode, it itself
  /// 0700. Nothing is done to one that is there.
  Result<void> make_folder(const Path& path, std::filesystem::perms above = std::filesystem::perms::owner_all) const;
  Result<void> sync_file(const Path& path) const;
  Result<void> sync_folder(const Path& path) const { return disk_->sync_folder(path); }
  /// Either the old content or the new, whatever happens; durable when it returns.
  Result<void> replace(const Path& path, std::span<const std::byte> bytes) const;
  Result<void> replace(const Path& path, std::string_view text) const { return replace(path, bytes_of(text)); }
  /// Moves a folder to a name that is not taken, on the same disk; durable when it returns. One that is not there any
  /// more counts as moved when `to` is.
  Result<void> move(const Path& from, const Path& to) const;
  /// A second name for a file that is never written to again. On disk once the folder is synced.
  Result<void> link(const Path& from, const Path& to) const { return disk_->link(from, to); }
  /// The copy's bytes are on disk; its name is once the folder is synced.
  Result<void> copy(const Path& from, const Path& to) const;
  /// A file, which need not be there. A power cut may bring it back, and what the next two remove as well.
  Result<void> remove(const Path& path) const { return disk_->remove(path); }
  /// With all that is in it; it need not be there, and may go meanwhile.
  Result<void> remove_tree(const Path& path) const;
  /// The same of a file or a folder, and it is gone for good when it returns.
  Result<void> remove_durably(const Path& path) const;

 private:
  std::shared_ptr<Disk> disk_;
};

/// Of a folder's disk, `kept_free_bytes` of which stay free for others. Thread safe.
class Space {
 public:
  using Free = std::function<Result<std::uint64_t>(const Path&)>;
  /// `free`: says how many bytes there are; empty: the disk does.
  Space(Files files, Path folder, std::uint64_t min_free_bytes, Free free = {})
      : files_(std::move(files)), folder_(std::move(folder)), min_free_bytes_(min_free_bytes), free_(std::move(free)) {}
  /// Are there `bytes` more for this? `what`, as "receiving a snapshot", begins the error's words. Errors: Storage.
  Result<void> need(std::uint64_t bytes, std::string_view what) const;

 private:
  const Files files_;
  const Path folder_;
  const std::uint64_t min_free_bytes_;
  const Free free_;
};

/// Keeps other processes out as long as it lives, by a file that stays. It asks the system itself, whatever the disk.
class FileLock {
 public:
  FileLock() = default;
  /// Errors: Configuration, with `taken` as its words, when another holds it; Storage.
  static Result<FileLock> take(const Path& file, std::string taken);

 private:
  explicit FileLock(Descriptor file) : file_(std::move(file)) {}
  Descriptor file_;
};

}  // namespace crosslink::base
