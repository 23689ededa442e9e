// What a storage engine must offer so that crosslink can mirror its databases: two small interfaces, one per side.
//
//   SourceEngine   history and head, read the log, prove a position, open a snapshot
//   MirrorEngine   position, apply with the position, receive a snapshot beside the live data, switch, promote
//
// A database usually implements both: a mirror can itself be a source. Every call may block, unless it is said to be
// quick; crosslink makes them from engine threads, never from a network thread. The engine's own record is the only
// truth about role and position: crosslink keeps nothing beside it.
//
// Errors of an engine are caused by us: the other side has no part in them. Storage is what may be tried again; an
// engine that fails otherwise than its comments say makes a mirror halt. Exceptions, other than std::bad_alloc, must
// not leave it.
//
// Every engine must pass the conformance suite of crosslink/testing/engine_conformance.hpp, which is installed with
// this header: docs/engines.md says how to write an engine and how to run the suite on it. memory_engine.hpp is the
// smallest one.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crosslink/entry.hpp"
#include "crosslink/position.hpp"
#include "crosslink/result.hpp"

namespace crosslink {

/// Bytes that several owners read and none changes.
using SharedBytes = std::shared_ptr<const std::vector<std::byte>>;

/// The snapshot format that every engine reads and writes: sorted pairs (docs/protocol.md, "Forms").
inline constexpr std::string_view kv_format = "kv";

/// What a snapshot that is received leaves free on a disk that other databases write to, where the caller says nothing.
inline constexpr std::uint64_t min_free_bytes_default = 1024ull * 1024 * 1024;

/// What a database is to others.
enum class DatabaseRole : std::uint8_t {
  root,      ///< takes writes, follows no source
  mirror,    ///< follows a source; read-only where the engine can enforce it
  promoted,  ///< was a mirror, takes writes now; final
};
std::string_view to_string(DatabaseRole role);

/// What a promoted database remembers of the mirror it was.
struct PromotedFrom {
  std::string cluster, database;  ///< of the source it followed
  Position position;              ///< where it stood
  friend bool operator==(const PromotedFrom&, const PromotedFrom&) = default;
};

/// The database as a source, at one moment.
struct SourceState {
  DatabaseRole role = DatabaseRole::root;
  Incarnation origin;
  History history;
  Lsn head;        ///< newest committed LSN; 0: none yet
  Lsn oldest;      ///< the log can be read after this LSN and after every later one
  Lsn origin_lsn;  ///< the LSN at the root that head stands for; at a root and at a promoted database head itself
  std::optional<PromotedFrom> promoted_from;
  /// Of all keys and values as they are stored, about and as of a moment ago; absent: unknown.
  std::optional<std::uint64_t> data_bytes = std::nullopt;
  /// Head may be missing commits of this long. 0 where the engine is where commits are made; absent: unknown, as when
  /// the cluster that it reads from cannot be reached.
  std::optional<std::chrono::microseconds> behind = std::chrono::microseconds(0);
  /// How often the engine found that what it reads from had gone back, as a cluster does that is restored from a
  /// backup: what it said before of LSNs and entries is no longer true, though no incarnation says so.
  std::uint64_t times_gone_back = 0;
  std::string key_prefix = {};  ///< as SnapshotFacts::key_prefix
};

/// What a key may be bound to at the source: it is deleted there when its lease ends, and the deletion is in the log.
struct LeaseGrant {
  std::uint64_t lease = 0, ttl_s = 0;
  friend bool operator==(const LeaseGrant&, const LeaseGrant&) = default;
};
/// Leases told and not yet with an engine, at most; a source that tells more breaks the protocol.
inline constexpr std::size_t leases_waiting_max = 64 * 1024;

/// A stretch of log: the entries in (prev_lsn, last_lsn], and nothing else lies in it.
struct LogSlice {
  Lsn prev_lsn, last_lsn;
  std::uint64_t count = 0;              ///< 0: entries is empty and only the LSN moves
  SharedBytes entries;                  ///< encodings one after another; never null
  Lsn origin_lsn;                       ///< the LSN at the root that last_lsn stands for
  std::vector<LeaseGrant> leases = {};  ///< those that its entries use, as far as they still live
};

/// Log that has just come to be: a LogSlice without leases, lent for the length of a call.
struct CommittedLog {
  Lsn prev_lsn, last_lsn;  ///< last_lsn is the head now. Equal: the engine hands nothing over, read_log() has it
  std::uint64_t count = 0;
  std::span<const std::byte> entries;
  Lsn origin_lsn;
};

/// Is the last entry at or before an LSN the one that a mirror says it has?
enum class PositionProof : std::uint8_t {
  same,
  diverged,    ///< another entry, or none, or a later one
  unverified,  ///< that part of the log is gone and nothing was remembered of it
};

/// How far the log after an LSN is from being dropped.
struct WindowLeft {
  std::uint64_t bytes = 0;                        ///< of log that may still be written; 0: at any moment
  std::optional<std::chrono::milliseconds> time;  ///< absent: the log is not dropped by age
  friend bool operator==(const WindowLeft&, const WindowLeft&) = default;
};

/// What is known when a snapshot opens.
struct SnapshotFacts {
  SnapshotId id;
  std::string format;
  Lsn snapshot_lsn;    ///< S0: the log after it brings the snapshot forward
  EntryId last_entry;  ///< the last entry at or before S0
  Lsn origin_lsn;      ///< the LSN at the root that S0 stands for
  Incarnation origin, incarnation;
  std::optional<std::uint64_t> total_bytes;
  Lsn consistent_lsn;           ///< from this LSN on a receiver's data is consistent; >= snapshot_lsn
  std::string key_prefix = {};  ///< what every key of the database begins with; a mirror may keep another in its place
  friend bool operator==(const SnapshotFacts&, const SnapshotFacts&) = default;
};

/// A snapshot as a deterministic stream of bytes. Thread safe; keeps what it reads from alive.
class SnapshotReader {
 public:
  virtual ~SnapshotReader() = default;
  virtual const SnapshotFacts& facts() const = 0;
  struct Piece {
    SharedBytes bytes;  ///< never null; at most what was asked for
    bool done = false;  ///< nothing comes after these bytes
    /// With done: where the data is consistent, if that came out only while it was read; else the facts say it.
    std::optional<Lsn> consistent_lsn = {};
    std::vector<LeaseGrant> leases = {};  ///< those that pairs ending in these bytes use
  };
  /// Bytes from `offset` on, at most `bytes_max` (at least 1); at least one unless done. The same offset always gives
  /// the same bytes. Errors: Storage; Configuration when `offset` is past the end.
  virtual Result<Piece> read(std::uint64_t offset, std::size_t bytes_max) = 0;
};

/// One database as a source. Thread safe: sessions of several mirrors call at once.
class SourceEngine {
 public:
  virtual ~SourceEngine() = default;
  /// Quick: called on network threads.
  virtual SourceState source_state() const = 0;
  /// source_state().role and .head. Called for each command of a client: an engine that clients write to answers
  /// without waiting for a commit, and copies nothing.
  virtual DatabaseRole role() const { return source_state().role; }
  virtual Lsn head() const { return source_state().head; }
  /// The log after `after`, at most about `bytes_max` bytes of entries but at least one entry; count 0 and last_lsn =
  /// prev_lsn at the head. Entries come whole and in order, none is left out. Errors: LogWindowExceeded{oldest, head}
  /// when the log after `after` is no longer held, Storage.
  virtual Result<LogSlice> read_log(Lsn after, std::size_t bytes_max) = 0;
  /// See PositionProof. `at` >= last_entry.lsn and not above the head. Errors: Storage.
  virtual Result<PositionProof> prove(const EntryId& last_entry, Lsn at) = 0;
  /// Opens the snapshot `wanted` if it still exists, else one of the state now, in the first of `formats` that this
  /// engine writes (`kv` always is). Errors: Busy when as many as allowed are open, or when there is no data yet to
  /// give; UnsupportedOperation when it writes none of `formats`, and when what it holds cannot be given away; Storage.
  virtual Result<std::shared_ptr<SnapshotReader>> open_snapshot(std::span<const std::string> formats,
                                                                const std::optional<SnapshotId>& wanted) = 0;
  /// The log after `from` is kept for `holder` until it is pinned elsewhere or unpinned, within the engine's budget:
  /// beyond that a pin is passed over, and its holder's next read_log answers LogWindowExceeded. Not kept over a
  /// restart. Quick.
  virtual void pin(const std::string& holder, Lsn from) = 0;
  /// Without effect for a holder that has no pin. Quick.
  virtual void unpin(const std::string& holder) = 0;
  /// How much more may be written before the log after `after` is dropped, pins considered; absent: it is gone. Quick.
  virtual std::optional<WindowLeft> window_left(Lsn after) const = 0;
  /// `on_log` is called after each commit, on the committing thread, with what it added, so that it need not be read
  /// again; several commits may be told at once. It must not block or call back. It replaces the one before, which is no
  /// longer called once this returns. Empty: none.
  virtual void watch_log(std::function<void(const CommittedLog& log)> on_log) = 0;
  /// `on_change` is called after the history changed, or went back (times_gone_back), by itself: sessions that began
  /// before must end. On the thread that found it; it must not block or call back. Empty: none.
  virtual void watch_history(std::function<void()> /*on_change*/) {}
  /// What an operator should know of it beside its state, in words; empty: nothing. Quick, from any thread.
  virtual std::string detail() const { return {}; }
};

/// What an engine can do; sessions and the operator's commands depend on it.
struct EngineTraits {
  std::string name;                  ///< "memory", "rocksdb", "etcd"
  bool atomic_switch = false;        ///< readers see the old data until a received snapshot is switched in as a whole
  bool enforces_read_only = false;   ///< only crosslink can write to a mirror
  std::vector<std::string> formats;  ///< snapshot formats it reads, best first; `kv` among them
};

/// A chunk that is stored: its place, and its CRC as it arrived.
struct StoredChunk {
  std::uint64_t offset = 0;
  std::uint32_t bytes = 0, crc32c = 0;
  friend bool operator==(const StoredChunk&, const StoredChunk&) = default;
};

/// A snapshot that is not whole yet, or not switched in.
struct PartialSnapshot {
  SnapshotFacts facts;
  std::vector<StoredChunk> chunks;  ///< in order, without gaps from offset 0
  std::uint64_t bytes() const { return chunks.empty() ? 0 : chunks.back().offset + chunks.back().bytes; }
};

/// The database as a mirror, at one moment.
struct MirrorState {
  DatabaseRole role = DatabaseRole::mirror;
  std::optional<Position> position;  ///< absent: no data yet
  Lsn durable;                       ///< position's LSN that survives a power cut; 0 without one
  std::optional<PartialSnapshot> partial;
  std::optional<PromotedFrom> promoted_from;
  /// Before this LSN is applied the data is not of one moment; of a snapshot whose pages were of several.
  Lsn consistent_lsn = {};
  /// There is data although there is no position: a snapshot is being written over it, and it is of no moment.
  bool inconsistent = false;
  /// Leases that a promotion grants anew for its keys, or granted; absent: not known, or the engine keeps none.
  std::optional<std::uint64_t> leases = std::nullopt;
};

/// Something that an engine counts since it was opened, for metrics.
struct EngineCount {
  std::string name;  ///< lower case, with '_'
  std::uint64_t value = 0;
};

/// Entries to apply at once. Each element holds whole encodings, one after another, already checked.
struct ApplyGroup {
  std::vector<std::span<const std::byte>> entries;  ///< may be empty: only the position moves
  Position position;                                ///< where the mirror stands after it
};

/// What came out of comparing a received snapshot with its CRCs, before the switch.
struct SnapshotCheck {
  std::optional<std::uint64_t> cut_back_to;  ///< the first chunk that no longer has its CRC begins here; it and all
                                             ///< after it are dropped
  std::uint32_t total_crc32c = 0;            ///< of all bytes, if nothing was cut
};

/// One database as a mirror. One caller at a time; mirror_state() and detail() from any thread.
///
/// Where several processes can write to the mirror (a cluster of its own keeps it), one of them owns it. Every call
/// that writes, and sync(), may then answer Busy: another owns it, or did meanwhile and moved the position. Nothing was
/// changed; the caller drops what it holds and asks again by sync(), after which mirror_state() is true. Where another
/// process promoted the mirror they answer MirrorPromoted, but for sync(): after it, mirror_state() says so.
class MirrorEngine {
 public:
  virtual ~MirrorEngine() = default;
  virtual EngineTraits traits() const = 0;
  virtual MirrorState mirror_state() const = 0;
  /// `on_moved` is called after the engine found out by itself that the position is not the one that it said last, as
  /// when a cluster that keeps the mirror was restored from a backup, or emptied, or that another process promoted the
  /// mirror. The caller asks again by sync(). On a
  /// thread of the engine; it must not block or call back. Empty: none.
  virtual void watch_position(std::function<void()> /*on_moved*/) {}

