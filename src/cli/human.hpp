// Numbers, sizes and times as people read them, and tables.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace crosslink::cli {

/// 1482003 as "1 482 003".
std::string grouped(std::uint64_t number);
/// "512 B", "4.1 GiB".
std::string size_text(std::uint64_t bytes);
/// "4.1/10.8 GiB": both in the unit of the total.
std::string part_text(std::uint64_t done_bytes, std::uint64_t total_bytes);
/// "0.21s", "6.8s", "2m48s", "11h20m", "3d02h".
std::string duration_text(std::chrono::microseconds time);

/// Rows under each other, columns aligned by characters, two spaces between; the first row is the head. No line ends in
/// spaces, and none follows the last.
std::string table_text(const std::vector<std::vector<std::string>>& rows);

/// "[#####     ]"; more than the whole counts as the whole.
std::string bar(std::uint64_t done, std::uint64_t total, std::size_t width);

/// A line that changes in place on a terminal; nothing is shown elsewhere, and nothing stays when it ends.
class LiveLine {
 public:
  /// `wanted`: false shows nothing anywhere.
  explicit LiveLine(bool wanted);
  ~LiveLine();
  LiveLine(const LiveLine&) = delete;
  LiveLine& operator=(const LiveLine&) = delete;
  /// At most as much as fits in a row of the terminal.
  void show(std::string_view text);
  /// As show(), and it stays: what comes next is below it.
  void keep(std::string_view text);
  bool shown() const { return shown_; }

 private:
  bool shown_;
  std::size_t columns_ = 80;
};

}  // namespace crosslink::cli
