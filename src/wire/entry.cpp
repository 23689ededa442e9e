#include "crosslink/entry.hpp"

#include <algorithm>

#include "wire/varint.hpp"

namespace crosslink {
namespace {

using core::append_varint;
using core::varint_bytes;

constexpr std::size_t times_and_lsn_bytes = 16;

enum class Tag : std::uint8_t { put = 1, put_lease = 2, erase = 3, erase_range = 4, erase_to_end = 5 };

Tag tag_of(const Operation& operation) {
  switch (operation.kind) {
    case OperationKind::put: return operation.lease ? Tag::put_lease : Tag::put;
    case OperationKind::erase: return Tag::erase;
    case OperationKind::erase_range: return operation.end ? Tag::erase_range : Tag::erase_to_end;
  }
  return Tag::put;
}

void append_u64(std::vector<std::byte>& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::byte>(value >> shift));
}

std::uint64_t u64_at(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const auto byte : bytes.first<8>())
    value = value << 8 | std::to_integer<std::uint64_t>(byte);
  return value;
}

void append_text(std::vector<std::byte>& out, std::string_view text) {
  append_varint(out, text.size());
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

std::size_t text_bytes(std::string_view text) { return varint_bytes(text.size()) + text.size(); }

std::size_t operation_bytes(const Operation& operation) {
  auto bytes = 1 + text_bytes(operation.key);
  if (operation.kind == OperationKind::put) bytes += text_bytes(operation.value) + (operation.lease ? 8 : 0);
  if (operation.end) bytes += text_bytes(*operation.end);
  return bytes;
}

std::size_t body_bytes(std::span<const Operation> operations) {
  auto bytes = times_and_lsn_bytes + varint_bytes(operations.size());
  for (const auto& operation : operations)
    bytes += operation_bytes(operation);
  return bytes;
}

/// Writes into room that was made before: growing a vector byte by byte costs more than what is written.
class Writer {
 public:
  explicit Writer(std::span<std::byte> room) : at_(room.data()) {}
  void byte(std::uint8_t value) { *at_++ = std::byte{value}; }
  void u64(std::uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8)
      byte(static_cast<std::uint8_t>(value >> shift));
  }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7)
      byte(static_cast<std::uint8_t>(value | 0x80));
    byte(static_cast<std::uint8_t>(value));
  }
  void text(std::string_view value) {
    varint(value.size());
    const auto bytes = std::as_bytes(std::span(value));
    at_ = std::ranges::copy(bytes, at_).out;
  }

 private:
  std::byte* at_;
};

/// Takes a length and that many bytes off the front.
bool read_text(std::span<const std::byte>& bytes, std::string_view& text) {
  std::uint64_t size = 0;
  if (core::read_varint(bytes, size) != core::Varint::read || size > bytes.size()) return false;
  text = {reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(size)};
  bytes = bytes.subspan(static_cast<std::size_t>(size));
  return true;
}

bool read_u64(std::span<const std::byte>& bytes, std::uint64_t& value) {
  if (bytes.size() < 8) return false;
  value = u64_at(bytes);
  bytes = bytes.subspan(8);
  return true;
}

bool read_operation(std::span<const std::byte>& bytes, Operation& operation) {
  if (bytes.empty()) return false;
  const auto tag = static_cast<Tag>(bytes.front());
  bytes = bytes.subspan(1);
  operation = {};
  if (tag < Tag::put || tag > Tag::erase_to_end || !read_text(bytes, operation.key)) return false;
  switch (tag) {
    case Tag::put: return read_text(bytes, operation.value);
    case Tag::put_lease: {
      std::uint64_t lease = 0;
      const bool read = read_text(bytes, operation.value) && read_u64(bytes, lease);
      operation.lease = lease;
      return read;
    }
    case Tag::erase: operation.kind = OperationKind::erase; return true;
    case Tag::erase_range: {
      operation.kind = OperationKind::erase_range;
      std::string_view end;
      const bool read = read_text(bytes, end) && operation.key < end;
      operation.end = end;
      return read;
    }
    case Tag::erase_to_end: operation.kind = OperationKind::erase_range; return true;
  }
  return false;
}

MirrorError bad_entry(const char* why) {
  return MirrorError::protocol_violation(std::string("an entry cannot be read: ") + why);
}

}  // namespace

Operation Operation::put(std::string_view key, std::string_view value, std::optional<std::uint64_t> lease) {
  return {OperationKind::put, key, value, {}, lease};
}
Operation Operation::erase(std::string_view key) { return {OperationKind::erase, key, {}, {}, {}}; }
Operation Operation::erase_range(std::string_view begin, std::optional<std::string_view> end) {
  return {OperationKind::erase_range, begin, {}, end, {}};
}

std::size_t encoded_entry_bytes(Lsn, std::span<const Operation> operations) {
  const auto body = body_bytes(operations);
  return varint_bytes(body) + body;
}

