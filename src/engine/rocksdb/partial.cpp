#include "engine/rocksdb/partial.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/random_id.hpp"

namespace crosslink::rocks {
namespace {

constexpr const char *facts_name = "facts", *chunks_name = "chunks", *head_name = "head", *rest_name = "rest",
                     *target_name = "target", *files_name = "files";
constexpr std::size_t facts_bytes_max = 64 * 1024;
constexpr std::size_t chunk_record_bytes = 16;
constexpr std::size_t chunks_bytes_max = std::size_t{1} << 30;

std::uint32_t u32_at(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value << 8 | std::to_integer<std::uint32_t>(bytes[i]);
  return value;
}

/// In the machine's own byte order: it never leaves it.
std::array<std::byte, chunk_record_bytes> record_of(const StoredChunk& chunk) {
  std::array<std::byte, chunk_record_bytes> record;
  std::memcpy(record.data(), &chunk.offset, 8);
  std::memcpy(record.data() + 8, &chunk.bytes, 4);
  std::memcpy(record.data() + 12, &chunk.crc32c, 4);
  return record;
}

}  // namespace

Result<void> PartialStore::load() {
  partial_.reset();
  const auto facts_bytes = disk_.read(folder_ / facts_name, facts_bytes_max);
  if (!facts_bytes) return facts_bytes.error();
  const auto facts = *facts_bytes ? decode_facts(**facts_bytes) : Result<SnapshotFacts>(MirrorError::configuration(""));
  const auto target = disk_.read(folder_ / target_name, facts_bytes_max);
  if (!target) return target.error();
  if (!facts || !*target) return drop();  // nothing was begun, or its beginning did not reach the disk
  target_ = std::string(text_of(**target));
  PartialSnapshot partial{*facts, {}};
  const auto records = disk_.read(folder_ / chunks_name, chunks_bytes_max);
  if (!records) return records.error();
  if (*records) {
    for (std::size_t at = 0; at + chunk_record_bytes <= (*records)->size(); at += chunk_record_bytes) {
      StoredChunk chunk;
      std::memcpy(&chunk.offset, (*records)->data() + at, 8);
      std::memcpy(&chunk.bytes, (*records)->data() + at + 8, 4);
      std::memcpy(&chunk.crc32c, (*records)->data() + at + 12, 4);
      if (chunk.offset != partial.bytes() || chunk.bytes == 0) break;
      partial.chunks.push_back(chunk);
    }
  }
  partial_ = std::move(partial);
  // A removal that a power cut undid in part may have taken it.
  if (auto made = disk_.make_folder(folder_ / files_name); !made) return made;
  if (auto read = read_head(); !read) return read;
  const auto covered = count_covered();
  if (!covered) return covered.error();
  return cut_back(*covered);
}

Result<std::size_t> PartialStore::count_covered() const {
  for (std::size_t i = 0; i < partial_->chunks.size(); ++i) {
    const auto& chunk = partial_->chunks[i];
    for (std::uint64_t done = 0; done < chunk.bytes;) {
      const auto place = place_of(chunk.offset + done, chunk.bytes - done);
      if (!disk_.exists(place.path)) return i;
      const auto bytes = disk_.size(place.path);
      if (!bytes) return bytes.error();
      if (*bytes < place.at + place.bytes) return i;
      done += place.bytes;
    }
  }
  return partial_->chunks.size();
}

Result<void> PartialStore::begin(const SnapshotFacts& facts) {
  if (auto dropped = drop(); !dropped) return dropped;
  if (auto made = disk_.make_folder(folder_); !made) return made;
  if (auto made = disk_.make_folder(folder_ / files_name); !made) return made;
  target_ = "data-" + to_string(base::random_id<SnapshotId>());
  if (auto written = disk_.replace(folder_ / target_name, bytes_of(target_)); !written) return written;
  if (auto written = disk_.replace(folder_ / facts_name, encode_facts(facts)); !written) return written;
  partial_ = PartialSnapshot{facts, {}};
  return {};
}

void PartialStore::forget_head() {
  files_.reset();
  ends_.clear();
  head_bytes_ = 0;
  unreadable_ = false;
}

Result<void> PartialStore::drop() {
  partial_.reset();
  forget_head();
  open_.reset();
  chunks_file_.reset();
  // The facts go first: without them the rest is nothing.
  if (auto removed = disk_.remove(folder_ / facts_name); !removed) return removed;
  return disk_.remove_tree(folder_);
}

PartialStore::Place PartialStore::place_of(std::uint64_t offset, std::uint64_t bytes) const {
  if (is_kv()) return {stream(), offset, bytes};
  // The four bytes of its length say where the head ends.
  const auto head_end = head_bytes_ > 0 ? head_bytes_ : 4;
  if (offset < head_end) return {folder_ / head_name, offset, std::min(bytes, head_end - offset)};
  if (!files_) {
    if (!unreadable_) return {folder_ / head_name, offset, bytes};
    return {folder_ / rest_name, offset - head_end, bytes};
  }
  const auto index = static_cast<std::size_t>(std::ranges::upper_bound(ends_, offset) - ends_.begin());
  const auto files_end = ends_.empty() ? head_bytes_ : ends_.back();
  if (index == ends_.size()) return {folder_ / rest_name, offset - files_end, bytes};
  const auto& file = files_->files[index];
  return {folder_ / files_name / file.name, file.bytes - (ends_[index] - offset),
          std::min(bytes, ends_[index] - offset)};
}

Result<void> PartialStore::write_stream(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto place = place_of(offset, bytes.size());
    if (!open_ || open_->path() != place.path || open_->end() != place.at) {
      open_.reset();
      auto file = disk_.open_at(place.path, place.at);
      if (!file) return file.error();
      open_.emplace(*std::move(file));
    }
    const auto part = bytes.first(static_cast<std::size_t>(place.bytes));
    if (auto written = open_->append(part); !written) {
      open_.reset();  // how much of it went in is unknown
      return written;
    }
    // Begun now, so that little is left to wait for at the switch.
    open_->begin_sync(part.size());
    bytes = bytes.subspan(part.size());
    offset += part.size();
    if (!files_ && !unreadable_) {
      if (auto read = read_head(); !read) return read;
    }
  }
  return {};
}

