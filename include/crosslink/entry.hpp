// Entries: one atomic commit each, in the one canonical encoding that logs, batches, hashes and engines share. The
// bytes: docs/protocol.md, "Forms". Plain computation, from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/position.hpp"
#include "crosslink/result.hpp"

namespace crosslink {

/// An entry whose encoding is longer travels in fragments of bulk_data_bytes_max (frame.hpp): so no entry holds up
/// control frames for longer than one bulk frame does.
inline constexpr std::size_t unfragmented_entry_bytes_max = 1024 * 1024;
/// Largest encoding of one entry where nothing else is set; an engine refuses a larger commit (UnsupportedOperation),
/// and a mirror a larger entry. A mirror applies an entry as a whole, so this is what one commit can make it hold:
/// raise it for larger transactions, at every mirror before its source, and count on that much memory, or disk from 8
/// MiB on (MirrorOptions::spill_folder), for each mirror.
inline constexpr std::uint64_t entry_bytes_max_default = 256ull * 1024 * 1024;

/// erase_range deletes the keys in [begin, end).
enum class OperationKind : std::uint8_t { put, erase, erase_range };

/// Keys and values are any bytes. Views: valid as long as what they point to (the encoding, or the caller's strings).
struct Operation {
  OperationKind kind = OperationKind::put;
  std::string_view key;                 ///< erase_range: begin
  std::string_view value;               ///< put only
  std::optional<std::string_view> end;  ///< erase_range only; absent: to the end of the database
  std::optional<std::uint64_t> lease;   ///< put only
  friend bool operator==(const Operation&, const Operation&) = default;

  static Operation put(std::string_view key, std::string_view value, std::optional<std::uint64_t> lease = {});
  static Operation erase(std::string_view key);
  static Operation erase_range(std::string_view begin, std::optional<std::string_view> end);
};

/// Appends the encoding of one entry to `out`. Preconditions (ours): 1 <= lsn < 2^64 - 1, at least one operation, no
/// range with begin >= end.
void encode_entry(std::vector<std::byte>& out, Lsn lsn, std::uint64_t commit_time_us,
                  std::span<const Operation> operations);
/// Gives an encoding another LSN; with it the hash becomes another. Precondition (ours): `encoding` is one.
void set_entry_lsn(std::span<std::byte> encoding, Lsn lsn);
/// EntryView::hash() of an encoding, which is not looked at else. Precondition (ours): `encoding` is one.
EntryHash entry_hash(std::span<const std::byte> encoding);
/// Length of that encoding.
std::size_t encoded_entry_bytes(Lsn lsn, std::span<const Operation> operations);

/// One entry, checked from end to end when it was made; operations are read out of the encoding without copying.
class EntryView {
 public:
  Lsn lsn() const { return lsn_; }
  std::uint64_t commit_time_us() const { return commit_time_us_; }
  std::uint64_t operation_count() const { return operation_count_; }
  std::span<const std::byte> encoding() const { return encoding_; }
  /// Over the LSN and the operations, not the commit time; computed anew at each call.
  EntryHash hash() const;
  EntryId id() const { return {lsn_, hash()}; }
  std::vector<Operation> operations() const;
  /// Calls `visit` with each operation in order.
  template <class Visit>
  void for_each(Visit&& visit) const {
    auto rest = operations_;
    for (std::uint64_t i = 0; i < operation_count_; ++i)
      visit(next_operation(rest));
  }

 private:
  friend Result<EntryView> read_entry(std::span<const std::byte>& bytes);
  static Operation next_operation(std::span<const std::byte>& rest);
  Lsn lsn_;
  std::uint64_t commit_time_us_ = 0, operation_count_ = 0;
  std::span<const std::byte> encoding_, hashed_, operations_;
};

/// Takes one entry off the front of `bytes`. Errors (peer), ProtocolViolation, and `bytes` unchanged: cut short, a
/// length that does not fit, a varint that is not the shortest form, an unknown operation, no operation, LSN 0 or all
/// ones, a range with begin >= end. Never reads outside `bytes` and takes no memory.
Result<EntryView> read_entry(std::span<const std::byte>& bytes);

/// One pair of a `kv` snapshot.
struct KeyValue {
  std::string_view key, value;
  std::optional<std::uint64_t> lease;
};
/// Appends the encoding of one pair to `out`.
void encode_pair(std::vector<std::byte>& out, const KeyValue& pair);
/// Length of that encoding.
std::size_t encoded_pair_bytes(const KeyValue& pair);
/// Takes one pair off the front of `bytes`; nullopt when they end before the pair does (`bytes` unchanged). Errors
/// (peer), ProtocolViolation: a varint that is not the shortest form or above `pair_bytes_max`, has_lease neither 0
/// nor 1.
Result<std::optional<KeyValue>> read_pair(std::span<const std::byte>& bytes, std::uint64_t pair_bytes_max);

/// XXH3-128 of a stretch of pairs, leases left out: what verify compares. Feed the pairs in key order.
class PairDigest {
 public:
  PairDigest();
  ~PairDigest();
  PairDigest(const PairDigest&) = delete;
  PairDigest& operator=(const PairDigest&) = delete;
  void add(std::string_view key, std::string_view value);
  EntryHash digest() const;

 private:
  struct State;
  State* state_;
};

/// CRC-32C (Castagnoli), as RFC 3720 computes it; `before`: the CRC of the bytes that came before these.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace crosslink
