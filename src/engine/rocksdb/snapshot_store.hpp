// The snapshots that mirrors read: checkpoints beside the database, each with a manifest, taken up again after a
// restart.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/common/kept_snapshots.hpp"
#include "engine/rocksdb/env_disk.hpp"
#include "engine/rocksdb/live.hpp"

namespace crosslink::rocks {

/// Of files as they are: what it names must match for a reader to understand them.
std::string checkpoint_format(std::string_view compression);
std::string checkpoint_format(RocksdbCompression compression);

/// What a checkpoint's stream begins with: u32 length (big endian), that many bytes of lines "NAME BYTES\n", then the
/// files in that order. docs/protocol.md, "Snapshot formats".
struct CheckpointFiles {
  struct One {
    std::string name;
    std::uint64_t bytes = 0;
  };
  std::vector<One> files;
  /// Nothing but tables, logs, a manifest and CURRENT may be named, and nothing twice.
  static bool is_allowed(std::string_view name);
};
inline constexpr std::size_t checkpoint_head_bytes_max = 16 * 1024 * 1024;
inline constexpr std::size_t checkpoint_files_max = 200'000;
inline constexpr std::uint64_t checkpoint_bytes_max = 1ull << 56;
std::vector<std::byte> encode_checkpoint_head(const CheckpointFiles& files);
/// `bytes` begin behind the length. Errors: UnsupportedOperation (peer).
Result<CheckpointFiles> decode_checkpoint_head(std::span<const std::byte> bytes);

/// Thread safe.
class SnapshotStore {
 public:
  struct Options {
    LiveKind kind = LiveKind::hosted;
    std::size_t snapshots_max = 0;
    std::chrono::seconds kept{};
    std::uint64_t budget_bytes = 0;  ///< of what snapshots alone hold, before unread ones go
    RocksdbOptions to_open;          ///< a checkpoint, to read it
  };
  SnapshotStore(Path folder, Options options);
  /// Takes up what an earlier process left, as far as it belongs to the history and nothing in it was lost since: the
  /// disk may have kept a snapshot and not the newest log that is in it.
  Result<void> adopt(const History& history, Lsn head);
  struct Source {
    Live& live;
    std::string own_format;  ///< of files as they are; empty: only kv
    Lsn head;
    Lsn oldest;              ///< kept snapshots from before it are not opened: no log goes on from them
    const History& history;  ///< nor are those of another one
    /// The facts but for id and format, from the checkpoint's own head. Called with the store locked.
    std::function<Result<SnapshotFacts>(Live& checkpoint)> describe;
  };
  /// The snapshot `wanted`, or one of now. Errors: as SourceEngine::open_snapshot.
  Result<std::shared_ptr<SnapshotReader>> open(const Source& source, std::span<const std::string> formats,
                                               const std::optional<SnapshotId>& wanted);
  /// Removes what no mirror reads or will read: unread for too long, from before `oldest`, or of another history; then,
  /// while they hold more than the budget, the longest unread.
  void prune(const History& history, Lsn oldest);
  /// The history changes: none of them may be opened any more.
  void clear();

 private:
  struct Made {
    SnapshotFacts facts;
    Path folder;
  };
  using Kept = KeptSnapshots<Made>;
  Result<std::shared_ptr<SnapshotReader>> read(Kept::Kept& kept);
  Result<std::shared_ptr<SnapshotReader>> open_made(const Made& made) const;
  Result<Made> make(const Source& source, const std::string& format);
  /// Bytes of files that only this snapshot still has.
  std::uint64_t held_alone(const Made& made) const;
  Path folder_;
  Options options_;
  Files disk_;
  std::mutex mutex_;
  Kept kept_;
};

}  // namespace crosslink::rocks