/// Looks whether the head is whole by now.
Result<void> PartialStore::read_head() {
  if (is_kv()) return {};
  const auto path = folder_ / head_name;
  auto bytes = disk_.read(path, checkpoint_head_bytes_max + 4);
  if (!bytes) return bytes.error();
  if (!*bytes || (*bytes)->size() < 4) return {};
  const auto size = std::uint64_t{u32_at(**bytes)};
  head_bytes_ = 4 + size;
  if (size > checkpoint_head_bytes_max) {
    head_bytes_ = 4;
    unreadable_ = true;
    return {};
  }
  if ((*bytes)->size() < head_bytes_) return {};
  auto files = decode_checkpoint_head(std::span(**bytes).subspan(4, static_cast<std::size_t>(size)));
  if (!files) {
    unreadable_ = true;
    return {};
  }
  auto end = head_bytes_;
  ends_.clear();
  for (const auto& file : files->files) {
    ends_.push_back(end += file.bytes);
    // An empty one is never written to.
    if (auto made = disk_.make_file(folder_ / files_name / file.name); !made) return made;
  }
  files_ = *std::move(files);
  return {};
}

Result<std::vector<std::byte>> PartialStore::read_stream(std::uint64_t offset, std::size_t bytes) const {
  std::vector<std::byte> out(bytes);
  for (std::size_t done = 0; done < bytes;) {
    const auto place = place_of(offset + done, bytes - done);
    std::size_t got = 0;
    if (disk_.exists(place.path)) {
      const auto file = disk_.open_to_read(place.path);
      if (!file) return file.error();
      const auto read = file->read(std::span(out).subspan(done, static_cast<std::size_t>(place.bytes)), place.at);
      if (!read) return read.error();
      got = *read;
    }
    done += got;
    if (got < place.bytes) {
      out.resize(done);
      return out;
    }
  }
  return out;
}

