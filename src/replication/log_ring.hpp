// The newest stretch of a database's log, encoded once for all of its mirrors.
//
//   a commit ---- push() --> growing -- its first reader, or its size --> newest --.
//                                                                                  |-- read() --> mirrors
//   the engine's log -- read(), where nothing is kept --> behind ------------------'
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "session/source/source_session.hpp"

namespace crosslink::replication {

/// A stretch of log that grows no more. Thread safe: who needs it in a form that it does not have yet makes it, once
/// for all.
class LogStretch {
 public:
  explicit LogStretch(LogSlice slice) : slice_(std::move(slice)) {}
  const LogSlice& slice() const { return slice_; }
  /// In memory, but for what compression made of it, which is less.
  std::uint64_t held_bytes() const { return sizeof *this + slice_.entries->capacity(); }
  core::LogPiece piece(bool zstd);
  /// piece() takes no work that is worth a thread of its own.
  bool is_ready(bool zstd);

 private:
  core::LogPiece plain();
  const LogSlice slice_;
  std::mutex plain_mutex_, packed_mutex_;  ///< apart: who needs no compression does not wait for it
  std::optional<core::LogPiece> plain_;
  std::optional<core::LogPiece> packed_;  ///< once a mirror with zstd has asked; codec "none" if it did not help
};
using LogStretchPointer = std::shared_ptr<LogStretch>;

/// Stretches, each of which begins where the one before ended.
class StretchChain {
 public:
  bool empty() const { return stretches_.empty(); }
  std::size_t size() const { return stretches_.size(); }
  std::uint64_t bytes() const { return bytes_; }
  /// Precondition: not empty.
  Lsn end() const { return stretches_.back()->slice().last_lsn; }
  /// Null: what comes after this LSN is not here.
  LogStretchPointer find(Lsn after) const;
  /// Precondition: it goes on from the end, or nothing is here.
  void push(LogStretchPointer stretch);
  void drop_front();
  void clear();

 private:
  std::deque<LogStretchPointer> stretches_;
  std::uint64_t bytes_ = 0;
};

/// Thread safe.
class LogRing {
 public:
  LogRing(SourceEngine& engine, std::uint64_t bytes_max);

  /// What has just come to the log. Called by who commits: copies the entries, and waits for no reader.
  void push(const CommittedLog& log);
  /// The log after `after`, as SourceEngine::read_log; blocks like it. `zstd`: compressed where that makes it smaller.
  Result<core::LogPiece> read(Lsn after, std::size_t bytes_max, bool zstd);
  /// The same where it is kept and takes no work worth a thread of its own; absent: read() it. Quick.
  std::optional<core::LogPiece> read_kept(Lsn after, std::size_t bytes_max, bool zstd);
  /// The history changed: nothing that is kept counts any more.
  void clear();

 private:
  /// What was pushed since the last whole stretch.
  struct Growing {
    Lsn prev_lsn, last_lsn, origin_lsn;
    std::uint64_t count = 0;
    std::vector<std::byte> entries;
    bool is_empty() const { return last_lsn == prev_lsn; }
  };
  LogStretchPointer find(Lsn after);
  void keep(LogStretchPointer stretch, std::uint64_t generation);
  // With the mutex held.
  std::optional<Lsn> newest_end() const;
  void begin_newest_anew();
  void make_whole();
  void trim();

  SourceEngine* engine_;
  const std::uint64_t bytes_max_;
  const std::size_t stretch_bytes_max_;
  std::mutex mutex_;
  StretchChain newest_;
  Growing growing_;      ///< begins where newest_ ends
  StretchChain behind_;  ///< what mirrors that are further behind have read
  std::size_t last_stretch_bytes_ = 0;
  std::uint64_t generation_ = 0;
};

}  // namespace crosslink::replication
