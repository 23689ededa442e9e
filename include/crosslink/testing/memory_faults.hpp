// What a disk and a machine do to a database in memory: faults by order, for tests and simulators of your own.
//
// Link `crosslink::engine_memory`, as for memory_engine.hpp; nothing else is needed.
#pragma once

#include <cstdint>

#include "crosslink/memory_engine.hpp"

namespace crosslink::test {

/// A handle: it keeps nothing of its own, so make one where it is needed. The database must outlive it. Thread safe.
class MemoryFaults {
 public:
  explicit MemoryFaults(MemoryDatabase& database) : database_(&database) {}

  /// A power cut. With MemoryOptions::manual_sync everything is gone that sync() did not make durable, all pins and
  /// snapshots, and of a partial snapshot any number of its last chunks; without it nothing is. The history stays as it
  /// was synced: a root that should know of the cut is told by MemoryDatabase::unclean_stop().
  void crash();
  /// The next `calls` calls that write answer Storage and change nothing; 0 ends that.
  void fail_next(std::uint32_t calls);
  /// Flips the lowest bit of one stored byte of the partial snapshot, for check_snapshot() to find. False, and nothing
  /// changed, when there is no byte at that offset.
  bool damage_stored_byte(std::uint64_t offset);
  /// Moves the head on by `lsns` LSNs that no entry has, as in an engine that shares its log with other databases.
  /// Precondition: the database is not a mirror.
  void pass_over(std::uint64_t lsns);

 private:
  MemoryDatabase* database_;
};

}  // namespace crosslink::test
