// The newest log of a database, kept beside etcd's own history: in memory, and beyond that in files that are not
// opened after this process. Thread safe.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/files.hpp"
#include "crosslink/engine.hpp"
#include "engine/etcd/shortage.hpp"

namespace crosslink::etcd {

/// A stretch of log as it came from a watch.
struct Block {
  LogSlice slice;
  std::optional<EntryId> last_entry;  ///< of the stretch
};

/// The part of `slice` after `after`, at least one entry and else at most `bytes_max` bytes of them. Precondition:
/// prev_lsn <= after < last_lsn.
LogSlice cut_slice(const LogSlice& slice, Lsn after, std::size_t bytes_max);

class LogStore {
 public:
  struct Limits {
    std::uint64_t memory_bytes, window_bytes, budget_bytes;
  };
  /// `space`: of the folder's disk. `shortage`: lasts while the log is shorter than its limits say, for want of room.
  LogStore(base::Files files, base::Path folder, Limits limits, std::shared_ptr<const base::Space> space,
           std::shared_ptr<Shortage> shortage)
      : files_(std::move(files)),
        folder_(std::move(folder)),
        limits_(limits),
        space_(std::move(space)),
        shortage_(std::move(shortage)) {}
  ~LogStore();

  /// Empties it; the log will go on after `at`. `last`: the last entry at or before it, if it is known.
  void begin_at(Lsn at, std::optional<EntryId> last);
  /// Empties it up to the head.
  void drop_kept();
  /// Precondition: slice.prev_lsn is the head.
  void append(Block block);
  Lsn head() const;
  Lsn oldest() const;
  /// The last entry at or before the head; absent: not known.
  std::optional<EntryId> last_entry() const;
  /// The last entry at or before oldest(); absent: not known.
  std::optional<EntryId> entry_before() const;
  /// Absent when `after` lies before oldest(). Precondition: not above the head. Errors: Storage.
  Result<std::optional<LogSlice>> read(Lsn after, std::size_t bytes_max);
  void pin(const std::string& holder, Lsn from);
  void unpin(const std::string& holder);
  /// Absent when `after` lies before oldest().
  std::optional<WindowLeft> window_left(Lsn after) const;

 private:
  struct Kept {
    Block block;  ///< entries null: in the file
    std::uint64_t bytes = 0, file = 0, at = 0;
  };
  void trim();
  void drop_front();
  void spill();
  Result<void> write_down(Kept& next);
  void abandon_file(std::uint64_t bytes);
  Result<SharedBytes> bytes_of(const Kept& kept) const;
  static std::uint64_t cost(const Kept& kept);
  base::Path file_name(std::uint64_t number) const { return folder_ / std::to_string(number); }

  const base::Files files_;
  const base::Path folder_;
  const Limits limits_;
  const std::shared_ptr<const base::Space> space_;
  const std::shared_ptr<Shortage> shortage_;
  mutable std::mutex mutex_;
  std::deque<Kept> kept_;
  std::size_t spilled_ = 0;  ///< of kept_, from its front
  std::uint64_t kept_bytes_ = 0, memory_bytes_ = 0, logged_bytes_ = 0;
  Lsn head_, oldest_;
  std::optional<EntryId> before_, last_;
  std::map<std::string, Lsn> pins_;
  std::optional<base::AppendFile> file_;  ///< the newest
  std::uint64_t file_number_ = 0;
};

}  // namespace crosslink::etcd
