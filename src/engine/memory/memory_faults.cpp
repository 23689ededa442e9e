#include "crosslink/testing/memory_faults.hpp"

#include <mutex>
#include <utility>

#include "engine/memory/memory_impl.hpp"

namespace crosslink::test {

void MemoryFaults::crash() {
  auto& impl = database_->impl();
  const std::scoped_lock lock(impl.mutex);
  if (!impl.options.manual_sync) return;
  impl.live = impl.synced;
  impl.pins.clear();
  impl.snapshot_store.clear();
  if (!impl.partial || impl.partial->chunks.empty()) return;
  // No chunk was synced: those at the end may be gone.
  auto& chunks = impl.partial->chunks;
  chunks.resize(1 + impl.random() % chunks.size());
  impl.partial_bytes.resize(static_cast<std::size_t>(impl.partial->bytes()));
}

void MemoryFaults::fail_next(std::uint32_t calls) {
  auto& impl = database_->impl();
  const std::scoped_lock lock(impl.mutex);
  impl.failures = calls;
}

bool MemoryFaults::damage_stored_byte(std::uint64_t offset) {
  auto& impl = database_->impl();
  const std::scoped_lock lock(impl.mutex);
  if (offset >= impl.partial_bytes.size()) return false;
  impl.partial_bytes[static_cast<std::size_t>(offset)] ^= std::byte{1};
  return true;
}

void MemoryFaults::pass_over(std::uint64_t lsns) {
  auto& impl = database_->impl();
  std::unique_lock lock(impl.mutex);
  impl.live.head.value += lsns;
  impl.live.origin_lsn = impl.live.head;
  impl.tell(std::move(lock));
}

}  // namespace crosslink::test
