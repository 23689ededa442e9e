#include "link/log_ring.hpp"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "core/compression.hpp"

namespace crosslink::link {
namespace {

/// Below this the frame's header costs more than compression saves.
constexpr std::size_t compress_bytes_min = 512;

core::LogPiece plain(const LogSlice& slice, std::uint32_t crc32c) {
  return {slice, slice.entries, std::string(core::codec_none), crc32c};
}

core::LogPiece pack(const LogSlice& slice, std::uint32_t crc32c) {
  auto piece = plain(slice, crc32c);
  if (slice.entries->size() < compress_bytes_min || slice.entries->size() > bulk_data_bytes_max) return piece;
  auto packed = core::zstd_compress(*slice.entries);
  if (packed.empty()) return piece;
  piece.data = std::make_shared<const std::vector<std::byte>>(std::move(packed));
  piece.codec = core::codec_zstd;
  piece.crc32c = crosslink::crc32c(*piece.data);
  return piece;
}

/// The part of a slice after `after`. Precondition: prev_lsn < after < last_lsn.
LogSlice rest_after(const LogSlice& slice, Lsn after) {
  std::span<const std::byte> entries = *slice.entries;
  auto count = slice.count;
  while (count > 0) {
    auto next = entries;
    const auto entry = read_entry(next);
    if (!entry || entry->lsn() > after) break;
    entries = next;
    --count;
  }
  return {after,
          slice.last_lsn,
          count,
          std::make_shared<const std::vector<std::byte>>(entries.begin(), entries.end()),
          slice.origin_lsn,
          slice.leases};
}

}  // namespace

std::optional<core::LogPiece> LogRing::find(Lsn after, std::size_t bytes_max, bool zstd) {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::upper_bound(kept_, after, {}, [](const Kept& kept) { return kept.slice.last_lsn; });
  if (found == kept_.end() || found->slice.prev_lsn > after) return std::nullopt;
  const bool whole = found->slice.prev_lsn == after;
  if (!whole) {
    const auto rest = rest_after(found->slice, after);
    if (rest.entries->size() > bytes_max && rest.count > 1) return std::nullopt;
    return plain(rest, crosslink::crc32c(*rest.entries));
  }
  if (found->slice.entries->size() > bytes_max && found->slice.count > 1) return std::nullopt;
  if (!zstd) return plain(found->slice, found->crc32c);
  if (!found->packed) found->packed = pack(found->slice, found->crc32c);
  return found->packed;
}

void LogRing::keep(const LogSlice& slice, std::uint32_t crc32c) {
  if (!kept_.empty() && kept_.back().slice.last_lsn != slice.prev_lsn) {
    // A mirror far behind reads older log; one that has overtaken what is kept begins it anew.
    if (slice.last_lsn <= kept_.back().slice.last_lsn) return;
    kept_.clear();
    kept_bytes_ = 0;
  }
  kept_.push_back({slice, crc32c, std::nullopt});
  kept_bytes_ += slice.entries->size();
  while (kept_bytes_ > bytes_max_ && kept_.size() > 1) {
    kept_bytes_ -= kept_.front().slice.entries->size();
    kept_.pop_front();
  }
}

Result<core::LogPiece> LogRing::read(Lsn after, std::size_t bytes_max, bool zstd) {
  if (auto piece = find(after, bytes_max, zstd)) return *std::move(piece);
  std::uint64_t generation = 0;
  {
    const std::scoped_lock lock(mutex_);
    generation = generation_;
  }
  auto slice = engine_->read_log(after, bytes_max);
  if (!slice) return slice.error();
  const auto crc = crosslink::crc32c(*slice->entries);
  if (slice->count > 0) {
    const std::scoped_lock lock(mutex_);
    if (generation == generation_) keep(*slice, crc);
  }
  if (!zstd) return plain(*slice, crc);
  if (auto piece = find(after, bytes_max, zstd)) return *std::move(piece);
  return pack(*slice, crc);
}

void LogRing::clear() {
  const std::scoped_lock lock(mutex_);
  kept_.clear();
  kept_bytes_ = 0;
  ++generation_;
}

}  // namespace crosslink::link
