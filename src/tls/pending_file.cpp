#include "tls/pending_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/descriptor.hpp"
#include "base/files.hpp"
#include "tls/pem_files.hpp"

namespace crosslink::tls {
namespace {

MirrorError cannot_write(const std::filesystem::path& path, int error) {
  return MirrorError::configuration(
      fmt::format("cannot write {} ({}): choose a folder this user can write to", quoted(path), std::strerror(error)));
}

/// Without it a power cut may take the key of a certificate that was handed out already.
Result<void> sync_folder_of(const std::filesystem::path& file) {
  const auto synced = base::Files().sync_folder(file.has_parent_path() ? file.parent_path() : ".");
  return synced ? synced : MirrorError::configuration(synced.error().message());
}

}  // namespace

MirrorError already_exists(const std::filesystem::path& path) {
  return MirrorError::configuration(fmt::format("{} already exists: give --force to replace it", quoted(path)));
}

PendingFile::PendingFile(std::filesystem::path target, std::filesystem::path temporary)
    : target_(std::move(target)), temporary_(std::move(temporary)) {}

PendingFile::PendingFile(PendingFile&& other) noexcept
    : target_(std::move(other.target_)), temporary_(std::exchange(other.temporary_, {})) {}

PendingFile::~PendingFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<PendingFile> PendingFile::write(std::filesystem::path target, std::string_view content, mode_t mode) {
  std::array<unsigned char, 8> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) return cannot_write(target, EIO);
  auto temporary = target.parent_path() / fmt::format(".crosslink-{:02x}.tmp", fmt::join(random, ""));
  const base::Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file) return cannot_write(target, errno);
  PendingFile pending(std::move(target), std::move(temporary));
  if (!base::write_all(file, base::bytes_of(content)) || ::fsync(file.number()) != 0)
    return cannot_write(pending.target_, errno);
  return pending;
}

Result<void> PendingFile::publish(bool force) {
  if (force) {
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) return cannot_write(target_, errno);
    temporary_.clear();
    return sync_folder_of(target_);
  }
  // link() refuses an existing name in one step; rename() would replace a file made in between.
  if (::link(temporary_.c_str(), target_.c_str()) != 0) {
    return errno == EEXIST ? already_exists(target_) : cannot_write(target_, errno);
  }
  ::unlink(temporary_.c_str());
  temporary_.clear();
  return sync_folder_of(target_);
}

}  // namespace crosslink::tls
