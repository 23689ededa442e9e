// What was given to mirrors of a program's own database, as stretches of its log with a hash each, kept beside it: a
// backup that was restored and written on has another log there, however alike single writes are.
#pragma once

#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "crosslink/position.hpp"
#include "engine/rocksdb/env_disk.hpp"
#include "engine/rocksdb/log_reader.hpp"
#include "engine/rocksdb/log_window.hpp"

namespace crosslink::rocks {

/// Thread safe.
class LogChain {
 public:
  LogChain(Files disk, Path file) : disk_(disk), file_(std::move(file)) {}

  struct Check {
    /// The log is another one after this LSN, than it was; absent: it is the same as far as can be told.
    std::optional<Lsn> diverged_after;
    bool is_shorter = false;  ///< it ends before what was given to mirrors
  };
  /// Takes up what an earlier process noted, compares the log with it, and forgets what it no longer has. Reads about
  /// the newest 32 MiB of the log; more once they differ. Errors: Storage.
  Result<Check> take_up(LogReader& log, const std::vector<WalFile>& files, Lsn oldest, Lsn head);
  /// The entries of (after, last] are about to be given away. Where it cannot be kept now, save() tries again.
  void note(Lsn after, Lsn last, std::span<const std::byte> entries);
  /// The same for the newest entries up to `last`, as far as they are in the log. Errors: Storage.
  Result<void> note_end(LogReader& log, Lsn oldest, Lsn last);
  /// Up to where something was given away; 0: nothing.
  Lsn last() const;
  /// All of it is on disk. Quick when it is. Errors: Storage.
  Result<void> save();

 private:
  struct Link {
    Lsn after, last;
    EntryHash hash;
  };
  Result<void> load();
  /// Of the links from `first` on: where the log is another one. Looks at each whose stretch the log has.
  Result<std::optional<Lsn>> compare(LogReader& log, std::size_t first, Lsn oldest, Lsn head, bool& some_same) const;
  void add(const Link& link);
  void thin_out();
  Files disk_;
  Path file_;
  mutable std::mutex mutex_;
  std::vector<Link> links_;
  std::optional<AppendFile> open_;
  bool is_whole_ = true;   ///< the file has every link
  bool is_synced_ = true;  ///< and they are on disk
};

}  // namespace crosslink::rocks
