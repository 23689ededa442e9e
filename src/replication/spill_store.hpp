// Where the fragments of one large entry wait until it is whole: in memory, above a size in a file without a name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/descriptor.hpp"
#include "session/log_order.hpp"

namespace crosslink::replication {

class SpillStore final : public core::FragmentStore {
 public:
  /// `folder`: of the file; empty: the system's for temporary files. `min_free_bytes`: what a file leaves on its disk.
  explicit SpillStore(std::filesystem::path folder, std::uint64_t min_free_bytes = 0)
      : folder_(std::move(folder)), min_free_bytes_(min_free_bytes) {}
  ~SpillStore() override;
  SpillStore(const SpillStore&) = delete;
  SpillStore& operator=(const SpillStore&) = delete;

  /// A larger entry waits in a file, so that it takes no more memory than eight frames while it comes.
  static constexpr std::uint64_t memory_bytes_max = 8ull * 1024 * 1024;
  Result<void> begin(std::uint64_t total_bytes) override;
  Result<void> append(std::span<const std::byte> bytes) override;
  Result<Whole> take() override;
  void drop() override;

 private:
  const std::filesystem::path folder_;
  const std::uint64_t min_free_bytes_;
  core::MemoryFragmentStore memory_;
  base::Descriptor file_;
  std::uint64_t file_bytes_ = 0;
};

}  // namespace crosslink::replication
