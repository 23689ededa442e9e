#include "support/faulty_disk.hpp"

#include <algorithm>

namespace crosslink::test {

namespace fs = std::filesystem;

class FaultyDisk::File final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(FaultyDisk& disk, Path name, std::unique_ptr<rocksdb::FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)), disk_(&disk), name_(std::move(name)) {}
  Status Append(const rocksdb::Slice& bytes, const Options& options, Debug* debug) override {
    return disk_->append(*this, bytes, options, debug);
  }
  Status Append(const rocksdb::Slice& bytes, const Options& options, const rocksdb::DataVerificationInfo&,
                Debug* debug) override {
    return disk_->append(*this, bytes, options, debug);
  }
  Status PositionedAppend(const rocksdb::Slice&, std::uint64_t, const Options&, Debug*) override {
    return Status::NotSupported("only at the end");
  }
  Status Sync(const Options&, Debug*) override { return disk_->sync(name_); }
  Status Fsync(const Options&, Debug*) override { return disk_->sync(name_); }
  Status RangeSync(std::uint64_t, std::uint64_t, const Options&, Debug*) override { return Status::OK(); }
  Status Truncate(std::uint64_t bytes, const Options& options, Debug* debug) override {
    return disk_->truncate(*this, name_, bytes, options, debug);
  }
  Status really_truncate(std::uint64_t bytes, const Options& options, Debug* debug) {
    return FSWritableFileOwnerWrapper::Truncate(bytes, options, debug);
  }
  Status really_append(const rocksdb::Slice& bytes, const Options& options, Debug* debug) {
    return FSWritableFileOwnerWrapper::Append(bytes, options, debug);
  }

 private:
  FaultyDisk* disk_;
  Path name_;
};

class FaultyDisk::Folder final : public rocksdb::FSDirectoryWrapper {
 public:
  Folder(FaultyDisk& disk, Path name, std::unique_ptr<rocksdb::FSDirectory> folder)
      : FSDirectoryWrapper(std::move(folder)), disk_(&disk), name_(std::move(name)) {}
  Status Fsync(const Options&, Debug*) override { return disk_->sync_folder(name_); }
  Status FsyncWithDirOptions(const Options&, Debug*, const rocksdb::DirFsyncOptions&) override {
    return disk_->sync_folder(name_);
  }

 private:
  FaultyDisk* disk_;
  Path name_;
};

std::shared_ptr<FaultyDisk> FaultyDisk::below(const Path& folder, std::uint64_t seed) {
  std::shared_ptr<FaultyDisk> disk(new FaultyDisk(folder, seed));
  // The Env looks at it only; who holds the disk holds both.
  disk->env_ = rocksdb::NewCompositeEnv(std::shared_ptr<FileSystem>(disk.get(), [](FileSystem*) {}));
  return disk;
}

FaultyDisk::FaultyDisk(const Path& folder, std::uint64_t seed)
    : FileSystemWrapper(FileSystem::Default()),
      folder_(folder.lexically_normal()),
      kept_(folder_ / "kept by the disk"),
      random_(seed) {
  fs::create_directories(kept_);
}

bool FaultyDisk::is_mine(const Path& name) const {
  const auto relative = name.lexically_normal().lexically_relative(folder_);
  return !relative.empty() && relative.native().compare(0, 2, "..") != 0;
}

// --- what a test does
// -------------------------------------------------------------------------------------------------

void FaultyDisk::cut_power_after(std::uint64_t changes) {
  const std::scoped_lock lock(mutex_);
  cut_at_ = changes_ + changes + 1;
}
bool FaultyDisk::power_is_cut() const {
  const std::scoped_lock lock(mutex_);
  return cut_;
}
std::uint64_t FaultyDisk::changes() const {
  const std::scoped_lock lock(mutex_);
  return changes_;
}
void FaultyDisk::say_free(std::optional<std::uint64_t> bytes) {
  const std::scoped_lock lock(mutex_);
  said_free_ = bytes;
}

void FaultyDisk::set_full(bool full) {
  const std::scoped_lock lock(mutex_);
  full_ = full;
}
std::uint64_t FaultyDisk::refused_for_space() const {
  const std::scoped_lock lock(mutex_);
  return refused_;
}

