// A file that appears complete or not at all. For src/tls only.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string_view>

#include "crosslink/result.hpp"

namespace crosslink::tls {

/// Content on disk under a temporary name beside `target`, until publish(); dropped before that it leaves nothing
/// behind.
class PendingFile {
 public:
  /// The temporary has `mode` (less the umask) before its first byte. Errors: Configuration.
  static Result<PendingFile> write(std::filesystem::path target, std::string_view content, mode_t mode);
  PendingFile(PendingFile&& other) noexcept;
  PendingFile& operator=(PendingFile&&) = delete;
  ~PendingFile();

  /// Gives the file its name, durable when it returns. Without `force` an existing target stays as it is. Errors:
  /// Configuration.
  Result<void> publish(bool force);

 private:
  PendingFile(std::filesystem::path target, std::filesystem::path temporary);
  std::filesystem::path target_;
  std::filesystem::path temporary_;  ///< empty once published
};

/// The error of a file that is there and must not be replaced.
MirrorError already_exists(const std::filesystem::path& path);

}  // namespace crosslink::tls
