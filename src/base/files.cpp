#include "base/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace crosslink::base {
namespace {

constexpr std::size_t copied_at_once = 1024 * 1024;

MirrorError storage(std::string text) { return {ErrorKind::Storage, CausedBy::us, std::move(text)}; }

Path parent_of(const Path& path) { return path.has_parent_path() ? path.parent_path() : Path("."); }

}  // namespace

// --- a file

Result<void> AppendFile::append(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  end_ += bytes.size();
  return file_->append(bytes);
}

Result<std::size_t> ReadFile::read(std::span<std::byte> out, std::uint64_t offset) const {
  if (out.empty()) return std::size_t{0};
  return file_->read(out, offset);
}

Result<std::vector<std::byte>> ReadFile::read_exactly(std::uint64_t offset, std::size_t bytes) const {
  std::vector<std::byte> out(bytes);
  const auto got = read(out, offset);
  if (!got) return got.error();
  if (*got != bytes) return storage("a file is shorter than it was");
  return out;
}

// --- reading

Result<ReadFile> Files::open_to_read(const Path& path) const {
  auto file = disk_->open_to_read(path);
  if (!file) return file.error();
  if (!*file) return storage_error(fmt::format("opening {}", path.string()), ENOENT);
  return ReadFile(*std::move(file));
}

Result<std::optional<std::vector<std::byte>>> Files::read(const Path& path, std::size_t bytes_max) const {
  auto opened = disk_->open_to_read(path);
  if (!opened) return opened.error();
  if (!*opened) return std::optional<std::vector<std::byte>>{};
  const ReadFile file(*std::move(opened));
  const auto there = size(path);
  if (!there) return there.error();
  if (*there > bytes_max)
    return storage(fmt::format("{} is larger than it may be ({} bytes)", path.string(), bytes_max));
  std::vector<std::byte> bytes(static_cast<std::size_t>(*there));
  const auto got = file.read(bytes, 0);
  if (!got) return got.error();
  bytes.resize(*got);
  return std::optional(std::move(bytes));
}

Result<std::string> Files::read_text(const Path& path, std::size_t bytes_max) const {
  const auto bytes = read(path, bytes_max);
  if (!bytes) return bytes.error();
  return *bytes ? std::string(text_of(**bytes)) : std::string();
}

// --- writing

Result<AppendFile> Files::open_at(const Path& path, std::uint64_t at) const {
  auto file = disk_->open_to_append(path);
  if (!file) return file.error();
  const auto there = size(path);
  if (!there) return there.error();
  if (*there != at) {
    if (auto resized = (*file)->resize(at); !resized) return resized.error();
  }
  return AppendFile(path, *std::move(file), at);
}

Result<void> Files::make_file(const Path& path) const {
  const auto file = disk_->open_to_append(path);
  return file ? Result<void>{} : file.error();
}

Result<void> Files::cut(const Path& path, std::uint64_t bytes) const {
  const auto file = open_at(path, bytes);
  return file ? Result<void>{} : file.error();
}

Result<void> Files::sync_file(const Path& path) const {
  const auto file = disk_->open_to_append(path);
  return file ? (*file)->sync() : file.error();
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
  if (auto renamed = disk_->rename(beside, path); !renamed) return renamed;
  return sync_folder(parent_of(path));
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

// --- folders

Result<void> Files::make_folder(const Path& path, std::filesystem::perms above) const {
  const auto make = [&](const auto& self, const Path& folder, std::filesystem::perms mode) -> Result<void> {
    if (exists(folder)) return {};
    const auto parent = parent_of(folder);
    if (auto made = self(self, parent, above); !made) return made;
    if (auto made = disk_->make_folder(folder, mode); !made) return made;
    return sync_folder(parent);
  };
  return make(make, path, std::filesystem::perms::owner_all);
}

Result<void> Files::move(const Path& from, const Path& to) const {
  if (exists(to)) {
    if (exists(from)) return storage_error(fmt::format("moving to {}", to.string()), EEXIST);
  } else {
    if (auto made = make_folder(parent_of(to)); !made) return made;
    if (auto moved = disk_->rename(from, to); !moved) return moved;
  }
  if (auto synced = sync_folder(parent_of(to)); !synced) return synced;
  return exists(parent_of(from)) ? sync_folder(parent_of(from)) : Result<void>{};
}

Result<void> Files::remove_tree(const Path& path) const {
  if (!disk_->is_folder(path)) return remove(path);
  // Another process may put something into it, or take something away, meanwhile.
  constexpr int tries_max = 100;
  for (int tries = 0; tries < tries_max; ++tries) {
    const auto names = list(path);
    if (!names) return names.error();
    for (const auto& name : *names) {
      if (auto removed = remove_tree(path / name); !removed) return removed;
    }
    const auto removed = disk_->remove_folder(path);
    if (!removed) return removed.error();
    if (*removed) return {};
  }
  return storage_error(fmt::format("removing {}", path.string()), ENOTEMPTY);
}

Result<void> Files::remove_durably(const Path& path) const {
  if (auto removed = remove_tree(path); !removed) return removed;
  return exists(parent_of(path)) ? sync_folder(parent_of(path)) : Result<void>{};
}

// --- space and locks

Result<void> Space::need(std::uint64_t bytes, std::string_view what) const {
  const auto free = free_ ? free_(folder_) : files_.free_bytes(folder_);
  if (!free) return free.error();
  if (*free >= min_free_bytes_ && *free - min_free_bytes_ >= bytes) return {};
  const auto beside = min_free_bytes_ > 0 ? fmt::format(" beside min_free_bytes, {}", min_free_bytes_) : std::string();
  return storage(fmt::format("{} needs {} bytes of free space at {}{}, and there are {}", what, bytes, folder_.string(),
                             beside, *free));
}

Result<FileLock> FileLock::take(const Path& file, std::string taken) {
  constexpr mode_t owner_only = 0600;
  Descriptor opened(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, owner_only));
  if (!opened) return storage_error(fmt::format("opening {}", file.string()), errno);
  if (::flock(opened.number(), LOCK_EX | LOCK_NB) == 0) return FileLock(std::move(opened));
  if (errno != EWOULDBLOCK) return storage_error(fmt::format("locking {}", file.string()), errno);
  return MirrorError::configuration(std::move(taken));
}

}  // namespace crosslink::base