  /// Applies the entries in order and sets the position, in one atomic write: a crash leaves both or neither. Unchanged
  /// on failure, but where an entry may be too large for one write: one that was begun goes on at the next call.
  /// Errors: Storage (may be tried again), UnsupportedOperation, MirrorPromoted; HistoriesParted when one was begun and
  /// another comes next.
  virtual Result<void> apply(const ApplyGroup& group) = 0;
  /// Sets the applied LSN to an earlier one, `from`, at or above the last entry's: only LSNs without entries are given
  /// up, so the data stays as it is. durable falls with it. Errors: Storage, MirrorPromoted.
  virtual Result<void> step_back(Lsn from) = 0;
  /// Makes everything applied durable; returns the durable LSN. Errors: Storage.
  virtual Result<Lsn> sync() = 0;
  /// Leases that what is applied or stored next may use. Told again, the newer one counts. Errors: Storage.
  virtual Result<void> note_leases(std::span<const LeaseGrant>) { return {}; }
  /// Of the snapshot being received, known only at its end: see MirrorState. Said before the switch. Errors: Storage.
  virtual Result<void> note_consistent(Lsn) { return {}; }

  /// Begins to receive a snapshot beside the live data; what was received of another one is dropped. Errors: Storage,
  /// UnsupportedOperation (a format it cannot read), MirrorPromoted.
  virtual Result<void> begin_snapshot(const SnapshotFacts& facts) = 0;
  /// Appends a chunk; it survives a kill of the process when this returns. A power cut may damage what was stored: then
  /// check_snapshot finds it. Precondition: its offset is partial.bytes(). Errors: Storage.
  virtual Result<void> store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) = 0;
  /// Reads all that was stored and compares it with the chunks' CRCs. What no longer has its CRC is dropped with all
  /// after it, and can be stored again. Errors: Storage.
  virtual Result<SnapshotCheck> check_snapshot() = 0;
  /// Replaces the live data by the received snapshot, in one step, durable when it returns: position = the snapshot's,
  /// history = one new incarnation of cause bootstrap with the snapshot's origin. Safe to call again after a crash.
  /// Errors: Storage, UnsupportedOperation (the bytes are no snapshot), MirrorPromoted; the old data stays then.
  virtual Result<void> switch_snapshot() = 0;
  /// Drops what was received; the live data stays. Without effect when there is nothing. Errors: Storage.
  virtual Result<void> drop_snapshot() = 0;

