// Small things about files that RocksDB does not do for us: atomic replacement, syncing folders, a lock, errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/result.hpp"

namespace rocksdb {
class Status;
}

namespace crosslink::rocks {

MirrorError storage_error(std::string_view what, const rocksdb::Status& status);
/// With the system's words for `error_number`.
MirrorError storage_error(std::string_view what, int error_number);

/// A file descriptor that closes itself.
class File {
 public:
  File() = default;
  explicit File(int descriptor) : descriptor_(descriptor) {}
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&& other) noexcept;
  ~File();
  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

Result<File> open_to_read(const std::filesystem::path& path);
/// Made if absent, mode 0600.
Result<File> open_to_write(const std::filesystem::path& path);
/// All of `bytes`, or Storage.
Result<void> write_at(const File& file, std::span<const std::byte> bytes, std::uint64_t offset);
/// As many bytes as there are, up to out.size().
Result<std::size_t> read_at(const File& file, std::span<std::byte> out, std::uint64_t offset);
Result<void> sync_file(const std::filesystem::path& path);
Result<void> sync_folder(const std::filesystem::path& path);
Result<void> make_folder(const std::filesystem::path& path);
Result<void> remove_tree(const std::filesystem::path& path);

/// The whole file; absent when there is none. Errors: Storage, also above bytes_max.
Result<std::optional<std::vector<std::byte>>> read_file(const std::filesystem::path& path, std::size_t bytes_max);
/// Either the old content or the new, whatever happens; durable when it returns.
Result<void> replace_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// Held until it is destroyed. Errors: Configuration when another holds it.
Result<File> lock_folder(const std::filesystem::path& folder);

std::string system_boot_id();

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace crosslink::rocks
