// A snapshot that is being received, beside the live data: its bytes as files, its facts, and the CRC of each chunk.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crosslink/engine.hpp"
#include "engine/rocksdb/env_disk.hpp"
#include "engine/rocksdb/snapshot_store.hpp"

namespace crosslink::rocks {

/// One caller at a time. What was stored survives a kill of the process; after a power cut check() finds what did not.
class PartialStore {
 public:
  PartialStore(Files files, Path folder) : disk_(files), folder_(std::move(folder)) {}
  /// Takes up what an earlier process left, as far as its bytes are still there. Errors: Storage.
  Result<void> load();
  const std::optional<PartialSnapshot>& partial() const { return partial_; }
  Result<void> begin(const SnapshotFacts& facts);
  Result<void> store(const StoredChunk& chunk, std::span<const std::byte> bytes);
  Result<SnapshotCheck> check();
  Result<void> drop();
  /// The folder that the snapshot becomes, beside this one's; another for each that is begun, also of one id.
  const std::string& target() const { return target_; }
  /// The stored `kv` stream. Precondition: the format is kv.
  Path stream() const { return folder_ / "stream"; }
  /// Links and copies the stored checkpoint's files into the new folder `target`, all of them on disk when it returns.
  /// Errors: UnsupportedOperation when the bytes are no checkpoint; Storage.
  Result<void> lay_out(const Path& target) const;

 private:
  /// A stretch of the stream and the file it stands in.
  struct Place {
    Path path;
    std::uint64_t at = 0, bytes = 0;
  };
  Place place_of(std::uint64_t offset, std::uint64_t bytes) const;
  Result<void> write_stream(std::uint64_t offset, std::span<const std::byte> bytes);
  /// What stands at `offset`; shorter than asked for where a file is.
  Result<std::vector<std::byte>> read_stream(std::uint64_t offset, std::size_t bytes) const;
  Result<void> read_head();
  void forget_head();
  /// The recorded chunks in a row from the first whose bytes are there.
  Result<std::size_t> count_covered() const;
  Result<void> append_chunk(const StoredChunk& chunk);
  Result<void> cut_back(std::size_t chunks);
  bool is_kv() const { return partial_->facts.format == kv_format; }
  Files disk_;
  Path folder_;
  std::optional<PartialSnapshot> partial_;
  std::string target_;
  std::optional<CheckpointFiles> files_;  ///< once the head is whole and allowed
  std::vector<std::uint64_t> ends_;       ///< of the files in the stream
  std::uint64_t head_bytes_ = 0;          ///< with its length; 0: not known yet
  bool unreadable_ = false;               ///< the head is no head: what follows is kept as it came
  std::optional<AppendFile> open_, chunks_file_;
};

}  // namespace crosslink::rocks
