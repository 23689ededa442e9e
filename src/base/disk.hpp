// What is asked of a file system, so that a test can be it: one call each, nothing put together of several. Files
// (files.hpp) makes of it what the rest of the program uses.
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

namespace crosslink::base {

using Path = std::filesystem::path;

/// "`what`: " and the system's words for `error_number`.
MirrorError storage_error(std::string_view what, int error_number);

/// Thread safe; of one file, only reading is. Errors of all: Storage, with what was done to which path.
class Disk {
 public:
  /// A file that is written at its end. Closed with the object.
  class Appended {
   public:
    virtual ~Appended() = default;
    /// After an error a part of it may be there.
    virtual Result<void> append(std::span<const std::byte> bytes) = 0;
    /// Begins to bring this stretch to disk, and does not wait for it.
    virtual void begin_sync(std::uint64_t offset, std::uint64_t bytes) = 0;
    virtual Result<void> sync() = 0;
    /// Cut off there, or filled up with zeros.
    virtual Result<void> resize(std::uint64_t bytes) = 0;
  };
  /// A file that is read anywhere. Thread safe. Closed with the object.
  class Readable {
   public:
    virtual ~Readable() = default;
    /// As many bytes as there are, up to out.size().
    virtual Result<std::size_t> read(std::span<std::byte> out, std::uint64_t offset) const = 0;
  };

  virtual ~Disk() = default;
  virtual Result<std::unique_ptr<Appended>> open_to_append(const Path& path) = 0;
  /// Null: it is not there.
  virtual Result<std::unique_ptr<Readable>> open_to_read(const Path& path) = 0;
  virtual bool exists(const Path& path) = 0;
  virtual bool is_folder(const Path& path) = 0;
  /// Of a regular file.
  virtual Result<std::uint64_t> size(const Path& path) = 0;
  /// Names in the folder, none when it is absent.
  virtual Result<std::vector<std::string>> list(const Path& folder) = 0;
  /// How many names the file has; 1 where the file system does not say.
  virtual Result<std::uint64_t> names(const Path& path) = 0;
  /// Of the disk that the path is on.
  virtual Result<std::uint64_t> free_bytes(const Path& path) = 0;
  /// One that is there already stays as it is.
  virtual Result<void> make_folder(const Path& path, std::filesystem::perms mode) = 0;
  /// What was made, renamed, linked or removed in it is there after a power cut.
  virtual Result<void> sync_folder(const Path& path) = 0;
  virtual Result<void> rename(const Path& from, const Path& to) = 0;
  virtual Result<void> link(const Path& from, const Path& to) = 0;
  /// No folder; it need not be there.
  virtual Result<void> remove(const Path& path) = 0;
  /// It need not be there. False: it is not empty.
  virtual Result<bool> remove_folder(const Path& path) = 0;
};

/// The machine's own. What it makes is its owner's alone: files have mode 0600.
std::shared_ptr<Disk> system_disk();

}  // namespace crosslink::base
