// Where SCANs of a database's clients go on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

namespace crosslink::node {

/// Bounded: the cursor that was used longest ago is forgotten, and is an error then. They do not outlive the process.
/// Thread safe.
class ScanCursors {
 public:
  static constexpr std::size_t cursors_max = 4096;
  /// A new cursor that stands before `key`. Never 0.
  std::uint64_t add(std::string key);
  /// Where it stands; again and again, as long as it is known. Absent: it was forgotten, or never was.
  std::optional<std::string> find(std::uint64_t cursor);

 private:
  using Cursor = std::pair<std::uint64_t, std::string>;
  std::mutex mutex_;
  std::uint64_t last_ = 0;
  std::list<Cursor> by_age_;
  std::unordered_map<std::uint64_t, std::list<Cursor>::iterator> by_number_;
};

}  // namespace crosslink::node