void FaultyDisk::refuse_sync_of(const Path& folder) {
  const std::scoped_lock lock(mutex_);
  refused_folder_ = folder.lexically_normal();
}

void FaultyDisk::fail_next_sync_of_log(bool takes) {
  const std::scoped_lock lock(mutex_);
  log_sync_fails_ = takes;
}

void FaultyDisk::restore_power() {
  const std::scoped_lock lock(mutex_);
  // The bytes first: they are found under the names that they have now.
  for (const auto& [name, synced] : synced_) {
    std::error_code error;
    const auto bytes = fs::file_size(name, error);
    if (error || bytes <= synced) continue;
    const auto left = random_() % 2 == 0 ? synced : synced + random_() % (bytes - synced + 1);
    fs::resize_file(name, left);
  }
  synced_.clear();
  // Some folders' last changes are there, others' are not: from one moment on.
  std::map<Path, std::size_t> of_folder;
  for (const auto& change : changes_of_names_)
    ++of_folder[change.name.parent_path()];
  for (auto& [folder, count] : of_folder)
    count = random_() % 2 == 0 ? 0 : random_() % (count + 1);
  std::vector<Change> lost;
  for (const auto& change : changes_of_names_) {
    auto& kept = of_folder[change.name.parent_path()];
    if (kept > 0) {
      --kept;
    } else {
      lost.push_back(change);
    }
  }
  for (auto change = lost.rbegin(); change != lost.rend(); ++change)
    undo(*change);
  changes_of_names_.clear();
  fs::remove_all(kept_);
  fs::create_directories(kept_);
  cut_at_ = 0;
  cut_ = false;
}

void FaultyDisk::undo(const Change& change) {
  std::error_code error;
  if (change.moved_from && !fs::exists(*change.moved_from)) {
    fs::rename(change.name, *change.moved_from, error);
  } else {
    fs::remove_all(change.name, error);
  }
  if (change.kept_as && fs::exists(change.name.parent_path())) fs::rename(*change.kept_as, change.name, error);
}

// --- the disk
// -------------------------------------------------------------------------------------------------

FaultyDisk::Status FaultyDisk::admit(bool takes_space) {
  ++changes_;
  if (cut_at_ != 0 && changes_ >= cut_at_) cut_ = true;
  if (cut_) return Status::IOError("the power is cut");
  if (!full_ || !takes_space) return Status::OK();
  ++refused_;
  return Status::NoSpace("the disk is full");
}

/// A second name for a file that loses its own.
std::optional<FaultyDisk::Path> FaultyDisk::keep(const Path& name) {
  std::error_code error;
  if (!fs::is_regular_file(name, error)) return std::nullopt;
  auto kept = kept_ / std::to_string(++kept_files_);
  fs::create_hard_link(name, kept);
  return kept;
}

FaultyDisk::Status FaultyDisk::opened(const Path& name, std::uint64_t synced,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file) {
  synced_.try_emplace(name.lexically_normal(), synced);
  *file = std::make_unique<File>(*this, name.lexically_normal(), std::move(*file));
  return Status::OK();
}

FaultyDisk::Status FaultyDisk::NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                               std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) {
  if (!is_mine(name)) return FileSystemWrapper::NewWritableFile(name, options, file, debug);
  const std::scoped_lock lock(mutex_);
  if (auto admitted = admit(true); !admitted.ok()) return admitted;
  const bool is_new = !fs::exists(name);
  auto status = FileSystemWrapper::NewWritableFile(name, options, file, debug);
  if (!status.ok()) return status;
  if (is_new) made(Path(name).lexically_normal());
  synced_[Path(name).lexically_normal()] = 0;
  return opened(name, 0, file);
}

FaultyDisk::Status FaultyDisk::ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                                  std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) {
  if (!is_mine(name)) return FileSystemWrapper::ReopenWritableFile(name, options, file, debug);
  const std::scoped_lock lock(mutex_);
  const bool is_new = !fs::exists(name);
  if (auto admitted = admit(is_new); !admitted.ok()) return admitted;
  const auto bytes = is_new ? 0 : fs::file_size(name);
  auto status = FileSystemWrapper::ReopenWritableFile(name, options, file, debug);
  if (!status.ok()) return status;
  if (is_new) made(Path(name).lexically_normal());
  return opened(name, bytes, file);
}

