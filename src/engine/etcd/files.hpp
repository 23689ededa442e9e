// Small things about files. Errors of all: Storage.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink::etcd {

using Path = std::filesystem::path;

/// Closed with the object.
class File {
 public:
  File() = default;
  static Result<File> open_to_read(const Path& path);
  /// Opened, or made, and cut to `bytes`.
  static Result<File> open_at(const Path& path, std::uint64_t bytes);
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&& other) noexcept;
  ~File();
  explicit operator bool() const { return descriptor_ >= 0; }
  Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes) const;
  /// Exactly so many bytes.
  Result<std::vector<std::byte>> read(std::uint64_t offset, std::size_t bytes) const;
  Result<std::uint64_t> size() const;
  Result<void> sync() const;

 private:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

/// With those it stands in, of mode 0700.
Result<void> make_folder(const Path& path);
Result<void> remove_tree(const Path& path);
/// Either the old content or the new, durable when it returns.
Result<void> replace_file(const Path& path, std::span<const std::byte> bytes);
/// The whole file; absent when there is none. Storage also above bytes_max.
Result<std::optional<std::vector<std::byte>>> read_whole(const Path& path, std::size_t bytes_max);

/// A folder's disk, on which so many bytes stay free for the databases that take writes there. Thread safe.
class Space {
 public:
  using Free = std::function<Result<std::uint64_t>(const Path&)>;
  /// `free`: says how many bytes there are; empty: the system does.
  Space(Path folder, std::uint64_t min_free_bytes, Free free)
      : folder_(std::move(folder)), min_free_bytes_(min_free_bytes), free_(std::move(free)) {}
  /// Are there `bytes` more for this? `what`, as "receiving a snapshot", begins the error's words.
  Result<void> need(std::uint64_t bytes, std::string_view what) const;

 private:
  const Path folder_;
  const std::uint64_t min_free_bytes_;
  const Free free_;
};

/// Something that the disk has no room for, in words: told once when it begins, and shown as long as it lasts. Thread
/// safe.
class Shortage {
 public:
  explicit Shortage(std::function<void(const std::string&)> tell) : tell_(std::move(tell)) {}
  void begin(std::string what);
  void end();
  /// Empty: there is none.
  std::string text() const;

 private:
  const std::function<void(const std::string&)> tell_;
  mutable std::mutex mutex_;
  std::string text_;
};

/// Keeps other processes out of a folder; given back with the object.
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

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace crosslink::etcd
