// The newest stretch of a database's log, encoded once for all of its mirrors.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

#include "core/source_session.hpp"

namespace crosslink::link {

/// Thread safe. Mirrors that are further behind read the engine's log through it, unkept.
class LogRing {
 public:
  LogRing(SourceEngine& engine, std::uint64_t bytes_max) : engine_(&engine), bytes_max_(bytes_max) {}

  /// The log after `after`, as SourceEngine::read_log; blocks like it. `zstd`: compressed where that makes it smaller.
  Result<core::LogPiece> read(Lsn after, std::size_t bytes_max, bool zstd);
  /// The history changed: nothing that is kept counts any more.
  void clear();

 private:
  struct Kept {
    LogSlice slice;
    std::uint32_t crc32c = 0;
    std::optional<core::LogPiece> packed;  ///< once a mirror with zstd has asked; codec "none" if it did not help
  };
  std::optional<core::LogPiece> find(Lsn after, std::size_t bytes_max, bool zstd);
  void keep(const LogSlice& slice, std::uint32_t crc32c);

  SourceEngine* engine_;
  const std::uint64_t bytes_max_;
  std::mutex mutex_;
  std::deque<Kept> kept_;  ///< each begins where the one before ended
  std::uint64_t kept_bytes_ = 0, generation_ = 0;
};

}  // namespace crosslink::link
