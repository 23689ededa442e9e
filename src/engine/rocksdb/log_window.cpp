#include "engine/rocksdb/log_window.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace crosslink::rocks {
namespace {

constexpr auto jump_min = std::chrono::minutes(1);

}  // namespace

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
    files.push_back({one->PathName(), one->LogNumber(), Lsn{one->StartSequence()}, one->SizeFileBytes(),
                     one->Type() == rocksdb::kArchivedLogFile,
                     error ? std::chrono::system_clock::now() : std::chrono::file_clock::to_sys(written)});
  }
  return files;
}

void LogWindow::begin(std::vector<WalFile> files, Lsn head) {
  oldest_ = files.empty() ? head : Lsn{files.front().first.value - 1};
  pins_.clear();
  const auto steady = clocks_.steady();
  const auto wall = clocks_.wall();
  for (const auto& file : files) {
    const auto age = std::max(wall - file.written, std::chrono::system_clock::duration(0));
    // One that is known keeps its age: this is the same log, opened anew.
    known_.try_emplace(
        key_of(file), Known{file.bytes, steady - std::chrono::duration_cast<std::chrono::steady_clock::duration>(age)});
  }
  note(std::move(files), head);
}

void LogWindow::note(std::vector<WalFile> files, Lsn head) {
  look_at_clocks();
  const auto now = clocks_.steady();
  std::map<FileKey, Known> known;
  for (const auto& file : files) {
    const auto before = known_.find(key_of(file));
    const bool stands = before != known_.end() && before->second.bytes == file.bytes;
    known.emplace(key_of(file), Known{file.bytes, stands ? before->second.written : now});
  }
  known_ = std::move(known);
  files_ = std::move(files);
  files_head_ = head;
  bytes_since_ = 0;
}

void LogWindow::look_at_clocks() {
  const auto steady = clocks_.steady();
  const auto wall = clocks_.wall();
  if (looked_) {
    const auto went = wall - looked_->second;
    const auto jumped = std::chrono::duration_cast<std::chrono::seconds>(went - (steady - looked_->first));
    if (std::chrono::abs(jumped) > jump_min) jump_ = jumped;
  }
  looked_.emplace(steady, wall);
}

std::chrono::steady_clock::duration LogWindow::age_of(const WalFile& file) const {
  const auto known = known_.find(key_of(file));
  return known == known_.end() ? std::chrono::steady_clock::duration(0) : clocks_.steady() - known->second.written;
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
  const bool passed = behind >= limits_.bytes || age_of(file) > limits_.time;
  const bool over = behind >= std::max(limits_.budget_bytes, limits_.bytes);
  return file.archived && passed && (!needed || over);
}

std::optional<WindowLeft> LogWindow::left(Lsn after, Lsn head) const {
  if (after < oldest_) return std::nullopt;
  // As the files stood a second ago, and what was written since.
  double needed = 0;
  std::optional<std::chrono::milliseconds> time;
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
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(limits_.time - age_of(file));
    time = std::max(std::chrono::milliseconds(0), left);
  }
  static_cast<void>(add(Lsn{files_head_.value + 1}, head, bytes_since_));
  const auto limit = limit_for(after);
  return WindowLeft{limit - std::min(limit, static_cast<std::uint64_t>(needed)), time};
}

std::string to_warning(std::chrono::seconds jump) {
  return fmt::format(
      "the machine's clock jumped {} by {} s, or the machine slept: the age of the log kept for mirrors goes on as "
      "before",
      jump.count() < 0 ? "back" : "forward", std::abs(jump.count()));
}

}  // namespace crosslink::rocks
