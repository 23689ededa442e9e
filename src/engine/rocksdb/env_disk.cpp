#include "engine/rocksdb/env_disk.hpp"

#include <fmt/format.h>
#include <rocksdb/env.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace crosslink::rocks {
namespace {

rocksdb::EnvOptions plain() {
  rocksdb::EnvOptions options;
  options.use_mmap_reads = options.use_mmap_writes = false;
  return options;
}

Result<void> done(std::string_view what, const Path& path, const rocksdb::Status& status) {
  if (!status.ok()) return storage_error(fmt::format("{} {}", what, path.string()), status);
  return {};
}

class EnvAppended final : public base::Disk::Appended {
 public:
  EnvAppended(Path path, std::unique_ptr<rocksdb::WritableFile> file)
      : path_(std::move(path)), file_(std::move(file)) {}
  EnvAppended(const EnvAppended&) = delete;
  EnvAppended& operator=(const EnvAppended&) = delete;
  ~EnvAppended() override { file_->Close().PermitUncheckedError(); }
  Result<void> append(std::span<const std::byte> bytes) override {
    const auto text = text_of(bytes);
    return done("writing", path_, file_->Append({text.data(), text.size()}));
  }
  void begin_sync(std::uint64_t offset, std::uint64_t bytes) override {
    file_->RangeSync(offset, bytes).PermitUncheckedError();
  }
  Result<void> sync() override { return done("syncing", path_, file_->Fsync()); }
  Result<void> resize(std::uint64_t bytes) override { return done("cutting", path_, file_->Truncate(bytes)); }

 private:
  const Path path_;
  const std::unique_ptr<rocksdb::WritableFile> file_;
};

class EnvReadable final : public base::Disk::Readable {
 public:
  explicit EnvReadable(std::unique_ptr<rocksdb::RandomAccessFile> file) : file_(std::move(file)) {}
  Result<std::size_t> read(std::span<std::byte> out, std::uint64_t offset) const override {
    auto* scratch = reinterpret_cast<char*>(out.data());
    rocksdb::Slice got;
    const auto status = file_->Read(offset, out.size(), &got, scratch);
    if (!status.ok()) return storage_error("reading", status);
    if (got.data() != scratch) std::copy_n(got.data(), got.size(), scratch);
    return got.size();
  }

 private:
  const std::unique_ptr<rocksdb::RandomAccessFile> file_;
};

class EnvDisk final : public base::Disk {
 public:
  explicit EnvDisk(rocksdb::Env* env) : env_(env) {}
  Result<std::unique_ptr<Appended>> open_to_append(const Path& path) override {
    std::unique_ptr<rocksdb::WritableFile> file;
    const auto status = env_->ReopenWritableFile(path.string(), &file, plain());
    if (auto opened = done("opening", path, status); !opened) return opened.error();
    return std::unique_ptr<Appended>(std::make_unique<EnvAppended>(path, std::move(file)));
  }
  Result<std::unique_ptr<Readable>> open_to_read(const Path& path) override {
    if (!exists(path)) return std::unique_ptr<Readable>();
    std::unique_ptr<rocksdb::RandomAccessFile> file;
    const auto status = env_->NewRandomAccessFile(path.string(), &file, plain());
    if (auto opened = done("opening", path, status); !opened) return opened.error();
    return std::unique_ptr<Readable>(std::make_unique<EnvReadable>(std::move(file)));
  }
  bool exists(const Path& path) override { return env_->FileExists(path.string()).ok(); }
  bool is_folder(const Path& path) override {
    bool is = false;
    return env_->IsDirectory(path.string(), &is).ok() && is;
  }
  Result<std::uint64_t> size(const Path& path) override {
    std::uint64_t bytes = 0;
    if (auto asked = done("reading", path, env_->GetFileSize(path.string(), &bytes)); !asked) return asked.error();
    return bytes;
  }
  Result<std::vector<std::string>> list(const Path& folder) override {
    std::vector<std::string> names;
    const auto status = env_->GetChildren(folder.string(), &names);
    if (status.IsNotFound()) return std::vector<std::string>{};
    if (auto listed = done("listing", folder, status); !listed) return listed.error();
    std::erase_if(names, [](const std::string& name) { return name == "." || name == ".."; });
    return names;
  }
  Result<std::uint64_t> names(const Path& path) override {
    std::uint64_t count = 1;
    const auto asked = env_->NumFileLinks(path.string(), &count);
    if (asked.IsNotSupported()) return std::uint64_t{1};
    if (auto known = done("reading", path, asked); !known) return known.error();
    return count;
  }
  Result<std::uint64_t> free_bytes(const Path& path) override {
    std::uint64_t bytes = 0;
    const auto status = env_->GetFreeSpace(path.string(), &bytes);
    if (auto asked = done("asking for free space at", path, status); !asked) return asked.error();
    return bytes;
  }
  Result<void> make_folder(const Path& path, std::filesystem::perms mode) override {
    if (auto made = done("making", path, env_->CreateDirIfMissing(path.string())); !made) return made;
    // An Env has no modes; where there is no such folder on the machine there is no user to keep out.
    static_cast<void>(::chmod(path.c_str(), static_cast<mode_t>(mode)));
    return {};
  }
  Result<void> sync_folder(const Path& path) override {
    std::unique_ptr<rocksdb::Directory> folder;
    auto status = env_->NewDirectory(path.string(), &folder);
    if (status.ok()) status = folder->Fsync();
    return done("syncing", path, status);
  }
  Result<void> rename(const Path& from, const Path& to) override {
    return done("renaming to", to, env_->RenameFile(from.string(), to.string()));
  }
  Result<void> link(const Path& from, const Path& to) override {
    return done("linking", to, env_->LinkFile(from.string(), to.string()));
  }
  Result<void> remove(const Path& path) override {
    const auto status = env_->DeleteFile(path.string());
    return !status.ok() && !exists(path) ? Result<void>{} : done("removing", path, status);
  }
  Result<bool> remove_folder(const Path& path) override {
    const auto status = env_->DeleteDir(path.string());
    if (status.ok() || !exists(path)) return true;
    return done("removing", path, status).error();
  }

 private:
  rocksdb::Env* const env_;
};

}  // namespace

MirrorError storage_error(std::string_view what, const rocksdb::Status& status) {
  return {ErrorKind::Storage, CausedBy::us, fmt::format("{}: {}", what, status.ToString())};
}
MirrorError unsupported(std::string why) { return {ErrorKind::UnsupportedOperation, CausedBy::us, std::move(why)}; }

Files files_of(rocksdb::Env* env) {
  return Files(std::make_shared<EnvDisk>(env != nullptr ? env : rocksdb::Env::Default()));
}

Result<base::FileLock> lock_folder(const Path& folder) {
  return base::FileLock::take(folder / "LOCK", fmt::format("the database in {} is open already", folder.string()));
}

std::string system_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace crosslink::rocks
