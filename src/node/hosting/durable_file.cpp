#include "node/hosting/durable_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "node/log.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

MirrorError failed(std::string_view what, const fs::path& path, int error) {
  return {ErrorKind::Storage, CausedBy::us, fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(error))};
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }

 private:
  int number_;
};

Result<void> sync_folder(const fs::path& folder) {
  const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0 || ::fsync(opened.get()) != 0) return failed("sync", folder, errno);
  return {};
}

Result<void> write_new(const fs::path& file, std::string_view content) {
  constexpr mode_t owner_only = 0600;
  const Descriptor opened(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, owner_only));
  if (opened.get() < 0) return failed("write", file, errno);
  while (!content.empty()) {
    const auto written = ::write(opened.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("write", file, errno);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(opened.get()) != 0) return failed("sync", file, errno);
  return {};
}

constexpr uid_t root_user = 0;

bool is_own_group(gid_t group) {
  if (group == ::getegid()) return true;
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(0, ::getgroups(0, nullptr))));
  const auto count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<std::size_t>(std::max(0, count)));
  return std::ranges::find(groups, group) != groups.end();
}

/// Its name, or its number where it has none.
std::string user_text(uid_t user) {
  std::array<char, 1024> space{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(user, &entry, space.data(), space.size(), &found) == 0 && found != nullptr) return entry.pw_name;
  return fmt::format("{}", user);
}

std::string group_text(gid_t number) {
  std::array<char, 4096> space{};
  group entry{};
  group* found = nullptr;
  if (::getgrgid_r(number, &entry, space.data(), space.size(), &found) == 0 && found != nullptr) return entry.gr_name;
  return fmt::format("{}", number);
}

}  // namespace

Result<void> replace_file(const fs::path& file, std::string_view content) {
  auto fresh = file;
  fresh += ".new";
  if (auto written = write_new(fresh, content); !written) return written;
  if (::rename(fresh.c_str(), file.c_str()) != 0) return failed("replace", file, errno);
  return sync_folder(file.parent_path());
}

Result<std::string> read_small_file(const fs::path& file, std::uint64_t bytes_max) {
  std::error_code error;
  const auto bytes = fs::file_size(file, error);
  if (error == std::errc::no_such_file_or_directory) return std::string();
  if (error) return failed("read", file, error.value());
  if (bytes > bytes_max)
    return MirrorError(ErrorKind::Storage, CausedBy::us,
                       fmt::format("{} is larger than it may be ({} bytes)", file.string(), bytes_max));
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (bytes > 0) text << stream.rdbuf();
  if (!stream || !text) return failed("read", file, EIO);
  return text.str();
}

Result<void> move_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (!fs::exists(from, error) && !error && fs::exists(to, error)) return sync_folder(to.parent_path());
  if (fs::exists(to, error)) return failed("move to", to, EEXIST);
  fs::create_directories(to.parent_path(), error);
  if (error) return failed("make", to.parent_path(), error.value());
  if (::rename(from.c_str(), to.c_str()) != 0) return failed("move", from, errno);
  if (auto synced = sync_folder(to.parent_path()); !synced) return synced;
  return sync_folder(from.parent_path());
}

Result<void> remove_folder(const fs::path& folder) {
  constexpr int tries_max = 100;
  std::error_code error;
  for (int tries = 0; tries < tries_max; ++tries) {
    fs::remove_all(folder, error);
    // Another process took something of it away meanwhile, or made something in it.
    if (error != std::errc::no_such_file_or_directory && error != std::errc::directory_not_empty) break;
  }
  if (error) return failed("remove", folder, error.value());
  if (!fs::exists(folder.parent_path(), error)) return {};
  return sync_folder(folder.parent_path());
}

Result<void> check_private(const fs::path& path) {
  struct stat facts{};
  if (::stat(path.c_str(), &facts) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return {};
    return MirrorError::configuration(fmt::format("cannot look at {}: {}", path.string(), std::strerror(errno)));
  }
  if ((facts.st_mode & (S_IRWXG | S_IRWXO)) == 0) return {};
  const bool folder = S_ISDIR(facts.st_mode);
  const auto too_much = static_cast<mode_t>(S_IRWXO | (folder ? 0 : S_IWGRP | S_IXGRP));
  if (facts.st_uid == root_user && (facts.st_mode & too_much) == 0 && is_own_group(facts.st_gid)) return {};
  return MirrorError::configuration(fmt::format(
      "others may read {}: it has mode {:04o} and belongs to {}:{}; chmod {} it, or give it to root with mode {} and a "
      "group of this process, which is {}'s",
      path.string(), facts.st_mode & 07777u, user_text(facts.st_uid), group_text(facts.st_gid), folder ? "700" : "600",
      folder ? "0770" : "0640", user_text(::geteuid())));
}

namespace {

/// Absent: there is nothing to take away, or it is not for us to do.
std::optional<mode_t> group_rights_of(const fs::path& path) {
  struct stat facts{};
  if (::stat(path.c_str(), &facts) != 0 || facts.st_uid != ::geteuid()) return std::nullopt;
  const bool only_group = (facts.st_mode & S_IRWXG) != 0 && (facts.st_mode & S_IRWXO) == 0;
  return only_group ? std::optional(facts.st_mode & 07777u) : std::nullopt;
}

}  // namespace

Result<void> check_kept_private(const fs::path& path) {
  return group_rights_of(path) ? Result<void>{} : check_private(path);
}

Result<void> keep_private(const fs::path& path) {
  const auto mode = group_rights_of(path);
  if (mode && ::chmod(path.c_str(), *mode & S_IRWXU) == 0) {
    log(Severity::info, "rights of the group were taken away",
        {{"path", path.string()}, {"mode", fmt::format("{:04o}", *mode)}});
  }
  return check_private(path);
}

Result<std::shared_ptr<void>> lock_folder(const fs::path& folder) {
  constexpr mode_t owner_only = 0600;
  const auto file = folder / "node.lock";
  auto opened = std::make_shared<Descriptor>(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, owner_only));
  if (opened->get() < 0) return failed("open", file, errno);
  if (::flock(opened->get(), LOCK_EX | LOCK_NB) == 0) return std::shared_ptr<void>(std::move(opened));
  if (errno != EWOULDBLOCK) return failed("lock", file, errno);
  return MirrorError::configuration(fmt::format("{} is open already, by another node", folder.string()));
}

Result<void> make_private_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::create_directories(folder, error)) fs::permissions(folder, fs::perms::owner_all, error);
  if (error) return failed("make", folder, error.value());
  return keep_private(folder);
}

Result<std::string> read_password(const fs::path& file) {
  std::ifstream stream(file);
  if (!stream) return failed("open", file, errno).with_context("the password");
  std::string password;
  std::getline(stream, password);
  if (!stream || password.empty())
    return MirrorError::configuration(fmt::format("there is no password in the first line of {}", file.string()));
  if (auto good = check_private(file); !good) return good.error();
  return password;
}

}  // namespace crosslink::node
