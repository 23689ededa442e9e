#include "engine/rocksdb/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <rocksdb/status.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

namespace crosslink::rocks {

MirrorError storage_error(std::string_view what, const rocksdb::Status& status) {
  return {ErrorKind::Storage, CausedBy::us, fmt::format("{}: {}", what, status.ToString())};
}
MirrorError storage_error(std::string_view what, int error_number) {
  return {ErrorKind::Storage, CausedBy::us, fmt::format("{}: {}", what, std::system_category().message(error_number))};
}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}
File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<File> open_to_read(const std::filesystem::path& path) {
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return storage_error("opening " + path.string(), errno);
  return file;
}

Result<File> open_to_write(const std::filesystem::path& path) {
  File file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return storage_error("opening " + path.string(), errno);
  return file;
}

Result<void> write_at(const File& file, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const auto written = ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return storage_error("writing", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<std::size_t> read_at(const File& file, std::span<std::byte> out, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto got = ::pread(file.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return storage_error("reading", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Result<void> sync_file(const std::filesystem::path& path) {
  const auto file = open_to_read(path);
  if (!file) return file.error();
  if (::fsync(file->get()) != 0) return storage_error("syncing " + path.string(), errno);
  return {};
}
Result<void> sync_folder(const std::filesystem::path& path) { return sync_file(path); }

Result<void> make_folder(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return storage_error("making " + path.string(), errno);
  return {};
}

Result<void> remove_tree(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return storage_error("removing " + path.string(), error.value());
  return {};
}

Result<std::optional<std::vector<std::byte>>> read_file(const std::filesystem::path& path, std::size_t bytes_max) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::optional<std::vector<std::byte>>{};
  const auto file = open_to_read(path);
  if (!file) return file.error();
  struct stat facts{};
  if (::fstat(file->get(), &facts) != 0) return storage_error("reading " + path.string(), errno);
  if (static_cast<std::uint64_t>(facts.st_size) > bytes_max) {
    return MirrorError(ErrorKind::Storage, CausedBy::us, path.string() + " is too long");
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(facts.st_size));
  const auto got = read_at(*file, bytes, 0);
  if (!got) return got.error();
  bytes.resize(*got);
  return std::optional(std::move(bytes));
}

Result<void> replace_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  auto beside = path;
  beside += ".new";
  {
    const auto file = open_to_write(beside);
    if (!file) return file.error();
    if (::ftruncate(file->get(), 0) != 0) return storage_error("writing " + beside.string(), errno);
    if (auto written = write_at(*file, bytes, 0); !written) return written;
    if (::fsync(file->get()) != 0) return storage_error("syncing " + beside.string(), errno);
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return storage_error("renaming to " + path.string(), errno);
  return sync_folder(path.parent_path());
}

Result<File> lock_folder(const std::filesystem::path& folder) {
  auto file = open_to_write(folder / "LOCK");
  if (!file) return file.error();
  if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return storage_error("locking " + folder.string(), errno);
    return MirrorError::configuration(fmt::format("the database in {} is open already", folder.string()));
  }
  return file;
}

std::string system_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace crosslink::rocks
