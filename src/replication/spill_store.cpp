#include "replication/spill_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace crosslink::replication {
namespace {

MirrorError spill_error(const char* what, int error) {
  return {ErrorKind::Storage, CausedBy::us,
          fmt::format("a large entry cannot be kept until it is whole: {} ({})", what, std::strerror(error))};
}

}  // namespace

SpillStore::~SpillStore() { drop(); }

Result<void> SpillStore::begin(std::uint64_t total_bytes) {
  drop();
  if (total_bytes <= memory_bytes_max) return memory_.begin(total_bytes);
  std::error_code none;
  const auto folder = folder_.empty() ? std::filesystem::temp_directory_path(none) : folder_;
  if (none) return spill_error("there is no folder for temporary files", none.value());
  const auto space = std::filesystem::space(folder, none);
  if (none) return spill_error("the free space is unknown", none.value());
  if (space.available < min_free_bytes_ || space.available - min_free_bytes_ < total_bytes) {
    return MirrorError(
        ErrorKind::Storage, CausedBy::us,
        fmt::format("a large entry cannot be kept until it is whole: it needs {} bytes of free space at {} beside "
                    "min_free_bytes, {}, and there are {}",
                    total_bytes, folder.string(), min_free_bytes_, space.available));
  }
  std::string name = (folder / "crosslink-entry-XXXXXX").string();
  const int file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file < 0) return spill_error("no file can be made", errno);
  ::unlink(name.c_str());
  file_ = file;
  return {};
}

Result<void> SpillStore::append(std::span<const std::byte> bytes) {
  if (!file_) return memory_.append(bytes);
  while (!bytes.empty()) {
    const auto written = ::write(*file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return spill_error("its file cannot be written", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    file_bytes_ += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<core::FragmentStore::Whole> SpillStore::take() {
  if (!file_) return memory_.take();
  const auto bytes = static_cast<std::size_t>(std::exchange(file_bytes_, 0));
  const int file = *std::exchange(file_, std::nullopt);
  void* mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
  const int error = errno;
  ::close(file);
  if (mapped == MAP_FAILED) return spill_error("its file cannot be read back", error);
  const std::shared_ptr<const void> keep(mapped, [bytes](void* memory) { ::munmap(memory, bytes); });
  return Whole{keep, {static_cast<const std::byte*>(mapped), bytes}};
}

void SpillStore::drop() {
  memory_.drop();
  if (file_) ::close(*std::exchange(file_, std::nullopt));
  file_bytes_ = 0;
}

}  // namespace crosslink::replication
