#include "node/durable_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

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
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) return failed("remove", folder, error.value());
  if (!fs::exists(folder.parent_path(), error)) return {};
  return sync_folder(folder.parent_path());
}

Result<void> check_private(const fs::path& path, std::string_view mode) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) return {};
  if ((status.permissions() & (fs::perms::group_all | fs::perms::others_all)) != fs::perms::none)
    return MirrorError::configuration(fmt::format("others may read {}: chmod {} it", path.string(), mode));
  return {};
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
  return check_private(folder, "700");
}

}  // namespace crosslink::node
