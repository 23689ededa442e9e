#include "engine/rocksdb/log_window.hpp"

#include <algorithm>
#include <utility>

namespace crosslink::rocks {

std::vector<WalFile> list_wal_files(Live& of) {
  rocksdb::VectorLogPtr listed;
  std::vector<WalFile> files;
  if (!of.db().GetSortedWalFiles(listed).ok()) return files;
  const auto& elsewhere = of.db().GetDBOptions().wal_dir;
  const auto folder = elsewhere.empty() ? of.folder() : Path(elsewhere);
  for (const auto& one : listed) {
    if (one->StartSequence() == 0) continue;  // nothing is in it yet
    std::error_code error;
    const auto written = std::filesystem::last_write_time(folder / one->PathName().substr(1), error);
    files.push_back({one->PathName(), Lsn{one->StartSequence()}, one->SizeFileBytes(),
                     one->Type() == rocksdb::kArchivedLogFile,
                     error ? std::chrono::system_clock::now() : std::chrono::file_clock::to_sys(written)});
  }
  return files;
}

void LogWindow::begin(std::vector<WalFile> files, Lsn head) {
  oldest_ = files.empty() ? head : Lsn{files.front().first.value - 1};
  pins_.clear();
  note(std::move(files), head);
}

void LogWindow::note(std::vector<WalFile> files, Lsn head) {
  files_ = std::move(files);
  files_head_ = head;
  bytes_since_ = 0;
}

std::uint64_t LogWindow::bytes() const {
  auto sum = bytes_since_;
  for (const auto& file : files_)
    sum += file.bytes;
  return sum;
}

std::uint64_t LogWindow::limit_for(Lsn after) const {
  const bool pinned = std::ranges::any_of(pins_, [after](const auto& pin) { return pin.second <= after; });
  return pinned ? std::max(limits_.budget_bytes, limits_.bytes) : limits_.bytes;
}

bool LogWindow::may_go(const WalFile& file, Lsn end, std::uint64_t behind) const {
  const bool needed = std::ranges::any_of(pins_, [end](const auto& pin) { return pin.second < end; });
  const bool passed = behind >= limits_.bytes || std::chrono::system_clock::now() - file.written > limits_.time;
  const bool over = behind >= std::max(limits_.budget_bytes, limits_.bytes);
  return file.archived && passed && (!needed || over);
}

std::optional<WindowLeft> LogWindow::left(Lsn after, Lsn head) const {
  if (after < oldest_) return std::nullopt;
  // As the files stood a second ago, and what was written since.
  double needed = 0;
  std::optional<std::chrono::milliseconds> time;
  const auto now = std::chrono::system_clock::now();
  const auto add = [&](Lsn first, Lsn end, std::uint64_t bytes) {
    if (end <= after || end < first) return false;
    const auto behind = static_cast<double>(end.value - std::max(after.value, first.value - 1));
    needed += static_cast<double>(bytes) * behind / static_cast<double>(end.value - first.value + 1);
    return true;
  };
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const auto& file = files_[i];
    const auto end = i + 1 < files_.size() ? Lsn{files_[i + 1].first.value - 1} : files_head_;
    if (!add(file.first, end, file.bytes) || time) continue;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(limits_.time - (now - file.written));
    time = std::max(std::chrono::milliseconds(0), left);
  }
  static_cast<void>(add(Lsn{files_head_.value + 1}, head, bytes_since_));
  const auto limit = limit_for(after);
  return WindowLeft{limit - std::min(limit, static_cast<std::uint64_t>(needed)), time};
}

}  // namespace crosslink::rocks