  /// Makes everything applied durable, records the promotion durably, opens for writes. Called again, it returns the
  /// first result, whatever the arguments. Data of no single moment is promoted as well: the caller has asked whether
  /// that is wanted. `source_cluster` and `source_database`: for PromotedFrom. Errors: Storage; Configuration when
  /// there is no data yet. It is a mirror as before then.
  virtual Result<PromotedFrom> promote(const std::string& source_cluster, const std::string& source_database) = 0;
  /// The mirror is paused, or has not reached its source for a while. Where several processes can write to the mirror,
  /// another may own it soon; the next call that writes owns it again, if no other process does. Called again and again
  /// while that lasts. Quick, from any thread.
  virtual void let_go() {}
  /// What an operator should know of it beside its status, in words; empty: nothing. Quick, from any thread.
  virtual std::string detail() const { return {}; }
  /// What it counts, in the same order each time. Quick, from any thread.
  virtual std::vector<EngineCount> counts() const { return {}; }
};

/// A view of all pairs at one LSN, for verify. Thread safe; keeps what it reads from alive, so let it go soon.
class DataView {
 public:
  virtual ~DataView() = default;
  virtual Lsn lsn() const = 0;
  /// Calls `visit` with the pairs of [begin, end) in key order until it returns false; `end` absent: to the last key.
  /// Keys that the engine reserves for itself are left out. The pairs are valid during the call only. Errors: Storage.
  virtual Result<void> scan(std::string_view begin, std::optional<std::string_view> end,
                            const std::function<bool(const KeyValue&)>& visit) const = 0;
};

/// What both sides of a verify need of a database. Thread safe.
class VerifiableEngine {
 public:
  virtual ~VerifiableEngine() = default;
  /// Of the state now, at SourceState::head, which of a mirror is its own log's. Errors: Storage.
  virtual Result<std::shared_ptr<const DataView>> view() = 0;
};

}  // namespace crosslink