FaultyDisk::Status FaultyDisk::ReuseWritableFile(const std::string&, const std::string&, const rocksdb::FileOptions&,
                                                 std::unique_ptr<rocksdb::FSWritableFile>*, Debug*) {
  return Status::NotSupported("no file is written to a second time");
}
FaultyDisk::Status FaultyDisk::NewRandomRWFile(const std::string&, const rocksdb::FileOptions&,
                                               std::unique_ptr<rocksdb::FSRandomRWFile>*, Debug*) {
  return Status::NotSupported("files are written at their end");
}

FaultyDisk::Status FaultyDisk::append(File& file, const rocksdb::Slice& bytes, const Options& options, Debug* debug) {
  const std::scoped_lock lock(mutex_);
  auto admitted = admit(true);
  if (admitted.ok()) return file.really_append(bytes, options, debug);
  // A part of it may have got there.
  const rocksdb::Slice part(bytes.data(), random_() % 2 == 0 ? 0 : random_() % bytes.size());
  if (!cut_ || cut_at_ == changes_) file.really_append(part, options, debug).PermitUncheckedError();
  return admitted;
}

FaultyDisk::Status FaultyDisk::truncate(File& file, const Path& name, std::uint64_t bytes, const Options& options,
                                        Debug* debug) {
  const std::scoped_lock lock(mutex_);
  if (auto admitted = admit(bytes > fs::file_size(name)); !admitted.ok()) return admitted;
  auto& synced = synced_[name];
  synced = std::min(synced, bytes);
  return file.really_truncate(bytes, options, debug);
}

void FaultyDisk::on_sync_of_file(std::function<void(const Path&)> look) {
  const std::scoped_lock lock(mutex_);
  on_sync_ = std::move(look);
}

FaultyDisk::Status FaultyDisk::sync(const Path& name) {
  std::unique_lock lock(mutex_);
  if (const auto look = on_sync_) {
    lock.unlock();
    look(name);
    lock.lock();
  }
  if (auto admitted = admit(true); !admitted.ok()) return admitted;
  std::error_code error;
  if (log_sync_fails_ && name.extension() == ".log") {
    if (*std::exchange(log_sync_fails_, std::nullopt)) fs::resize_file(name, synced_[name], error);
    return Status::IOError("the log cannot be synced");
  }
  const auto bytes = fs::file_size(name, error);
  if (!error) synced_[name] = bytes;
  return Status::OK();
}

FaultyDisk::Status FaultyDisk::sync_folder(const Path& name) {
  const std::scoped_lock lock(mutex_);
  if (auto admitted = admit(false); !admitted.ok()) return admitted;
  if (name == refused_folder_) return Status::IOError("the folder cannot be synced");
  std::erase_if(changes_of_names_, [&](const Change& change) { return change.name.parent_path() == name; });
  return Status::OK();
}

FaultyDisk::Status FaultyDisk::NewDirectory(const std::string& name, const Options& options,
                                            std::unique_ptr<rocksdb::FSDirectory>* folder, Debug* debug) {
  auto status = FileSystemWrapper::NewDirectory(name, options, folder, debug);
  if (status.ok() && is_mine(name))
    *folder = std::make_unique<Folder>(*this, Path(name).lexically_normal(), std::move(*folder));
  return status;
}

FaultyDisk::Status FaultyDisk::CreateDir(const std::string& name, const Options& options, Debug* debug) {
  if (!is_mine(name)) return FileSystemWrapper::CreateDir(name, options, debug);
  const std::scoped_lock lock(mutex_);
  if (auto admitted = admit(true); !admitted.ok()) return admitted;
  auto status = FileSystemWrapper::CreateDir(name, options, debug);
  if (status.ok()) made(Path(name).lexically_normal());
  return status;
}
FaultyDisk::Status FaultyDisk::CreateDirIfMissing(const std::string& name, const Options& options, Debug* debug) {
  if (fs::is_directory(name)) return Status::OK();
  return CreateDir(name, options, debug);
}

