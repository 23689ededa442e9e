#include "engine/rocksdb/log_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/rocksdb/env_disk.hpp"

namespace crosslink::rocks {
namespace {

constexpr char note_version = 1;
constexpr std::size_t note_bytes = 1 + 8 + 8 + 16 + 8;
constexpr std::size_t idle_cursors_max = 8;
constexpr int attempts_max = 16;

void put_u64(std::string& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift & 0xff));
}
std::uint64_t u64_at(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::string_view view(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

class BatchReader final : public rocksdb::WriteBatch::Handler {
 public:
  explicit BatchReader(std::optional<std::uint32_t> own_family) : own_family_(own_family) {}
  rocksdb::Status PutCF(std::uint32_t family, const rocksdb::Slice& key, const rocksdb::Slice& value) override {
    return add(family, Operation::put(view(key), view(value)));
  }
  rocksdb::Status DeleteCF(std::uint32_t family, const rocksdb::Slice& key) override {
    return add(family, Operation::erase(view(key)));
  }
  rocksdb::Status DeleteRangeCF(std::uint32_t family, const rocksdb::Slice& begin, const rocksdb::Slice& end) override {
    if (view(begin) >= view(end)) return rocksdb::Status::OK();  // deletes nothing
    return add(family, Operation::erase_range(view(begin), view(end)));
  }
  rocksdb::Status SingleDeleteCF(std::uint32_t, const rocksdb::Slice&) override {
    return rocksdb::Status::NotSupported("a single delete");
  }
  rocksdb::Status MergeCF(std::uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override {
    return rocksdb::Status::NotSupported("a merge");
  }
  rocksdb::Status PutBlobIndexCF(std::uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override {
    return rocksdb::Status::NotSupported("a blob index");
  }
  rocksdb::Status PutEntityCF(std::uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override {
    return rocksdb::Status::NotSupported("a pair with wide columns");
  }
  // What a caller's own database has there is the caller's.
  void LogData(const rocksdb::Slice& blob) override {
    if (own_family_) note_ = decode_note(view(blob));
  }
  // Marks of transactions; the operations between them come as they are.
  rocksdb::Status MarkBeginPrepare(bool) override { return rocksdb::Status::NotSupported("a prepared transaction"); }
  rocksdb::Status MarkEndPrepare(const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
  rocksdb::Status MarkNoop(bool) override { return rocksdb::Status::OK(); }
  rocksdb::Status MarkRollback(const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
  rocksdb::Status MarkCommit(const rocksdb::Slice&) override {
    return rocksdb::Status::NotSupported("a prepared transaction");
  }

  const std::vector<Operation>& operations() const { return operations_; }
  const std::optional<BatchNote>& note() const { return note_; }

 private:
  rocksdb::Status add(std::uint32_t family, Operation operation) {
    if (family == 0) {
      operations_.push_back(operation);
    } else if (family != own_family_) {
      return rocksdb::Status::NotSupported("an operation in another column family");
    }
    return rocksdb::Status::OK();
  }
  std::optional<std::uint32_t> own_family_;
  std::vector<Operation> operations_;
  std::optional<BatchNote> note_;
};

}  // namespace

std::string encode_note(const BatchNote& note) {
  std::string out(1, note_version);
  out.reserve(note_bytes);
  put_u64(out, note.commit_time_us);
  put_u64(out, note.previous.lsn.value);
  out.append(reinterpret_cast<const char*>(note.previous.hash.bytes.data()), note.previous.hash.bytes.size());
  put_u64(out, note.origin_lsn.value);
  return out;
}

std::optional<BatchNote> decode_note(std::string_view bytes) {
  if (bytes.size() != note_bytes || bytes[0] != note_version) return std::nullopt;
  BatchNote note;
  note.commit_time_us = u64_at(bytes, 1);
  note.previous.lsn = Lsn{u64_at(bytes, 9)};
  std::memcpy(note.previous.hash.bytes.data(), bytes.data() + 17, 16);
  note.origin_lsn = Lsn{u64_at(bytes, 33)};
  return note;
}

EntryId LogRecord::last_entry() const {
  if (entry.empty()) return note ? note->previous : EntryId{};
  std::span<const std::byte> rest = entry;
  const auto read = read_entry(rest);
  return read ? read->id() : EntryId{};
}

Result<LogRecord> read_batch(const rocksdb::WriteBatch& batch, Lsn first, std::optional<std::uint32_t> own_family) {
  BatchReader reader(own_family);
  const auto status = batch.Iterate(&reader);
  if (!status.ok()) {
    return MirrorError(
        ErrorKind::UnsupportedOperation, CausedBy::us,
        fmt::format("the log holds at sequence number {} what cannot be mirrored: {}", first.value, status.ToString()));
  }
  LogRecord record;
  record.first = first;
  record.last = Lsn{first.value + batch.Count() - 1};
  record.note = reader.note();
  if (!reader.operations().empty()) {
    record.entry.reserve(encoded_entry_bytes(record.last, reader.operations()));
    encode_entry(record.entry, record.last, record.note ? record.note->commit_time_us : 0, reader.operations());
  }
  return record;
}

bool LogReader::Cursor::look() {
  if (batch.writeBatchPtr) return true;
  // It stands on a batch that was given away, at the end of what there was, or has just been made.
  if (begun) iterator->Next();
  begun = true;
  if (!iterator->Valid()) return false;
  batch = iterator->GetBatch();
  return true;
}

std::optional<LogReader::Cursor> LogReader::take(std::uint64_t next) {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(idle_, next, &Cursor::next);
  if (found == idle_.end()) return std::nullopt;
  auto cursor = std::move(*found);
  idle_.erase(found);
  return cursor;
}

void LogReader::give_back(Cursor cursor) {
  const std::scoped_lock lock(mutex_);
  idle_.push_back(std::move(cursor));
  if (idle_.size() > idle_cursors_max) idle_.erase(idle_.begin());
}

void LogReader::forget_up_to(Lsn oldest) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(idle_, [oldest](const Cursor& cursor) { return cursor.next <= oldest.value; });
}

Result<bool> LogReader::read(Lsn after, Lsn head, const std::function<bool(LogRecord&)>& visit) {
  if (after >= head) return true;
  auto expected = after.value + 1;
  auto cursor = take(expected);
  bool first = true;
  for (int attempts = 0; expected <= head.value;) {
    if (!cursor) {
      // At an end that is not the head the iterator has to be made anew, a bounded number of times.
      if (++attempts > attempts_max) return false;
      Cursor fresh;
      const auto status = database_->GetUpdatesSince(expected, &fresh.iterator);
      if (status.IsNotFound()) return false;
      if (status.IsPathNotFound()) continue;  // a file was archived or dropped under it
      if (!status.ok()) return storage_error("reading the log", status);
      cursor = std::move(fresh);
    }
    if (!cursor->look()) {
      const auto status = cursor->iterator->status();
      const bool moved = status.IsTryAgain() || status.IsNotFound() || status.IsPathNotFound();
      if (!status.ok() && !moved) return storage_error("reading the log", status);
      cursor.reset();
      continue;
    }
    const auto sequence = cursor->batch.sequence;
    const auto count = cursor->count();
    if (count == 0 || sequence + count <= expected) {
      cursor->go_on();
      continue;
    }
    if (sequence > expected || (!first && sequence != expected)) return false;
    attempts = 0;
    if (sequence + count - 1 > head.value) break;  // written, not yet announced
    auto record = read_batch(*cursor->batch.writeBatchPtr, Lsn{sequence}, own_family_);
    if (!record) return record.error();
    if (!visit(*record)) break;
    first = false;
    expected = sequence + count;
    cursor->go_on();
  }
  if (cursor) {
    cursor->next = expected;
    give_back(*std::move(cursor));
  }
  return true;
}

}  // namespace crosslink::rocks
