#include "engine/etcd/partial.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "crosslink/frame.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::etcd {
namespace {

constexpr const char *facts_name = "facts", *chunks_name = "chunks", *stream_name = "stream", *leases_name = "leases";
constexpr std::size_t facts_bytes_max = 64 * 1024, records_bytes_max = std::size_t{1} << 30;
constexpr std::size_t record_bytes = 16;
constexpr std::uint64_t disk_bytes_max = std::uint64_t{1} << 62;
constexpr std::size_t leases_max = 1'000'000;

/// In the machine's own byte order: it never leaves it.
std::array<std::byte, record_bytes> record_of(std::uint64_t first, std::uint64_t second) {
  std::array<std::byte, record_bytes> record;
  std::memcpy(record.data(), &first, 8);
  std::memcpy(record.data() + 8, &second, 8);
  return record;
}

template <class Take>
Result<void> read_records(const base::Files& files, const base::Path& path, Take&& take) {
  const auto bytes = files.read(path, records_bytes_max);
  if (!bytes) return bytes.error();
  if (!*bytes) return {};
  for (std::size_t at = 0; at + record_bytes <= (*bytes)->size(); at += record_bytes) {
    std::uint64_t first = 0, second = 0;
    std::memcpy(&first, (*bytes)->data() + at, 8);
    std::memcpy(&second, (*bytes)->data() + at + 8, 8);
    take(first, second);
  }
  return {};
}

MirrorError unreadable(std::string why) { return {ErrorKind::UnsupportedOperation, CausedBy::peer, std::move(why)}; }

}  // namespace

Result<void> PartialStore::load() {
  const auto bytes = files_.read(folder_ / facts_name, facts_bytes_max);
  if (!bytes) return bytes.error();
  if (!*bytes) return drop();
  const auto decoded = core::decode_message(core::kind_of(core::SnapshotBegin{}), **bytes);
  if (!decoded) return drop();
  PartialSnapshot partial{std::get<core::SnapshotBegin>(decoded->message).facts, {}};
  auto read = read_records(files_, folder_ / chunks_name, [&](std::uint64_t offset, std::uint64_t sizes) {
    const StoredChunk chunk{offset, static_cast<std::uint32_t>(sizes >> 32), static_cast<std::uint32_t>(sizes)};
    if (chunk.offset == partial.bytes() && chunk.bytes > 0) partial.chunks.push_back(chunk);
  });
  if (read) {
    read = read_records(files_, folder_ / leases_name,
                        [&](std::uint64_t lease, std::uint64_t ttl_s) { leases_.insert_or_assign(lease, ttl_s); });
  }
  if (!read) return read;
  const auto stream = folder_ / stream_name;
  const auto size = files_.exists(stream) ? files_.size(stream) : Result<std::uint64_t>(0);
  if (!size) return size.error();
  while (partial.bytes() > *size)
    partial.chunks.pop_back();
  partial_ = std::move(partial);
  return {};
}

Result<void> PartialStore::begin(const SnapshotFacts& facts) {
  if (auto dropped = drop(); !dropped) return dropped;
  const auto total_bytes = facts.total_bytes.value_or(0);
  if (total_bytes > disk_bytes_max) return unreadable("the snapshot is larger than any disk");
  if (auto room = need(total_bytes); !room) return room;
  if (auto made = files_.make_folder(folder_); !made) return made;
  const auto frame = core::encode_message(core::SnapshotBegin{facts, 0});
  if (auto written =
          files_.replace(folder_ / facts_name, std::span<const std::byte>(frame).subspan(frame_header_bytes));
      !written)
    return written;
  partial_ = PartialSnapshot{facts, {}};
  partial_->facts.consistent_lsn = std::max(facts.consistent_lsn, facts.snapshot_lsn);
  return {};
}

Result<void> PartialStore::store(const StoredChunk& chunk, std::span<const std::byte> bytes) {
  if (!partial_ || partial_->bytes() != chunk.offset || chunk.bytes != bytes.size())
    return MirrorError::configuration("a chunk that does not follow what is stored");
  if (auto room = need(bytes.size()); !room) return room;
  if (!stream_) {
    auto stream = files_.open_at(folder_ / stream_name, chunk.offset);
    if (!stream) return stream.error();
    auto chunks = files_.open_at(folder_ / chunks_name, partial_->chunks.size() * record_bytes);
    if (!chunks) return chunks.error();
    stream_.emplace(*std::move(stream));
    chunks_.emplace(*std::move(chunks));
  }
  // The chunk's record last: without it the bytes are not there.
  auto written = stream_->append(bytes);
  const auto sizes = std::uint64_t{chunk.bytes} << 32 | chunk.crc32c;
  if (written) written = chunks_->append(record_of(chunk.offset, sizes));
  if (!written) {
    close();  // how much of it went in is unknown
    return written;
  }
  partial_->chunks.push_back(chunk);
  return {};
}

void PartialStore::close() {
  stream_.reset();
  chunks_.reset();
}

Result<void> PartialStore::need(std::uint64_t bytes) const { return space_->need(bytes, "receiving a snapshot"); }

Result<void> PartialStore::note_leases(std::span<const LeaseGrant> leases) {
  if (leases_.size() + leases.size() > leases_max) return unreadable("a snapshot uses more leases than may be");
  std::vector<std::byte> bytes;
  for (const auto& grant : leases)
    leases_.insert_or_assign(grant.lease, grant.ttl_s);
  for (const auto& [lease, ttl_s] : leases_) {
    const auto record = record_of(lease, ttl_s);
    bytes.insert(bytes.end(), record.begin(), record.end());
  }
  return files_.replace(folder_ / leases_name, bytes);
}

Result<SnapshotCheck> PartialStore::check() {
  if (!partial_) return MirrorError::configuration("there is no snapshot to check");
  std::uint32_t total = 0;
  if (partial_->chunks.empty()) return SnapshotCheck{std::nullopt, total};
  const auto file = files_.open_to_read(folder_ / stream_name);
  if (!file) return file.error();
  for (std::size_t i = 0; i < partial_->chunks.size(); ++i) {
    const auto chunk = partial_->chunks[i];
    const auto stored = file->read_exactly(chunk.offset, chunk.bytes);
    if (stored && crc32c(*stored) == chunk.crc32c) {
      total = crc32c(*stored, total);
      continue;
    }
    partial_->chunks.resize(i);
    close();
    return SnapshotCheck{chunk.offset, 0};
  }
  return SnapshotCheck{std::nullopt, total};
}

Result<void> PartialStore::drop() {
  partial_.reset();
  leases_.clear();
  close();
  // The facts go first: without them the rest is nothing.
  if (auto removed = files_.remove(folder_ / facts_name); !removed) return removed;
  return files_.remove_tree(folder_);
}

Result<engine::StoredPairs> PartialStore::pairs() const {
  if (partial_->chunks.empty()) return engine::StoredPairs(base::ReadFile(), 0);
  auto file = files_.open_to_read(folder_ / stream_name);
  if (!file) return file.error();
  return engine::StoredPairs(*std::move(file), partial_->bytes());
}

}  // namespace crosslink::etcd