FaultyDisk::Status FaultyDisk::DeleteFile(const std::string& name, const Options& options, Debug* debug) {
  if (!is_mine(name)) return FileSystemWrapper::DeleteFile(name, options, debug);
  const std::scoped_lock lock(mutex_);
  if (auto admitted = admit(false); !admitted.ok()) return admitted;
  const auto normal = Path(name).lexically_normal();
  const auto kept = keep(normal);
  auto status = FileSystemWrapper::DeleteFile(name, options, debug);
  if (status.ok()) {
    changes_of_names_.push_back({normal, kept, {}});
    synced_.erase(normal);
  }
  return status;
}

FaultyDisk::Status FaultyDisk::DeleteDir(const std::string& name, const Options& options, Debug* debug) {
  if (!is_mine(name)) return FileSystemWrapper::DeleteDir(name, options, debug);
  const std::scoped_lock lock(mutex_);
  if (auto admitted = admit(false); !admitted.ok()) return admitted;
  return FileSystemWrapper::DeleteDir(name, options, debug);
}

FaultyDisk::Status FaultyDisk::RenameFile(const std::string& from, const std::string& to, const Options& options,
                                          Debug* debug) {
  if (!is_mine(from)) return FileSystemWrapper::RenameFile(from, to, options, debug);
  const std::scoped_lock lock(mutex_);
  if (auto admitted = admit(false); !admitted.ok()) return admitted;
  const auto source = Path(from).lexically_normal(), target = Path(to).lexically_normal();
  const bool folder = fs::is_directory(source);
  const auto kept = keep(target);
  auto status = FileSystemWrapper::RenameFile(from, to, options, debug);
  if (!status.ok()) return status;
  const auto moved = [&](const Path& name) {
    const auto rest = name.lexically_relative(source);
    return rest == "." ? target : (target / rest).lexically_normal();
  };
  const auto within = [&](const Path& name) {
    const auto rest = name.lexically_relative(source);
    return !rest.empty() && rest.native().compare(0, 2, "..") != 0;
  };
  std::map<Path, std::uint64_t> named;
  for (const auto& [name, synced] : synced_)
    if (name != target) named.emplace(name, synced);
  for (const auto& [name, synced] : synced_) {
    if (!within(name)) continue;
    named.erase(name);
    named[moved(name)] = synced;
  }
  synced_ = std::move(named);
  if (!folder) {
    changes_of_names_.push_back({target, kept, source});
    return status;
  }
  for (auto& change : changes_of_names_) {
    if (within(change.name)) change.name = moved(change.name);
    if (change.moved_from && within(*change.moved_from)) change.moved_from = moved(*change.moved_from);
  }
  std::erase_if(changes_of_names_, [&](const Change& change) { return change.name == target; });
  return status;
}

FaultyDisk::Status FaultyDisk::GetFreeSpace(const std::string& name, const Options& options, std::uint64_t* bytes,
                                            Debug* debug) {
  const std::scoped_lock lock(mutex_);
  if (cut_) return Status::IOError("the power is cut");
  if (!full_ && !said_free_) return FileSystemWrapper::GetFreeSpace(name, options, bytes, debug);
  *bytes = said_free_.value_or(0);
  return Status::OK();
}

FaultyDisk::Status FaultyDisk::LinkFile(const std::string& from, const std::string& to, const Options& options,
                                        Debug* debug) {
  if (!is_mine(to)) return FileSystemWrapper::LinkFile(from, to, options, debug);
  const std::scoped_lock lock(mutex_);
  if (auto admitted = admit(true); !admitted.ok()) return admitted;
  auto status = FileSystemWrapper::LinkFile(from, to, options, debug);
  if (!status.ok()) return status;
  const auto source = Path(from).lexically_normal(), target = Path(to).lexically_normal();
  if (const auto known = synced_.find(source); known != synced_.end()) synced_[target] = known->second;
  made(target);
  return status;
}

}  // namespace crosslink::test
