#include "engine/rocksdb/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <rocksdb/env.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

namespace crosslink::rocks {
namespace {

constexpr std::size_t copied_at_once = 1024 * 1024;

rocksdb::EnvOptions plain() {
  rocksdb::EnvOptions options;
  options.use_mmap_reads = options.use_mmap_writes = false;
  return options;
}

rocksdb::Slice slice_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<void> done(std::string_view what, const Path& path, const rocksdb::Status& status) {
  if (!status.ok()) return storage_error(fmt::format("{} {}", what, path.string()), status);
  return {};
}

}  // namespace

MirrorError storage_error(std::string_view what, const rocksdb::Status& status) {
  return {ErrorKind::Storage, CausedBy::us, fmt::format("{}: {}", what, status.ToString())};
}
MirrorError storage_error(std::string_view what, int error_number) {
  return {ErrorKind::Storage, CausedBy::us, fmt::format("{}: {}", what, std::system_category().message(error_number))};
}
MirrorError unsupported(std::string why) { return {ErrorKind::UnsupportedOperation, CausedBy::us, std::move(why)}; }

// --- a file

AppendFile::AppendFile(Path path, std::unique_ptr<rocksdb::WritableFile> file, std::uint64_t end)
    : path_(std::move(path)), file_(std::move(file)), end_(end) {}
AppendFile::AppendFile(AppendFile&& other) noexcept = default;
AppendFile& AppendFile::operator=(AppendFile&& other) noexcept = default;
AppendFile::~AppendFile() {
  if (file_) file_->Close().PermitUncheckedError();
}

Result<void> AppendFile::append(std::span<const std::byte> bytes) {
  end_ += bytes.size();
  return done("writing", path_, file_->Append(slice_of(bytes)));
}

void AppendFile::begin_sync(std::uint64_t bytes) { file_->RangeSync(end_ - bytes, bytes).PermitUncheckedError(); }

Result<void> AppendFile::sync() { return done("syncing", path_, file_->Fsync()); }

ReadFile::ReadFile(std::unique_ptr<rocksdb::RandomAccessFile> file) : file_(std::move(file)) {}
ReadFile::ReadFile(ReadFile&& other) noexcept = default;
ReadFile& ReadFile::operator=(ReadFile&& other) noexcept = default;
ReadFile::~ReadFile() = default;

Result<std::size_t> ReadFile::read(std::span<std::byte> out, std::uint64_t offset) const {
  if (out.empty()) return std::size_t{0};  // RocksDB's own files call that an error
  auto* scratch = reinterpret_cast<char*>(out.data());
  rocksdb::Slice got;
  const auto status = file_->Read(offset, out.size(), &got, scratch);
  if (!status.ok()) return storage_error("reading", status);
  if (got.data() != scratch) std::copy_n(got.data(), got.size(), scratch);
  return got.size();
}

// --- files

Files::Files(rocksdb::Env* env) : env_(env != nullptr ? env : rocksdb::Env::Default()) {}

bool Files::exists(const Path& path) const { return env_->FileExists(path.string()).ok(); }

Result<std::uint64_t> Files::size(const Path& path) const {
  std::uint64_t bytes = 0;
  if (auto asked = done("reading", path, env_->GetFileSize(path.string(), &bytes)); !asked) return asked.error();
  return bytes;
}

Result<std::uint64_t> Files::names(const Path& path) const {
  std::uint64_t count = 1;
  const auto asked = env_->NumFileLinks(path.string(), &count);
  if (asked.IsNotSupported()) return std::uint64_t{1};
  if (auto known = done("reading", path, asked); !known) return known.error();
  return count;
}

Result<std::uint64_t> Files::free_bytes(const Path& path) const {
  std::uint64_t bytes = 0;
  if (auto asked = done("asking for free space at", path, env_->GetFreeSpace(path.string(), &bytes)); !asked)
    return asked.error();
  return bytes;
}

Result<void> Files::need(const Path& path, std::uint64_t bytes, std::string_view what) const {
  const auto free = free_bytes(path);
  if (!free) return free.error();
  if (*free >= bytes) return {};
  return MirrorError(
      ErrorKind::Storage, CausedBy::us,
      fmt::format("{} needs {} bytes of free space at {}, and there are {}", what, bytes, path.string(), *free));
}

Result<std::vector<std::string>> Files::list(const Path& folder) const {
  std::vector<std::string> names;
  const auto status = env_->GetChildren(folder.string(), &names);
  if (status.IsNotFound()) return std::vector<std::string>{};
  if (auto listed = done("listing", folder, status); !listed) return listed.error();
  std::erase_if(names, [](const std::string& name) { return name == "." || name == ".."; });
  return names;
}

Result<ReadFile> Files::open_to_read(const Path& path) const {
  std::unique_ptr<rocksdb::RandomAccessFile> file;
  const auto status = env_->NewRandomAccessFile(path.string(), &file, plain());
  if (auto opened = done("opening", path, status); !opened) return opened.error();
  return ReadFile(std::move(file));
}

Result<std::optional<std::vector<std::byte>>> Files::read(const Path& path, std::size_t bytes_max) const {
  if (!exists(path)) return std::optional<std::vector<std::byte>>{};
  const auto bytes_there = size(path);
  if (!bytes_there) return bytes_there.error();
  if (*bytes_there > bytes_max) return MirrorError(ErrorKind::Storage, CausedBy::us, path.string() + " is too long");
  const auto file = open_to_read(path);
  if (!file) return file.error();
  std::vector<std::byte> bytes(static_cast<std::size_t>(*bytes_there));
  const auto got = file->read(bytes, 0);
  if (!got) return got.error();
  bytes.resize(*got);
  return std::optional(std::move(bytes));
}

Result<AppendFile> Files::open_at(const Path& path, std::uint64_t at) const {
  std::uint64_t there = 0;
  if (exists(path)) {
    const auto bytes = size(path);
    if (!bytes) return bytes.error();
    there = *bytes;
  }
  std::unique_ptr<rocksdb::WritableFile> file;
  auto status = env_->ReopenWritableFile(path.string(), &file, plain());
  if (status.ok() && there != at) status = file->Truncate(at);
  if (auto opened = done("opening", path, status); !opened) return opened.error();
  return AppendFile(path, std::move(file), at);
}

Result<void> Files::make_file(const Path& path) const {
  if (exists(path)) return {};
  std::unique_ptr<rocksdb::WritableFile> file;
  auto status = env_->NewWritableFile(path.string(), &file, plain());
  if (status.ok()) status = file->Close();
  return done("making", path, status);
}

Result<void> Files::cut(const Path& path, std::uint64_t bytes) const {
  const auto file = open_at(path, bytes);
  return file ? Result<void>{} : file.error();
}

Result<void> Files::make_folder(const Path& path) const {
  if (exists(path)) return {};
  const auto parent = path.has_parent_path() ? path.parent_path() : Path(".");
  if (auto made = make_folder(parent); !made) return made;
  if (auto made = done("making", path, env_->CreateDirIfMissing(path.string())); !made) return made;
  // An Env has no modes; where there is no such folder on the machine there is no user to keep out.
  static_cast<void>(::chmod(path.c_str(), 0700));
  return sync_folder(parent);
}

Result<void> Files::sync_file(const Path& path) const {
  std::unique_ptr<rocksdb::WritableFile> file;
  auto status = env_->ReopenWritableFile(path.string(), &file, plain());
  if (status.ok()) status = file->Fsync();
  if (status.ok()) status = file->Close();
  return done("syncing", path, status);
}

Result<void> Files::sync_folder(const Path& path) const {
  std::unique_ptr<rocksdb::Directory> folder;
  auto status = env_->NewDirectory(path.string(), &folder);
  if (status.ok()) status = folder->Fsync();
  return done("syncing", path, status);
}

Result<void> Files::replace(const Path& path, std::span<const std::byte> bytes) const {
  auto beside = path;
  beside += ".new";
  {
    auto file = open_at(beside, 0);
    if (!file) return file.error();
    if (auto written = file->append(bytes); !written) return written;
    if (auto synced = file->sync(); !synced) return synced;
  }
  const auto status = env_->RenameFile(beside.string(), path.string());
  if (auto renamed = done("renaming to", path, status); !renamed) return renamed;
  return sync_folder(path.parent_path());
}

Result<void> Files::link(const Path& from, const Path& to) const {
  return done("linking", to, env_->LinkFile(from.string(), to.string()));
}

Result<void> Files::copy(const Path& from, const Path& to) const {
  const auto source = open_to_read(from);
  if (!source) return source.error();
  auto target = open_at(to, 0);
  if (!target) return target.error();
  std::vector<std::byte> buffer(copied_at_once);
  for (;;) {
    const auto got = source->read(buffer, target->end());
    if (!got) return got.error();
    if (*got == 0) break;
    if (auto written = target->append(std::span(buffer).first(*got)); !written) return written;
  }
  return target->sync();
}

Result<void> Files::remove(const Path& path) const {
  const auto status = env_->DeleteFile(path.string());
  if (status.IsNotFound() || (!status.ok() && !exists(path))) return {};
  return done("removing", path, status);
}

Result<void> Files::remove_tree(const Path& path) const {
  if (!exists(path)) return {};
  const auto names = list(path);
  if (!names) return names.error();
  for (const auto& name : *names) {
    const auto child = path / name;
    bool is_folder = false;
    const auto asked = env_->IsDirectory(child.string(), &is_folder);
    auto removed = asked.ok() && is_folder ? remove_tree(child) : remove(child);
    if (!removed) return removed;
  }
  return done("removing", path, env_->DeleteDir(path.string()));
}

// --- the system's own

Result<FolderLock> FolderLock::take(const Path& folder) {
  FolderLock lock;
  const auto path = folder / "LOCK";
  lock.descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock.descriptor_ < 0) return storage_error("opening " + path.string(), errno);
  if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return storage_error("locking " + folder.string(), errno);
    return MirrorError::configuration(fmt::format("the database in {} is open already", folder.string()));
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

std::string system_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace crosslink::rocks
