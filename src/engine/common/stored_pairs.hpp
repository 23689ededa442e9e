// The pairs of a kv snapshot that was received, one after another from its file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/files.hpp"
#include "crosslink/entry.hpp"
#include "crosslink/result.hpp"

namespace crosslink::engine {

class StoredPairs {
 public:
  /// The first `bytes` of `file`, which need not be open when there are none.
  StoredPairs(base::ReadFile file, std::uint64_t bytes) : file_(std::move(file)), left_(bytes) {}
  /// Absent at the end; what it gives holds until the next call. Errors: Storage; UnsupportedOperation (peer), also when
  /// the keys do not rise.
  Result<std::optional<KeyValue>> next();

 private:
  Result<void> read_on();
  base::ReadFile file_;
  std::uint64_t at_ = 0, left_;
  std::vector<std::byte> buffer_;
  std::size_t used_ = 0;
  std::optional<std::string> before_;
};

}  // namespace crosslink::engine