Result<void> PartialStore::append_chunk(const StoredChunk& chunk) {
  if (!chunks_file_) {
    auto file = disk_.open_at(folder_ / chunks_name, partial_->chunks.size() * chunk_record_bytes);
    if (!file) return file.error();
    chunks_file_.emplace(*std::move(file));
  }
  auto written = chunks_file_->append(record_of(chunk));
  if (!written) chunks_file_.reset();
  return written;
}

Result<void> PartialStore::store(const StoredChunk& chunk, std::span<const std::byte> bytes) {
  if (!partial_ || partial_->bytes() != chunk.offset || chunk.bytes != bytes.size())
    return MirrorError::configuration("a chunk that does not follow what is stored");
  // The chunk's record last: without it the bytes are not there.
  if (auto written = write_stream(chunk.offset, bytes); !written) return written;
  if (auto noted = append_chunk(chunk); !noted) return noted;
  partial_->chunks.push_back(chunk);
  return {};
}

/// What stands behind the chunks that stay is overwritten when it comes again, but for the head: it says where the rest
/// goes.
Result<void> PartialStore::cut_back(std::size_t chunks) {
  partial_->chunks.resize(chunks);
  chunks_file_.reset();
  open_.reset();
  if (disk_.exists(folder_ / chunks_name)) {
    if (auto cut = disk_.cut(folder_ / chunks_name, chunks * chunk_record_bytes); !cut) return cut;
  }
  const auto head = folder_ / head_name;
  if (is_kv() || !disk_.exists(head)) return {};
  const auto bytes = disk_.size(head);
  if (!bytes) return bytes.error();
  if (*bytes <= partial_->bytes()) return {};
  forget_head();
  return disk_.cut(head, partial_->bytes());
}

Result<SnapshotCheck> PartialStore::check() {
  if (!partial_) return MirrorError::configuration("there is no snapshot to check");
  std::uint32_t total = 0;
  for (std::size_t i = 0; i < partial_->chunks.size(); ++i) {
    const auto chunk = partial_->chunks[i];
    const auto stored = read_stream(chunk.offset, chunk.bytes);
    if (!stored) return stored.error();
    if (stored->size() == chunk.bytes && crc32c(*stored) == chunk.crc32c) {
      total = crc32c(*stored, total);
      continue;
    }
    if (auto cut = cut_back(i); !cut) return cut.error();
    return SnapshotCheck{chunk.offset, 0};
  }
  return SnapshotCheck{std::nullopt, total};
}

Result<void> PartialStore::lay_out(const Path& target) const {
  const auto refuse = [](const char* why) { return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer, why); };
  if (!files_) return refuse("the bytes received are no checkpoint");
  if (partial_->bytes() != (ends_.empty() ? head_bytes_ : ends_.back()))
    return refuse("the checkpoint received has other bytes than its list of files says");
  if (auto removed = disk_.remove_tree(target); !removed) return removed;
  if (auto made = disk_.make_folder(target); !made) return made;
  for (const auto& file : files_->files) {
    const auto from = folder_ / files_name / file.name, to = target / file.name;
    // Tables are never written to again; the others are, and must stay as they came until the switch is done.
    if (!file.name.ends_with(".sst")) {
      if (auto copied = disk_.copy(from, to); !copied) return copied;
      continue;
    }
    if (auto synced = disk_.sync_file(from); !synced) return synced;
    if (auto linked = disk_.link(from, to); !linked) return linked;
  }
  return disk_.sync_folder(target);
}

}  // namespace crosslink::rocks
