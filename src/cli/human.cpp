#include "cli/human.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace crosslink::cli {
namespace {

constexpr std::array<std::string_view, 5> size_units{"B", "KiB", "MiB", "GiB", "TiB"};

std::size_t unit_of(std::uint64_t bytes) {
  std::size_t unit = 0;
  // 1023.95 of a unit would be shown as 1024.0.
  auto left = static_cast<double>(bytes);
  while (left >= 1023.95 && unit + 1 < size_units.size()) {
    left /= 1024;
    ++unit;
  }
  return unit;
}

std::string in_unit(std::uint64_t bytes, std::size_t unit) {
  if (unit == 0) return fmt::format("{}", bytes);
  return fmt::format("{:.1f}", static_cast<double>(bytes) / static_cast<double>(1ull << (10 * unit)));
}

/// A continuation byte of UTF-8 takes no column of its own.
bool takes_column(char byte) { return (static_cast<unsigned char>(byte) & 0xC0u) != 0x80u; }

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, takes_column));
}

}  // namespace

std::string grouped(std::uint64_t number) {
  const auto digits = fmt::format("{}", number);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ' ';
    text += digits[i];
  }
  return text;
}

std::string size_text(std::uint64_t bytes) {
  const auto unit = unit_of(bytes);
  return fmt::format("{} {}", in_unit(bytes, unit), size_units[unit]);
}

std::string part_text(std::uint64_t done_bytes, std::uint64_t total_bytes) {
  const auto unit = unit_of(total_bytes);
  return fmt::format("{}/{} {}", in_unit(done_bytes, unit), in_unit(total_bytes, unit), size_units[unit]);
}

std::string duration_text(std::chrono::microseconds time) {
  const double seconds = std::chrono::duration<double>(time).count();
  if (time < std::chrono::milliseconds(1)) return fmt::format("{}us", time.count());
  if (time < std::chrono::milliseconds(100)) return fmt::format("{:.3g}ms", seconds * 1000);
  if (seconds < 0.995) return fmt::format("{:.2f}s", seconds);
  if (seconds < 59.95) return fmt::format("{:.1f}s", seconds);
  const auto whole = std::chrono::round<std::chrono::seconds>(time).count();
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  if (whole < 48 * 3600) return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
  return fmt::format("{}d{:02}h", whole / 86400, whole / 3600 % 24);
}

std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], columns_of(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    if (!text.empty()) text += '\n';
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      line.append(widths[i] - columns_of(row[i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line;
  }
  return text;
}

std::string bar(std::uint64_t done, std::uint64_t total, std::size_t width) {
  const double share = total == 0 ? 1 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(width));
  return fmt::format("[{:<{}}]", std::string(filled, '#'), width);
}

LiveLine::LiveLine(bool wanted) : shown_(wanted && ::isatty(STDERR_FILENO) == 1) {
  winsize size{};
  if (shown_ && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) columns_ = size.ws_col;
}

LiveLine::~LiveLine() { show(""); }

void LiveLine::show(std::string_view text) {
  if (!shown_) return;
  std::size_t columns = 0, end = 0;
  // One column stays free: a full row would wrap, and the next \r would begin below it.
  while (end < text.size()) {
    if (takes_column(text[end]) && ++columns >= columns_) break;
    ++end;
  }
  fmt::print(stderr, "\r\x1b[K{}", text.substr(0, end));
  std::fflush(stderr);
}

void LiveLine::keep(std::string_view text) {
  show(text);
  if (shown_) fmt::print(stderr, "\n");
}

}  // namespace crosslink::cli
