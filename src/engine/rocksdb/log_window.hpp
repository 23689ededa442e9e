// What of the log on disk is kept for mirrors: a window in bytes and age, longer for pins, up to a budget.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crosslink/engine.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "engine/rocksdb/live.hpp"

namespace crosslink::rocks {

/// A WAL file, archived or the one being written to.
struct WalFile {
  std::string path;
  std::uint64_t number = 0;
  Lsn first;
  std::uint64_t bytes = 0;
  bool archived = false;
  std::chrono::system_clock::time_point written;  ///< by the clock that people set
};
/// Oldest first; none when RocksDB does not say.
std::vector<WalFile> list_wal_files(Live& of);

struct WindowClocks {
  std::function<std::chrono::steady_clock::time_point()> steady = [] { return std::chrono::steady_clock::now(); };
  std::function<std::chrono::system_clock::time_point()> wall = [] { return std::chrono::system_clock::now(); };
};

/// A file's age counts from when it was seen to grow, by a clock that is never set; of one that was there before this
/// process, from what the files' times said at its start. Its owner's mutex is held in every call but trim().
class LogWindow {
 public:
  explicit LogWindow(const RocksdbLogWindow& limits, WindowClocks clocks = {})
      : limits_(limits), clocks_(std::move(clocks)) {}
  /// What there is of another database's log, or of the same after a restart. Pins are gone.
  void begin(std::vector<WalFile> files, Lsn head);
  /// The files as they are now.
  void note(std::vector<WalFile> files, Lsn head);
  /// How far the clock that people set jumped between two of these looks, if by more than a minute; said once.
  std::optional<std::chrono::seconds> take_jump() { return std::exchange(jump_, std::nullopt); }
  /// The log can be read after this LSN and after every later one.
  Lsn oldest() const { return oldest_; }
  void raise_oldest(Lsn to) { oldest_ = std::max(oldest_, to); }
  void wrote(std::uint64_t bytes) { bytes_since_ += bytes; }
  void pin(const std::string& holder, Lsn from) { pins_[holder] = from; }
  void unpin(const std::string& holder) { pins_.erase(holder); }
  /// On disk, as far as was noted, and what was written since.
  std::uint64_t bytes() const;
  std::optional<WindowLeft> left(Lsn after, Lsn head) const;
  /// Removes what is beyond window and budget of `of`, as long as `still` (called with `mutex` held) says that it is
  /// the database of this window. `head`: its newest LSN, with `mutex` held.
  template <class Still, class Head>
  void trim(Live& of, std::mutex& mutex, const Still& still, const Head& head) {
    auto files = list_wal_files(of);
    {
      const std::scoped_lock lock(mutex);
      if (!still()) return;
      note(files, head());
    }
    std::uint64_t behind = 0;  // bytes after the file that is looked at
    for (const auto& file : files)
      behind += file.bytes;
    // The last one stays: what is written next goes on from it.
    for (std::size_t i = 0; i + 1 < files.size(); ++i) {
      behind -= files[i].bytes;
      const Lsn end{files[i + 1].first.value - 1};
      {
        const std::scoped_lock lock(mutex);
        if (!may_go(files[i], end, behind) || !still()) return;
        raise_oldest(end);  // before it is gone, so that no reader begins with it
      }
      of.log().forget_up_to(end);
      if (!of.db().DeleteFile(files[i].path).ok()) return;  // again next time
    }
  }

 private:
  bool may_go(const WalFile& file, Lsn end, std::uint64_t behind) const;
  std::uint64_t limit_for(Lsn after) const;
  using Steady = std::chrono::steady_clock::time_point;
  struct Known {
    std::uint64_t bytes = 0;
    Steady written;
  };
  /// Of one log: a file of another may have the same number.
  using FileKey = std::pair<std::uint64_t, std::uint64_t>;
  static FileKey key_of(const WalFile& file) { return {file.number, file.first.value}; }
  void look_at_clocks();
  std::chrono::steady_clock::duration age_of(const WalFile& file) const;
  RocksdbLogWindow limits_;
  WindowClocks clocks_;
  std::map<FileKey, Known> known_;
  std::optional<std::pair<Steady, std::chrono::system_clock::time_point>> looked_;
  std::optional<std::chrono::seconds> jump_;
  Lsn oldest_;
  std::map<std::string, Lsn> pins_;
  std::vector<WalFile> files_;  ///< as last looked at, when the head was files_head_
  Lsn files_head_;
  std::uint64_t bytes_since_ = 0;
};

/// What is said of a jump of the clock.
std::string to_warning(std::chrono::seconds jump);

}  // namespace crosslink::rocks
