#include "node/hosting/private_files.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "node/log.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

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

Result<void> make_private_folder(const fs::path& folder, const base::Files& files) {
  // Those above it are not this node's own: they are what the umask makes of them.
  if (auto made = files.make_folder(folder, fs::perms::all); !made) return made;
  return keep_private(folder);
}

Result<std::string> read_password(const fs::path& file) {
  std::ifstream stream(file);
  if (!stream) return base::storage_error(fmt::format("opening {}", file.string()), errno).with_context("the password");
  std::string password;
  std::getline(stream, password);
  if (!stream || password.empty())
    return MirrorError::configuration(fmt::format("there is no password in the first line of {}", file.string()));
  if (auto good = check_private(file); !good) return good.error();
  return password;
}

}  // namespace crosslink::node
