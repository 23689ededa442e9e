// The vocabulary of the engines' tests: a database under test, the steps that sources and mirrors take with it, and the
// conformance suite's fixture. Tests of one engine alone may include this as often as they like. One thread.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "crosslink/engine.hpp"

namespace crosslink {
inline void PrintTo(const Lsn& lsn, std::ostream* out) { *out << "LSN " << lsn.value; }
}  // namespace crosslink

namespace crosslink::test {

using Contents = std::map<std::string, std::string>;
using Pairs = std::vector<std::pair<std::string, std::string>>;

/// One database of the engine under test, of its own: no two may share data or names. What an engine cannot do by order
/// answers false, as the defaults do: the cases that need it are skipped, and show as skipped. The database is
/// destroyed at the end of its case, and must then leave nothing behind.
class TestedDatabase {
 public:
  virtual ~TestedDatabase() = default;
  /// The engine's two sides, and what verify needs. An engine that is a source only throws from mirror(), which is
  /// asked of databases of make_empty_mirror alone.
  virtual SourceEngine& source() = 0;
  virtual MirrorEngine& mirror() = 0;
  virtual VerifiableEngine& verifiable() = 0;
  /// Commits as the engine's own users do, all operations as one entry, and returns its LSN once the source side shows
  /// it. Errors: what the engine answers; a mirror that enforces_read_only must refuse.
  virtual Result<Lsn> commit(std::span<const Operation> operations) = 0;
  /// Reads all keys as the engine's own users do, not by view() alone.
  virtual Contents read_all() = 0;
  /// Stops and starts again; what was not durable may be gone. References taken before are void.
  virtual bool reopen() { return false; }
  /// The next so many calls of mirror() that write answer Storage.
  virtual bool fail_next(std::uint32_t) { return false; }
  /// The next call that writes to a disk of ours does: to make durable, or to keep what is received of a snapshot.
  virtual bool fail_next_on_disk() { return fail_next(1); }
  /// Changes the stored byte at this offset of the partial snapshot, behind the engine's back.
  virtual bool damage_stored_byte(std::uint64_t) { return false; }
  /// From here on what was committed survives a stop. The default asks mirror() to sync.
  virtual Result<void> make_durable() {
    const auto synced = mirror().sync();
    return synced ? Result<void>{} : synced.error();
  }
  /// Drops the log up to the head.
  virtual bool trim_log() { return false; }
};

/// An engine in one configuration. Name each that stores or syncs otherwise: the suite runs on all of them.
struct EngineUnderTest {
  std::string name;  ///< letters, digits and '_': part of the cases' names
  /// Makes an empty root, and an empty mirror to become a copy of one. Of a source-only engine the second is another
  /// engine's, for instance a MemoryDatabase.
  std::function<std::unique_ptr<TestedDatabase>()> make_root, make_empty_mirror;
  std::size_t snapshots_max = 0;  ///< open at once; 0: no limit
};
inline void PrintTo(const EngineUnderTest& engine, std::ostream* out) { *out << engine.name; }

// --- results
// -------------------------------------------------------------------------------------------------

/// The value; an error ends the test.
template <class T>
T must(Result<T> result) {
  if (!result)
    throw std::runtime_error(std::string(to_string(result.error().kind())) + ": " + result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

/// The kind of an error, or "done".
template <class T>
std::string refusal(const Result<T>& result) {
  return result ? "done" : std::string(to_string(result.error().kind()));
}

// --- contents
// -------------------------------------------------------------------------------------------------

using Commits = std::vector<std::vector<Operation>>;

/// Commits with every kind of operation, keys and values of any bytes, and order that matters within one commit.
inline const Commits& workload() {
  static const std::string binary_key("k\0\xff\n", 4), binary_value("\0\1\xfe", 3), large(5000, 'x');
  static const Commits commits{
      {Operation::put("a", "1"), Operation::put("b", "1"), Operation::put("c", "1")},
      {Operation::put("b", "2")},
      {Operation::erase("a"), Operation::erase("never there")},
      {Operation::put(binary_key, binary_value), Operation::put("empty value", "")},
      {Operation::put("r/1", "1"), Operation::put("r/2", "2"), Operation::put("r/3", "3"), Operation::put("r/4", "4")},
      {Operation::erase_range("r/2", "r/4")},
      {Operation::put("large", large)},
      {Operation::put("d", "1"), Operation::erase("d"), Operation::put("d", "2"), Operation::put("z/1", "1")},
      {Operation::erase_range("y", std::nullopt), Operation::put("z/2", "2")},
  };
  return commits;
}

inline void play(Contents& contents, const Operation& operation) {
  switch (operation.kind) {
    case OperationKind::put:
      contents.insert_or_assign(std::string(operation.key), std::string(operation.value));
      return;
    case OperationKind::erase: contents.erase(std::string(operation.key)); return;
    case OperationKind::erase_range:
      contents.erase(contents.lower_bound(std::string(operation.key)),
                     operation.end ? contents.lower_bound(std::string(*operation.end)) : contents.end());
  }
}

inline Contents expected_of(const Commits& commits) {
  Contents contents;
  for (const auto& operations : commits) {
    for (const auto& operation : operations)
      play(contents, operation);
  }
  return contents;
}

inline std::vector<Lsn> write(TestedDatabase& database, const Commits& commits) {
  std::vector<Lsn> lsns;
  for (const auto& operations : commits)
    lsns.push_back(must(database.commit(operations)));
  return lsns;
}

inline Pairs scan(const DataView& view, std::string_view begin, std::optional<std::string_view> end) {
  Pairs pairs;
  must(view.scan(begin, end, [&](const KeyValue& pair) {
    pairs.emplace_back(pair.key, pair.value);
    return true;
  }));
  return pairs;
}

// --- logs
// -------------------------------------------------------------------------------------------------

struct LoggedEntry {
  EntryId id;
  std::vector<std::byte> encoding;
  friend bool operator==(const LoggedEntry&, const LoggedEntry&) = default;
};
inline void PrintTo(const LoggedEntry& entry, std::ostream* out) {
  *out << "entry " << entry.id.lsn.value << " " << to_string(entry.id.hash);
}

inline std::vector<LoggedEntry> read_entries(const LogSlice& slice) {
  std::vector<LoggedEntry> entries;
  std::span<const std::byte> rest = *slice.entries;
  auto before = slice.prev_lsn;
  while (!rest.empty()) {
    const auto entry = must(read_entry(rest));
    EXPECT_GT(entry.lsn(), before);
    EXPECT_LE(entry.lsn(), slice.last_lsn);
    before = entry.lsn();
    entries.push_back({entry.id(), {entry.encoding().begin(), entry.encoding().end()}});
  }
  EXPECT_EQ(entries.size(), slice.count);
  return entries;
}

/// All entries after `after`, read in slices; each slice must go on where the one before it ended.
inline std::vector<LoggedEntry> read_log_to_head(SourceEngine& source, Lsn after, std::size_t bytes_max) {
  std::vector<LoggedEntry> all;
  for (;;) {
    const auto slice = must(source.read_log(after, bytes_max));
    EXPECT_EQ(slice.prev_lsn, after);
    for (auto& entry : read_entries(slice))
      all.push_back(std::move(entry));
    if (slice.last_lsn <= after) break;
    after = slice.last_lsn;
  }
  EXPECT_EQ(after, source.source_state().head);
  return all;
}

inline std::vector<Lsn> lsns_of(const std::vector<LoggedEntry>& entries) {
  std::vector<Lsn> lsns;
  for (const auto& entry : entries)
    lsns.push_back(entry.id.lsn);
  return lsns;
}

inline Contents replay(Contents contents, const std::vector<LoggedEntry>& entries) {
  for (const auto& entry : entries) {
    std::span<const std::byte> rest = entry.encoding;
    must(read_entry(rest)).for_each([&](const Operation& operation) { play(contents, operation); });
  }
  return contents;
}

inline EntryId with_other_hash(EntryId id) {
  id.hash.bytes[0] ^= std::byte{1};
  return id;
}

// --- snapshots
// -------------------------------------------------------------------------------------------------

inline std::shared_ptr<SnapshotReader> open_kv(SourceEngine& source, const std::optional<SnapshotId>& wanted = {}) {
  const std::vector<std::string> formats{std::string(kv_format)};
  return must(source.open_snapshot(formats, wanted));
}

inline std::vector<std::byte> read_snapshot(SnapshotReader& reader, std::size_t piece_max, std::uint64_t offset = 0) {
  std::vector<std::byte> bytes;
  for (;;) {
    const auto piece = must(reader.read(offset + bytes.size(), piece_max));
    EXPECT_LE(piece.bytes->size(), piece_max);
    bytes.insert(bytes.end(), piece.bytes->begin(), piece.bytes->end());
    if (piece.done) return bytes;
    if (piece.bytes->empty()) throw std::runtime_error("a snapshot that does not go on is not done");
  }
}

/// Its pairs, whose keys must rise.
inline Contents contents_of_kv(std::span<const std::byte> bytes) {
  Contents contents;
  while (!bytes.empty()) {
    const auto pair = must(read_pair(bytes, bytes.size()));
    if (!pair) throw std::runtime_error("a snapshot ends in the middle of a pair");
    EXPECT_TRUE(contents.empty() || contents.rbegin()->first < pair->key);
    contents.emplace(pair->key, pair->value);
  }
  return contents;
}

/// Stores what is still missing of a snapshot that was begun.
inline void store_rest(MirrorEngine& mirror, SnapshotReader& reader, std::size_t chunk_bytes) {
  for (;;) {
    const auto offset = mirror.mirror_state().partial.value().bytes();
    const auto piece = must(reader.read(offset, chunk_bytes));
    const auto size = static_cast<std::uint32_t>(piece.bytes->size());
    if (size > 0) must(mirror.store_chunk({offset, size, crc32c(*piece.bytes)}, *piece.bytes));
    if (piece.done) return;
    if (size == 0) throw std::runtime_error("a snapshot that does not go on is not done");
  }
}

inline void receive(MirrorEngine& mirror, SnapshotReader& reader, std::size_t chunk_bytes) {
  must(mirror.begin_snapshot(reader.facts()));
  store_rest(mirror, reader, chunk_bytes);
}

inline void bootstrap(TestedDatabase& mirror, TestedDatabase& source) {
  const auto reader = open_kv(source.source());
  receive(mirror.mirror(), *reader, 700);
  EXPECT_FALSE(must(mirror.mirror().check_snapshot()).cut_back_to);
  must(mirror.mirror().switch_snapshot());
}

// --- following
// -------------------------------------------------------------------------------------------------

inline Position position_of(const MirrorEngine& mirror) { return mirror.mirror_state().position.value(); }

/// Where a mirror stands once it has applied `slice` of `source`.
inline Position position_after(const LogSlice& slice, const SourceEngine& source, Position before) {
  before.applied_lsn = slice.last_lsn;
  before.origin_lsn = slice.origin_lsn;
  before.incarnation = source.source_state().history.incarnation_at(slice.last_lsn);
  if (const auto entries = read_entries(slice); !entries.empty()) before.last_entry = entries.back().id;
  return before;
}

/// Applies one slice of the source's log; the group it was is returned by its position.
inline Position apply_slice(MirrorEngine& mirror, SourceEngine& source, std::size_t bytes_max) {
  const auto before = position_of(mirror);
  const auto slice = must(source.read_log(before.applied_lsn, bytes_max));
  const auto after = position_after(slice, source, before);
  if (slice.last_lsn > slice.prev_lsn) must(mirror.apply({{*slice.entries}, after}));
  return after;
}

inline void follow(TestedDatabase& mirror, TestedDatabase& source, std::size_t bytes_max = 200) {
  while (position_of(mirror.mirror()).applied_lsn < source.source().source_state().head)
    apply_slice(mirror.mirror(), source.source(), bytes_max);
}

/// What an apply, a switch or a promotion must leave as it is when it fails.
struct Standing {
  Contents contents;
  std::optional<Position> position;
  History history;
  Lsn head;
  std::uint64_t received = 0;
  friend bool operator==(const Standing&, const Standing&) = default;
};
inline Standing standing_of(TestedDatabase& database) {
  const auto mirror = database.mirror().mirror_state();
  const auto source = database.source().source_state();
  return {database.read_all(), mirror.position, source.history, source.head,
          mirror.partial ? mirror.partial->bytes() : 0};
}

// --- the suite's fixture
// -------------------------------------------------------------------------------------------------

class EngineConformance : public testing::TestWithParam<EngineUnderTest> {
 protected:
  using Database = std::unique_ptr<TestedDatabase>;
  static Database empty_root() { return GetParam().make_root(); }
  static Database empty_mirror() { return GetParam().make_empty_mirror(); }
  /// A root that holds workload().
  static Database written_root() {
    auto root = empty_root();
    write(*root, workload());
    return root;
  }
  /// A mirror that holds what `source` holds now.
  static Database mirror_of(TestedDatabase& source) {
    auto mirror = empty_mirror();
    bootstrap(*mirror, source);
    return mirror;
  }
};

}  // namespace crosslink::test
