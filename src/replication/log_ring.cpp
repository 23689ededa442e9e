#include "replication/log_ring.hpp"

#include <algorithm>
#include <utility>

#include "wire/compression.hpp"

namespace crosslink::replication {
namespace {

/// Below this the frame's header costs more than compression saves.
constexpr std::size_t compress_bytes_min = 512;
/// So much is checksummed or copied where it is asked for; more is worth another thread.
constexpr std::size_t at_once_bytes_max = 128 * 1024;
/// Of so many stretches the newest log consists at least, unless its entries are larger.
constexpr std::uint64_t stretches_min = 8;

core::LogPiece plain_piece(const LogSlice& slice) {
  return {slice, slice.entries, std::string(core::codec_none), crosslink::crc32c(*slice.entries)};
}

bool may_shrink(const LogSlice& slice) {
  return slice.entries->size() >= compress_bytes_min && slice.entries->size() <= bulk_data_bytes_max;
}

core::LogPiece pack(core::LogPiece piece) {
  if (!may_shrink(piece.slice)) return piece;
  auto packed = core::zstd_compress(*piece.slice.entries);
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

/// What of it comes after `after`; absent: that is more than was asked for.
std::optional<core::LogPiece> piece_after(LogStretch& stretch, Lsn after, std::size_t bytes_max, bool zstd) {
  const auto fits = [bytes_max](const LogSlice& slice) {
    return slice.entries->size() <= bytes_max || slice.count <= 1;
  };
  if (stretch.slice().prev_lsn == after)
    return fits(stretch.slice()) ? std::optional(stretch.piece(zstd)) : std::nullopt;
  const auto rest = rest_after(stretch.slice(), after);
  return fits(rest) ? std::optional(plain_piece(rest)) : std::nullopt;
}

}  // namespace

// --- a stretch

core::LogPiece LogStretch::plain() {
  const std::scoped_lock lock(plain_mutex_);
  if (!plain_) plain_ = plain_piece(slice_);
  return *plain_;
}

core::LogPiece LogStretch::piece(bool zstd) {
  if (!zstd) return plain();
  const std::scoped_lock lock(packed_mutex_);
  if (!packed_) packed_ = pack(plain());
  return *packed_;
}

bool LogStretch::is_ready(bool zstd) {
  if (slice_.entries->size() > at_once_bytes_max) return false;
  if (!zstd || !may_shrink(slice_)) return true;
  const std::unique_lock lock(packed_mutex_, std::try_to_lock);  // held: another thread compresses it
  return lock.owns_lock() && packed_;
}

// --- a chain

LogStretchPointer StretchChain::find(Lsn after) const {
  const auto last_lsn = [](const LogStretchPointer& one) { return one->slice().last_lsn; };
  const auto found = std::ranges::upper_bound(stretches_, after, {}, last_lsn);
  return found == stretches_.end() || (*found)->slice().prev_lsn > after ? nullptr : *found;
}

void StretchChain::push(LogStretchPointer stretch) {
  bytes_ += stretch->held_bytes();
  stretches_.push_back(std::move(stretch));
}

void StretchChain::drop_front() {
  bytes_ -= stretches_.front()->held_bytes();
  stretches_.pop_front();
}

void StretchChain::clear() {
  stretches_.clear();
  bytes_ = 0;
}

// --- the ring

LogRing::LogRing(SourceEngine& engine, std::uint64_t bytes_max)
    : engine_(&engine),
      bytes_max_(bytes_max),
      stretch_bytes_max_(
          static_cast<std::size_t>(std::min<std::uint64_t>(bulk_data_bytes_max, bytes_max / stretches_min))) {}

std::optional<Lsn> LogRing::newest_end() const {
  if (!growing_.is_empty()) return growing_.last_lsn;
  return newest_.empty() ? std::nullopt : std::optional(newest_.end());
}

void LogRing::push(const CommittedLog& log) {
  if (log.last_lsn == log.prev_lsn) return;  // the engine hands nothing over
  const std::scoped_lock lock(mutex_);
  const auto end = newest_end();
  if (end && log.prev_lsn != *end) {
    if (log.last_lsn <= *end) return;  // it was read before it was told
    begin_newest_anew();
  }
  // It would be all that is kept, for as long as nothing is committed: mirrors read it from the engine's log.
  if (log.entries.size() > bytes_max_) return begin_newest_anew();
  if (growing_.entries.size() + log.entries.size() > stretch_bytes_max_) make_whole();
  if (growing_.is_empty()) {
    growing_.prev_lsn = log.prev_lsn;
    growing_.entries.reserve(std::max(log.entries.size(), last_stretch_bytes_));
  }
  growing_.entries.insert(growing_.entries.end(), log.entries.begin(), log.entries.end());
  growing_.count += log.count;
  growing_.last_lsn = log.last_lsn;
  growing_.origin_lsn = log.origin_lsn;
  trim();
}

void LogRing::begin_newest_anew() {
  newest_.clear();
  growing_ = {};
}

void LogRing::make_whole() {
  if (growing_.is_empty()) return;
  last_stretch_bytes_ = std::min(growing_.entries.size(), stretch_bytes_max_);
  auto entries = std::make_shared<const std::vector<std::byte>>(std::move(growing_.entries));
  newest_.push(std::make_shared<LogStretch>(
      LogSlice{growing_.prev_lsn, growing_.last_lsn, growing_.count, std::move(entries), growing_.origin_lsn}));
  growing_ = {};
}

/// The oldest of the longer chain goes; the newest stretch of all stays, however large it is.
void LogRing::trim() {
  while (newest_.bytes() + growing_.entries.capacity() + behind_.bytes() > bytes_max_) {
    const bool newest_has_more = newest_.size() > (growing_.is_empty() ? 1 : 0);
    if (!behind_.empty() && (behind_.bytes() > newest_.bytes() || !newest_has_more)) {
      if (behind_.size() == 1 && !newest_end()) return;
      behind_.drop_front();
    } else if (newest_has_more) {
      newest_.drop_front();
    } else {
      return;
    }
  }
}

LogStretchPointer LogRing::find(Lsn after) {
  const std::scoped_lock lock(mutex_);
  if (!growing_.is_empty() && after >= growing_.prev_lsn && after < growing_.last_lsn) make_whole();
  auto found = newest_.find(after);
  return found ? found : behind_.find(after);
}

void LogRing::keep(LogStretchPointer stretch, std::uint64_t generation) {
  const auto& slice = stretch->slice();
  const std::scoped_lock lock(mutex_);
  if (generation != generation_) return;
  if (slice.prev_lsn == newest_end()) {
    make_whole();
    newest_.push(std::move(stretch));
  } else {
    if (!behind_.empty() && slice.prev_lsn != behind_.end()) {
      // One further back reads for itself; one that has overtaken what is kept begins it anew.
      if (slice.last_lsn <= behind_.end()) return;
      behind_.clear();
    }
    behind_.push(std::move(stretch));
  }
  trim();
}

std::optional<core::LogPiece> LogRing::read_kept(Lsn after, std::size_t bytes_max, bool zstd) {
  const auto found = find(after);
  return found && found->is_ready(zstd) ? piece_after(*found, after, bytes_max, zstd) : std::nullopt;
}

Result<core::LogPiece> LogRing::read(Lsn after, std::size_t bytes_max, bool zstd) {
  if (const auto found = find(after)) {
    if (auto piece = piece_after(*found, after, bytes_max, zstd)) return *std::move(piece);
  }
  std::uint64_t generation = 0;
  {
    const std::scoped_lock lock(mutex_);
    generation = generation_;
  }
  auto slice = engine_->read_log(after, bytes_max);
  if (!slice) return slice.error();
  const auto stretch = std::make_shared<LogStretch>(*std::move(slice));
  if (stretch->slice().count > 0) keep(stretch, generation);
  return stretch->piece(zstd);
}

void LogRing::clear() {
  const std::scoped_lock lock(mutex_);
  begin_newest_anew();
  behind_.clear();
  ++generation_;
}

}  // namespace crosslink::replication
