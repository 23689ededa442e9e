// Where a mirror stands in its source's log, and the history that such a statement refers to.
//
// An LSN alone does not say which commit it is: after a power cut or a restore from a backup a source may give the same
// LSN to another commit. So each stretch of a log that nothing interrupted has a random name, its incarnation, and a
// position names the incarnation, and the last entry with its hash, besides the LSN. A source can thus tell a mirror
// that is behind from one that holds what the source lost. Rules: docs/protocol.md, "Sessions" and "Which log goes on".
// Everything here is a plain value; nothing does I/O.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crosslink/result.hpp"
#include "crosslink/types.hpp"

namespace crosslink {

namespace detail {
/// 16 bytes with a tag. In JSON and logs: 32 lower-case hex digits.
template <class Tag>
struct Id128 {
  std::array<std::byte, 16> bytes{};
  friend auto operator<=>(const Id128&, const Id128&) = default;
};
/// 32 lower-case hex digits.
std::string to_hex(std::span<const std::byte, 16> bytes);
/// The reverse; absent when `text` is anything else than 32 lower-case hex digits.
std::optional<std::array<std::byte, 16>> from_hex(std::string_view text);
}  // namespace detail

/// Names one uninterrupted stretch of one database's log. Random, so that no two are the same; drawn by the engine when
/// it makes the database, and at each event of HistoryCause.
using Incarnation = detail::Id128<struct IncarnationTag>;
/// XXH3-128 over an entry's LSN and operations. Finds forks that happened, not forgers. All zero: no entry.
using EntryHash = detail::Id128<struct EntryHashTag>;
/// Names one snapshot: the same id always gives the same bytes.
using SnapshotId = detail::Id128<struct SnapshotIdTag>;
/// Names one mirror, for as long as it is that one: drawn when it is created, kept over restarts. All zero: none.
using MirrorId = detail::Id128<struct MirrorIdTag>;

/// Which copy a mirror is, as the mirror itself says. A certificate's name says which cluster it belongs to; one
/// cluster may have several mirrors of one database, and several nodes under one name.
struct MirrorIdentity {
  std::string database;  ///< its own "cluster/database"; empty: it did not say
  MirrorId id;           ///< all zero: it did not say
  friend auto operator<=>(const MirrorIdentity&, const MirrorIdentity&) = default;
};

template <class Tag>
std::string to_string(const detail::Id128<Tag>& id) {
  return detail::to_hex(id.bytes);
}

/// Why an incarnation began.
enum class HistoryCause : std::uint8_t {
  created,
  unclean_stop,  ///< the log may have lost its tail
  restamp,       ///< from here on another one: the database was opened anew, or an operator said that it was set back
  bootstrap,     ///< a mirror's data was replaced by a snapshot
  unlogged_change,  ///< data came in past the log
};
std::string_view to_string(HistoryCause cause);

/// One incarnation of a history.
struct HistoryRecord {
  Incarnation incarnation;
  Lsn first_lsn;  ///< the first LSN that can belong to it
  HistoryCause cause = HistoryCause::created;
  friend bool operator==(const HistoryRecord&, const HistoryRecord&) = default;
};

/// Most records a history holds; the oldest are cut off, and their incarnations noted as trimmed. 64 restores and
/// unclean ends are years of them, and a history of that many still fits one control frame.
inline constexpr std::size_t history_records_max = 64;

/// All incarnations that a database's log has had, oldest first, first_lsn never falling; at least one record in a
/// database that exists, none in an empty mirror. A plain value; a copy
/// shares what it was copied from until one of both is appended to, so it is cheap however long the history is.
class History {
 public:
  History() = default;
  /// Errors: ProtocolViolation (peer) when empty, too long, falling, or when an incarnation is there twice.
  static Result<History> from_records(std::vector<HistoryRecord> records, std::vector<Incarnation> trimmed = {});
  /// Of a database that begins: one record, nothing trimmed.
  static History beginning(HistoryRecord first);

  std::span<const HistoryRecord> records() const { return lists().records; }
  std::span<const Incarnation> trimmed() const { return lists().trimmed; }
  bool empty() const { return lists_ == nullptr; }
  /// Precondition: not empty.
  const HistoryRecord& newest() const { return lists_->records.back(); }
  bool contains(const Incarnation& incarnation) const;
  /// The last LSN that can belong to `incarnation`: one before the next record's first_lsn, `head` for the newest.
  /// Absent when the history does not contain it.
  std::optional<Lsn> end_of(const Incarnation& incarnation, Lsn head) const;
  /// The incarnation that a position with this applied LSN stands in: the newest whose first_lsn is <= lsn, the oldest
  /// record's if there is none. Precondition: not empty.
  const Incarnation& incarnation_at(Lsn lsn) const;
  /// Appends; cuts the oldest off (into trimmed) when there would be more than history_records_max. Precondition:
  /// first_lsn is not below the newest's.
  void append(HistoryRecord record);
  friend bool operator==(const History& left, const History& right) {
    return left.lists_ == right.lists_ || left.lists() == right.lists();
  }

 private:
  struct Lists {
    std::vector<HistoryRecord> records;
    std::vector<Incarnation> trimmed;
    friend bool operator==(const Lists&, const Lists&) = default;
  };
  explicit History(Lists lists) : lists_(std::make_shared<const Lists>(std::move(lists))) {}
  const Lists& lists() const;
  std::shared_ptr<const Lists> lists_;  ///< null: empty
};

/// Which entry it is: the same LSN with another hash is another entry, of a fork.
struct EntryId {
  Lsn lsn;         ///< 0: there never was an entry
  EntryHash hash;  ///< all zero then
  friend bool operator==(const EntryId&, const EntryId&) = default;
};

/// What a mirror keeps, in the same atomic write as the data it describes.
struct Position {
  Incarnation origin;       ///< the incarnation at the root of the chain
  Incarnation incarnation;  ///< of the direct source, where applied_lsn stands
  EntryId last_entry;       ///< the last entry applied; its LSN is at most applied_lsn
  Lsn applied_lsn;          ///< everything up to here is applied
  Lsn origin_lsn;           ///< the LSN at the root that the data stands for; at a direct mirror applied_lsn
  friend bool operator==(const Position&, const Position&) = default;
};

}  // namespace crosslink
