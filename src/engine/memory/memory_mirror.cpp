#include <utility>

#include "engine/memory/memory_impl.hpp"

namespace crosslink {

namespace {

MirrorError promoted_error() {
  return {ErrorKind::MirrorPromoted, CausedBy::us, "this database was promoted: it follows no source"};
}

}  // namespace

EngineTraits MemoryDatabase::traits() const { return {"memory", true, true, {std::string(kv_format)}}; }

MirrorState MemoryDatabase::mirror_state() const {
  const std::scoped_lock lock(impl_->mutex);
  const auto& kept = impl_->options.manual_sync ? impl_->synced : impl_->live;
  const auto durable = kept.position ? kept.position->applied_lsn : Lsn{};
  return {impl_->live.role, impl_->live.position, durable, impl_->partial, impl_->live.promoted_from};
}

Result<void> MemoryDatabase::apply(const ApplyGroup& group) {
  std::unique_lock lock(impl_->mutex);
  auto& live = impl_->live;
  if (live.role != DatabaseRole::mirror) return promoted_error();
  if (!live.position) return MirrorError::configuration("there is no data yet to apply entries to");
  if (impl_->fails()) return memory::storage_error();
  // At a direct mirror of a root each entry's own LSN is the root's; further down only the group's last one is known.
  const bool direct =
      group.position.origin == group.position.incarnation || group.position.origin_lsn == group.position.applied_lsn;
  const auto before = live.head;
  for (auto entries : group.entries) {
    while (!entries.empty()) {
      const auto entry = read_entry(entries);
      if (!entry) return entry.error();  // nothing was checked: a bug of the caller; the rest stays as it is
      const auto encoding = entry->encoding();
      impl_->add_entry(*entry, {encoding.begin(), encoding.end()}, Lsn{live.head.value + 1},
                       direct ? entry->lsn() : live.origin_lsn);
    }
  }
  if (!live.log.empty() && live.head != before) live.log.back().origin_lsn = group.position.origin_lsn;
  live.origin_lsn = group.position.origin_lsn;
  live.position = group.position;
  impl_->trim_log();
  impl_->tell(std::move(lock));
  return {};
}

Result<void> MemoryDatabase::step_back(Lsn from) {
  const std::scoped_lock lock(impl_->mutex);
  auto& live = impl_->live;
  if (live.role != DatabaseRole::mirror) return promoted_error();
  if (!live.position) return MirrorError::configuration("there is no position to step back from");
  if (impl_->fails()) return memory::storage_error();
  if (live.position->origin_lsn == live.position->applied_lsn) live.position->origin_lsn = from;  // a direct mirror
  live.position->applied_lsn = from;
  impl_->made_durable();
  return {};
}

Result<Lsn> MemoryDatabase::sync() {
  const std::scoped_lock lock(impl_->mutex);
  if (impl_->fails()) return memory::storage_error();
  impl_->made_durable();
  return impl_->live.position ? impl_->live.position->applied_lsn : impl_->live.head;
}

Result<void> MemoryDatabase::begin_snapshot(const SnapshotFacts& facts) {
  const std::scoped_lock lock(impl_->mutex);
  if (impl_->live.role != DatabaseRole::mirror) return promoted_error();
  if (facts.format != kv_format)
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer, "this database reads kv snapshots only");
  if (impl_->fails()) return memory::storage_error();
  impl_->partial = PartialSnapshot{facts, {}};
  impl_->partial_bytes.clear();
  return {};
}

Result<void> MemoryDatabase::store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) {
  const std::scoped_lock lock(impl_->mutex);
  if (!impl_->partial || impl_->partial->bytes() != chunk.offset || chunk.bytes != bytes.size())
    return MirrorError::configuration("a chunk that does not follow what is stored");
  if (impl_->fails()) return memory::storage_error();
  impl_->partial_bytes.insert(impl_->partial_bytes.end(), bytes.begin(), bytes.end());
  impl_->partial->chunks.push_back(chunk);
  return {};
}

Result<SnapshotCheck> MemoryDatabase::check_snapshot() {
  const std::scoped_lock lock(impl_->mutex);
  if (!impl_->partial) return MirrorError::configuration("there is no snapshot to check");
  auto& chunks = impl_->partial->chunks;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const auto stored =
        std::span(impl_->partial_bytes).subspan(static_cast<std::size_t>(chunks[i].offset), chunks[i].bytes);
    if (crc32c(stored) == chunks[i].crc32c) continue;
    SnapshotCheck check{chunks[i].offset, 0};
    impl_->partial_bytes.resize(static_cast<std::size_t>(chunks[i].offset));
    chunks.resize(i);
    return check;
  }
  return SnapshotCheck{std::nullopt, crc32c(impl_->partial_bytes)};
}

Result<void> MemoryDatabase::switch_snapshot() {
  std::unique_lock lock(impl_->mutex);
  auto& live = impl_->live;
  if (live.role != DatabaseRole::mirror) return promoted_error();
  if (!impl_->partial) return MirrorError::configuration("there is no snapshot to switch in");
  if (impl_->fails()) return memory::storage_error();
  auto pairs = memory::decode_pairs(impl_->partial_bytes);
  if (!pairs) {
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer, pairs.error().message());
  }
  const auto facts = impl_->partial->facts;
  const Lsn first{live.head.value + 1};
  memory::Image fresh;
  fresh.role = DatabaseRole::mirror;
  fresh.origin = facts.origin;
  fresh.history = History::beginning({impl_->new_id<Incarnation>(), first, HistoryCause::bootstrap});
  fresh.pairs = *std::move(pairs);
  fresh.head = fresh.oldest = first;
  fresh.origin_lsn = facts.origin_lsn;
  fresh.position = Position{facts.origin, facts.incarnation, facts.last_entry, facts.snapshot_lsn, facts.origin_lsn};
  live = std::move(fresh);
  impl_->partial.reset();
  impl_->partial_bytes = {};
  impl_->pins.clear();
  impl_->snapshot_store.clear();
  impl_->made_durable();
  impl_->tell(std::move(lock));
  return {};
}

Result<void> MemoryDatabase::drop_snapshot() {
  const std::scoped_lock lock(impl_->mutex);
  if (impl_->fails()) return memory::storage_error();
  impl_->partial.reset();
  impl_->partial_bytes = {};
  return {};
}

Result<PromotedFrom> MemoryDatabase::promote(const std::string& source_cluster, const std::string& source_database) {
  const std::scoped_lock lock(impl_->mutex);
  auto& live = impl_->live;
  if (live.promoted_from) return *live.promoted_from;
  if (live.role != DatabaseRole::mirror || !live.position)
    return MirrorError::configuration("there is no mirrored data to promote");
  if (impl_->fails()) return memory::storage_error();
  live.role = DatabaseRole::promoted;
  live.promoted_from = PromotedFrom{source_cluster, source_database, *live.position};
  live.origin_lsn = live.head;
  impl_->partial.reset();
  impl_->partial_bytes = {};
  impl_->made_durable();
  return *live.promoted_from;
}

}  // namespace crosslink