void encode_entry(std::vector<std::byte>& out, Lsn lsn, std::uint64_t commit_time_us,
                  std::span<const Operation> operations) {
  const auto body = body_bytes(operations);
  const auto at = out.size();
  out.resize(at + varint_bytes(body) + body);
  Writer writer(std::span<std::byte>(out).subspan(at));
  writer.varint(body);
  writer.u64(commit_time_us);
  writer.u64(lsn.value);
  writer.varint(operations.size());
  for (const auto& operation : operations) {
    const auto tag = tag_of(operation);
    writer.byte(static_cast<std::uint8_t>(tag));
    writer.text(operation.key);
    if (operation.kind == OperationKind::put) writer.text(operation.value);
    if (tag == Tag::put_lease) writer.u64(*operation.lease);
    if (tag == Tag::erase_range) writer.text(*operation.end);
  }
}

void set_entry_lsn(std::span<std::byte> encoding, Lsn lsn) {
  std::span<const std::byte> body = encoding;
  std::uint64_t size = 0;
  static_cast<void>(core::read_varint(body, size));
  const auto at = encoding.size() - body.size() + 8;  // after the commit time
  for (std::size_t i = 0; i < 8; ++i)
    encoding[at + i] = static_cast<std::byte>(lsn.value >> (56 - 8 * i));
}

Result<EntryView> read_entry(std::span<const std::byte>& bytes) {
  auto rest = bytes;
  std::uint64_t size = 0;
  if (core::read_varint(rest, size) != core::Varint::read)
    return bad_entry("its length is no shortest varint, or cut short");
  if (size > rest.size()) return bad_entry("it is cut short");
  auto body = rest.first(static_cast<std::size_t>(size));
  if (body.size() < times_and_lsn_bytes) return bad_entry("it is too short");
  EntryView entry;
  entry.encoding_ = bytes.first(bytes.size() - rest.size() + body.size());
  entry.commit_time_us_ = u64_at(body);
  entry.hashed_ = body.subspan(8);
  entry.lsn_.value = u64_at(entry.hashed_);
  if (entry.lsn_.value == 0 || entry.lsn_ == no_snapshot) return bad_entry("its LSN is none");
  auto operations = body.subspan(times_and_lsn_bytes);
  if (core::read_varint(operations, entry.operation_count_) != core::Varint::read || entry.operation_count_ == 0) {
    return bad_entry("it has no operations");
  }
  entry.operations_ = operations;
  Operation operation;
  for (std::uint64_t i = 0; i < entry.operation_count_; ++i) {
    if (!read_operation(operations, operation)) return bad_entry("an operation is unknown, wrong or cut short");
  }
  if (!operations.empty()) return bad_entry("it is longer than what it holds");
  bytes = rest.subspan(body.size());
  return entry;
}

Operation EntryView::next_operation(std::span<const std::byte>& rest) {
  Operation operation;
  static_cast<void>(read_operation(rest, operation));  // was read when the view was made
  return operation;
}

std::vector<Operation> EntryView::operations() const {
  std::vector<Operation> all;
  all.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(operation_count_, operations_.size())));
  for_each([&](const Operation& operation) { all.push_back(operation); });
  return all;
}

// --- pairs -----------------------------------------------------------------------------------------------------------

std::size_t encoded_pair_bytes(const KeyValue& pair) {
  return text_bytes(pair.key) + text_bytes(pair.value) + 1 + (pair.lease ? 8 : 0);
}

void encode_pair(std::vector<std::byte>& out, const KeyValue& pair) {
  append_text(out, pair.key);
  append_text(out, pair.value);
  out.push_back(std::byte{pair.lease.has_value()});
  if (pair.lease) append_u64(out, *pair.lease);
}

Result<std::optional<KeyValue>> read_pair(std::span<const std::byte>& bytes, std::uint64_t pair_bytes_max) {
  auto rest = bytes;
  KeyValue pair;
  for (auto* text : {&pair.key, &pair.value}) {
    std::uint64_t size = 0;
    switch (core::read_varint(rest, size)) {
      case core::Varint::cut_short: return std::optional<KeyValue>();
      case core::Varint::wrong: return MirrorError::protocol_violation("a pair's length is no shortest varint");
      case core::Varint::read: break;
    }
    if (size > pair_bytes_max) return MirrorError::protocol_violation("a pair is longer than any may be");
    if (size > rest.size()) return std::optional<KeyValue>();
    *text = {reinterpret_cast<const char*>(rest.data()), static_cast<std::size_t>(size)};
    rest = rest.subspan(static_cast<std::size_t>(size));
  }
  if (rest.empty()) return std::optional<KeyValue>();
  const auto has_lease = std::to_integer<std::uint8_t>(rest.front());
  if (has_lease > 1)
    return MirrorError::protocol_violation("a pair says neither that it has a lease nor that it has none");
  rest = rest.subspan(1);
  if (has_lease == 1) {
    std::uint64_t lease = 0;
    if (!read_u64(rest, lease)) return std::optional<KeyValue>();
    pair.lease = lease;
  }
  bytes = rest;
  return std::optional(pair);
}

}  // namespace crosslink
