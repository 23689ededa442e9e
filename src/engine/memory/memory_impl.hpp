#pragma once

#include <map>
#include <mutex>
#include <random>

#include "crosslink/memory_engine.hpp"
#include "engine/memory/memory_image.hpp"
#include "engine/memory/memory_snapshot.hpp"

namespace crosslink {

namespace memory {
inline MirrorError storage_error() {
  return {ErrorKind::Storage, CausedBy::us, "the disk is full, by order of a test"};
}
}  // namespace memory

struct MemoryDatabase::Impl {
  explicit Impl(const MemoryOptions& chosen)
      : options(chosen), random(chosen.seed), snapshot_store(chosen.snapshots_max) {}

  // All with the mutex held.
  template <class Id>
  Id new_id();
  bool fails();
  void trim_log();
  void made_durable();
  void begin_incarnation(HistoryCause cause);
  /// `encoding` is the entry's own, or a copy of it.
  void add_entry(const EntryView& entry, std::vector<std::byte> encoding, Lsn own_lsn, Lsn origin_lsn);
  /// `entry`: all that came to the log after `before`; null: it is to be read there.
  void tell(std::unique_lock<std::mutex> lock, Lsn before = {}, const SharedBytes& entry = nullptr);

  const MemoryOptions options;
  mutable std::mutex mutex;
  std::mt19937_64 random;
  memory::Image live;
  memory::Image synced;  ///< with manual_sync: what is on the imaginary disk
  std::optional<PartialSnapshot> partial;
  std::vector<std::byte> partial_bytes;
  std::map<std::string, Lsn> pins;
  memory::SnapshotStore snapshot_store;
  std::function<void(const CommittedLog&)> on_log;
  std::uint32_t failures = 0;
};

template <class Id>
Id MemoryDatabase::Impl::new_id() {
  Id id;
  for (std::size_t i = 0; i < id.bytes.size(); i += 8) {
    const auto word = random();
    for (std::size_t byte = 0; byte < 8; ++byte)
      id.bytes[i + byte] = static_cast<std::byte>(word >> (8 * byte));
  }
  return id;
}

}  // namespace crosslink
