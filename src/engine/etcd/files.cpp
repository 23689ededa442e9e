#include "engine/etcd/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace crosslink::etcd {
namespace {

MirrorError disk_error(std::string_view what, const Path& path, int error_number) {
  return {ErrorKind::Storage, CausedBy::us,
          fmt::format("{} {}: {}", what, path.string(), std::generic_category().message(error_number))};
}
MirrorError disk_error(std::string_view what, int error_number) {
  return {ErrorKind::Storage, CausedBy::us, fmt::format("{}: {}", what, std::generic_category().message(error_number))};
}

Result<void> sync_folder(const Path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return disk_error("opening", folder, errno);
  const int done = ::fsync(descriptor);
  const int why = errno;
  ::close(descriptor);
  if (done != 0) return disk_error("syncing", folder, why);
  return {};
}

}  // namespace

Result<File> File::open_to_read(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return disk_error("opening", path, errno);
  return File(descriptor);
}

Result<File> File::open_at(const Path& path, std::uint64_t bytes) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return disk_error("opening", path, errno);
  File file(descriptor);
  if (::ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) return disk_error("cutting", path, errno);
  return file;
}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<void> File::write(std::uint64_t offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const auto written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return disk_error("writing a file", written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<std::vector<std::byte>> File::read(std::uint64_t offset, std::size_t bytes) const {
  std::vector<std::byte> out(bytes);
  for (std::size_t done = 0; done < bytes;) {
    const auto got = ::pread(descriptor_, out.data() + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return disk_error("reading a file", errno);
    if (got == 0) return MirrorError(ErrorKind::Storage, CausedBy::us, "a file is shorter than it was");
    done += static_cast<std::size_t>(got);
  }
  return out;
}

Result<std::uint64_t> File::size() const {
  struct stat facts{};
  if (::fstat(descriptor_, &facts) != 0) return disk_error("looking at a file", errno);
  return static_cast<std::uint64_t>(facts.st_size);
}

Result<void> File::sync() const {
  if (::fdatasync(descriptor_) != 0) return disk_error("syncing a file", errno);
  return {};
}

Result<void> make_folder(const Path& path) {
  if (path.empty() || std::filesystem::is_directory(path)) return {};
  if (const auto above = path.parent_path(); above != path) {
    if (auto made = make_folder(above); !made) return made;
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return disk_error("making", path, errno);
  return {};
}

Result<void> remove_tree(const Path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return disk_error("removing", path, error.value());
  return {};
}

Result<void> replace_file(const Path& path, std::span<const std::byte> bytes) {
  auto fresh = path;
  fresh += ".new";
  {
    const auto file = File::open_at(fresh, 0);
    if (!file) return file.error();
    if (auto written = file->write(0, bytes); !written) return written;
    if (auto synced = file->sync(); !synced) return synced;
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return disk_error("replacing", path, errno);
  return sync_folder(path.parent_path());
}

Result<std::optional<std::vector<std::byte>>> read_whole(const Path& path, std::size_t bytes_max) {
  if (!std::filesystem::exists(path)) return std::optional<std::vector<std::byte>>();
  const auto file = File::open_to_read(path);
  if (!file) return file.error();
  const auto size = file->size();
  if (!size) return size.error();
  if (*size > bytes_max) return disk_error("reading", path, EFBIG);
  auto bytes = file->read(0, static_cast<std::size_t>(*size));
  if (!bytes) return bytes.error();
  return std::optional(*std::move(bytes));
}

Result<void> Space::need(std::uint64_t bytes, std::string_view what) const {
  const auto free = [this]() -> Result<std::uint64_t> {
    if (free_) return free_(folder_);
    std::error_code error;
    const auto space = std::filesystem::space(folder_, error);
    if (error) return disk_error("asking for free space at", folder_, error.value());
    return std::uint64_t{space.available};
  }();
  if (!free) return free.error();
  if (*free >= min_free_bytes_ && *free - min_free_bytes_ >= bytes) return {};
  return MirrorError(ErrorKind::Storage, CausedBy::us,
                     fmt::format("{} needs {} bytes of free space at {} beside min_free_bytes, {}, and there are {}",
                                 what, bytes, folder_.string(), min_free_bytes_, *free));
}

void Shortage::begin(std::string what) {
  const std::scoped_lock lock(mutex_);
  if (text_.empty() && tell_) tell_(what);
  text_ = std::move(what);
}

void Shortage::end() {
  const std::scoped_lock lock(mutex_);
  text_.clear();
}

std::string Shortage::text() const {
  const std::scoped_lock lock(mutex_);
  return text_;
}

Result<FolderLock> FolderLock::take(const Path& folder) {
  const auto path = folder / "LOCK";
  FolderLock lock;
  lock.descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock.descriptor_ < 0) return disk_error("opening", path, errno);
  if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return disk_error("locking", path, errno);
    return MirrorError::configuration(fmt::format("{} is in use by another process", folder.string()));
  }
  return lock;
}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace crosslink::etcd
