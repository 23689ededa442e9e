#include "replication/spill_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/files.hpp"

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
  const base::Space space(base::Files(), folder, min_free_bytes_);
  if (auto room = space.need(total_bytes, "a large entry cannot be kept until it is whole: it"); !room) return room;
  std::string name = (folder / "crosslink-entry-XXXXXX").string();
  base::Descriptor file(::mkostemp(name.data(), O_CLOEXEC));
  if (!file) return spill_error("no file can be made", errno);
  ::unlink(name.c_str());
  file_ = std::move(file);
  return {};
}

Result<void> SpillStore::append(std::span<const std::byte> bytes) {
  if (!file_) return memory_.append(bytes);
  if (!base::write_all(file_, bytes)) return spill_error("its file cannot be written", errno);
  file_bytes_ += bytes.size();
  return {};
}

Result<core::FragmentStore::Whole> SpillStore::take() {
  if (!file_) return memory_.take();
  const auto bytes = static_cast<std::size_t>(std::exchange(file_bytes_, 0));
  const base::Descriptor file = std::exchange(file_, {});
  void* mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (mapped == MAP_FAILED) return spill_error("its file cannot be read back", errno);
  const std::shared_ptr<const void> keep(mapped, [bytes](void* memory) { ::munmap(memory, bytes); });
  return Whole{keep, {static_cast<const std::byte*>(mapped), bytes}};
}

void SpillStore::drop() {
  memory_.drop();
  file_ = {};
  file_bytes_ = 0;
}

}  // namespace crosslink::replication
