#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/descriptor.hpp"
#include "base/disk.hpp"

namespace crosslink::base {

MirrorError storage_error(std::string_view what, int error_number) {
  return {ErrorKind::Storage, CausedBy::us, fmt::format("{}: {}", what, std::generic_category().message(error_number))};
}

namespace {

MirrorError failed(std::string_view what, const Path& path, int error_number) {
  return storage_error(fmt::format("{} {}", what, path.string()), error_number);
}
Result<void> done(std::string_view what, const Path& path, int returned) {
  if (returned != 0) return failed(what, path, errno);
  return {};
}

class SystemAppended final : public Disk::Appended {
 public:
  SystemAppended(Path path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}
  Result<void> append(std::span<const std::byte> bytes) override {
    return done("writing", path_, write_all(file_, bytes) ? 0 : -1);
  }
  void begin_sync(std::uint64_t offset, std::uint64_t bytes) override {
    ::sync_file_range(file_.number(), static_cast<off_t>(offset), static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE);
  }
  Result<void> sync() override { return done("syncing", path_, ::fsync(file_.number())); }
  Result<void> resize(std::uint64_t bytes) override {
    return done("cutting", path_, ::ftruncate(file_.number(), static_cast<off_t>(bytes)));
  }

 private:
  const Path path_;
  const Descriptor file_;
};

class SystemReadable final : public Disk::Readable {
 public:
  SystemReadable(Path path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}
  Result<std::size_t> read(std::span<std::byte> out, std::uint64_t offset) const override {
    std::size_t have = 0;
    while (have < out.size()) {
      const auto got = ::pread(file_.number(), out.data() + have, out.size() - have, static_cast<off_t>(offset + have));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return failed("reading", path_, errno);
      if (got == 0) break;
      have += static_cast<std::size_t>(got);
    }
    return have;
  }

 private:
  const Path path_;
  const Descriptor file_;
};

class SystemDisk final : public Disk {
 public:
  Result<std::unique_ptr<Appended>> open_to_append(const Path& path) override {
    constexpr mode_t owner_only = 0600;
    Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, owner_only));
    if (!file) return failed("opening", path, errno);
    return std::unique_ptr<Appended>(std::make_unique<SystemAppended>(path, std::move(file)));
  }
  Result<std::unique_ptr<Readable>> open_to_read(const Path& path) override {
    // Without O_NONBLOCK opening a FIFO would wait for a writer that never comes.
    Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file && errno == ENOENT) return std::unique_ptr<Readable>();
    if (!file) return failed("opening", path, errno);
    return std::unique_ptr<Readable>(std::make_unique<SystemReadable>(path, std::move(file)));
  }
  bool exists(const Path& path) override { return ::access(path.c_str(), F_OK) == 0; }
  bool is_folder(const Path& path) override {
    struct stat facts{};
    return ::lstat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
  }
  Result<std::uint64_t> size(const Path& path) override {
    struct stat facts{};
    if (::stat(path.c_str(), &facts) != 0) return failed("reading", path, errno);
    if (!S_ISREG(facts.st_mode)) return failed("reading", path, S_ISDIR(facts.st_mode) ? EISDIR : EINVAL);
    return static_cast<std::uint64_t>(facts.st_size);
  }
  Result<std::vector<std::string>> list(const Path& folder) override {
    std::error_code error;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator one(folder, error), end; !error && one != end; one.increment(error))
      names.push_back(one->path().filename().string());
    if (error && error != std::errc::no_such_file_or_directory) return failed("listing", folder, error.value());
    return names;
  }
  Result<std::uint64_t> names(const Path& path) override {
    struct stat facts{};
    if (::stat(path.c_str(), &facts) != 0) return failed("reading", path, errno);
    return std::uint64_t{facts.st_nlink};
  }
  Result<std::uint64_t> free_bytes(const Path& path) override {
    struct statvfs facts{};
    if (::statvfs(path.c_str(), &facts) != 0) return failed("asking for free space at", path, errno);
    return std::uint64_t{facts.f_bavail} * facts.f_frsize;
  }
  Result<void> make_folder(const Path& path, std::filesystem::perms mode) override {
    const auto made = ::mkdir(path.c_str(), static_cast<mode_t>(mode));
    return done("making", path, made != 0 && errno == EEXIST ? 0 : made);
  }
  Result<void> sync_folder(const Path& path) override {
    const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return done("syncing", path, folder ? ::fsync(folder.number()) : -1);
  }
  Result<void> rename(const Path& from, const Path& to) override {
    return done("renaming to", to, std::rename(from.c_str(), to.c_str()));
  }
  Result<void> link(const Path& from, const Path& to) override {
    return done("linking", to, ::link(from.c_str(), to.c_str()));
  }
  Result<void> remove(const Path& path) override {
    const auto removed = ::unlink(path.c_str());
    return done("removing", path, removed != 0 && errno == ENOENT ? 0 : removed);
  }
  Result<bool> remove_folder(const Path& path) override {
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return true;
    if (errno == ENOTEMPTY) return false;
    return failed("removing", path, errno);
  }
};

}  // namespace

std::shared_ptr<Disk> system_disk() {
  static const auto disk = std::make_shared<SystemDisk>();
  return disk;
}

}  // namespace crosslink::base
