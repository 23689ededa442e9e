// The ring of encoded log says what the engine's read_log says, once for all mirrors.
#include "replication/log_ring.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "crosslink/memory_engine.hpp"
#include "wire/compression.hpp"

namespace crosslink::replication::test {
namespace {

using Bytes = std::vector<std::byte>;
constexpr std::size_t everything = 1u << 30;
constexpr std::uint64_t roomy = 64u << 20;

/// A MemoryDatabase that counts the reads of its log.
class CountingEngine final : public SourceEngine {
 public:
  std::unique_ptr<MemoryDatabase> database = MemoryDatabase::create();
  std::uint64_t reads = 0;
  std::function<void()> after_read;  ///< between the read and its return

  Result<LogSlice> read_log(Lsn after, std::size_t bytes_max) override {
    ++reads;
    auto slice = database->read_log(after, bytes_max);
    if (after_read) after_read();
    return slice;
  }
  SourceState source_state() const override { return database->source_state(); }
  Result<PositionProof> prove(const EntryId& last, Lsn at) override { return database->prove(last, at); }
  Result<std::shared_ptr<SnapshotReader>> open_snapshot(std::span<const std::string> formats,
                                                        const std::optional<SnapshotId>& wanted) override {
    return database->open_snapshot(formats, wanted);
  }
  void pin(const std::string& holder, Lsn from) override { database->pin(holder, from); }
  void unpin(const std::string& holder) override { database->unpin(holder); }
  std::optional<WindowLeft> window_left(Lsn) const override { return std::nullopt; }
  void watch_log(std::function<void(const CommittedLog& log)> on_log) override {
    database->watch_log(std::move(on_log));
  }
};

class LogRingTest : public ::testing::Test {
 protected:
  CountingEngine engine;

  /// From now on the ring gets what is committed from who commits it.
  void feed(LogRing& ring) {
    engine.watch_log([&ring](const CommittedLog& log) { ring.push(log); });
  }
  ~LogRingTest() override { engine.watch_log({}); }

  Lsn commit(std::string_view value) {
    const auto operation = Operation::put("key", value);
    const auto lsn = engine.database->commit({&operation, 1});
    EXPECT_TRUE(lsn.ok());
    return lsn.ok() ? *lsn : Lsn{};
  }
  /// Entries of very different lengths.
  void fill(std::size_t count, char letter = 'v') {
    for (std::size_t i = 0; i < count; ++i)
      commit(fmt::format("{} {}", i, std::string(1 + (i * 37) % 400, letter)));
  }
  Lsn oldest() const { return engine.database->source_state().oldest; }
  Lsn head() const { return engine.database->source_state().head; }
  Bytes truth(Lsn after) {
    const auto slice = engine.database->read_log(after, everything);
    EXPECT_TRUE(slice.ok());
    return slice.ok() ? *slice->entries : Bytes{};
  }

  /// What a mirror at `after` gets out of the ring in the end is what the engine holds; each piece is checked.
  void expect_truth(LogRing& ring, Lsn after, std::size_t limit, bool zstd) {
    SCOPED_TRACE(fmt::format("after {}, at most {} bytes, zstd {}", after.value, limit, zstd));
    const auto expected = truth(after);
    Bytes all;
    while (after < head()) {
      const auto piece = ring.read(after, limit, zstd);
      ASSERT_TRUE(piece.ok());
      const auto& slice = piece->slice;
      ASSERT_EQ(slice.prev_lsn, after);
      ASSERT_GT(slice.last_lsn, after);
      EXPECT_TRUE(slice.entries->size() <= limit || slice.count == 1) << slice.entries->size();
      EXPECT_EQ(slice.origin_lsn, slice.last_lsn) << "at a root";
      std::span<const std::byte> rest = *slice.entries;
      for (std::uint64_t i = 0; i < slice.count; ++i) {
        const auto entry = read_entry(rest);
        ASSERT_TRUE(entry.ok());
        ASSERT_EQ(entry->lsn(), Lsn{++after.value}) << "a root's log has an entry at each LSN";
      }
      EXPECT_TRUE(rest.empty());
      ASSERT_EQ(after, slice.last_lsn);
      EXPECT_EQ(piece->crc32c, crc32c(*piece->data));
      if (piece->codec == core::codec_zstd) {
        EXPECT_TRUE(zstd) << "only who asked gets it";
        EXPECT_LT(piece->data->size(), slice.entries->size());
        const auto raw = core::zstd_decompress(*piece->data, slice.entries->size());
        ASSERT_TRUE(raw.ok());
        EXPECT_EQ(*raw, *slice.entries);
      } else {
        EXPECT_EQ(piece->codec, core::codec_none);
        EXPECT_EQ(*piece->data, *slice.entries);
      }
      all.insert(all.end(), slice.entries->begin(), slice.entries->end());
    }
    EXPECT_EQ(all, expected);
  }
};

TEST_F(LogRingTest, serves_what_the_engine_holds_after_every_lsn_within_every_limit) {
  fill(60);
  for (const std::uint64_t ring_bytes : {std::uint64_t{0}, std::uint64_t{700}, std::uint64_t{5'000}, roomy}) {
    SCOPED_TRACE(ring_bytes);
    LogRing ring(engine, ring_bytes);
    for (const std::size_t limit : {std::size_t{1}, std::size_t{100}, std::size_t{1'000}, everything}) {
      for (auto after = oldest(); after <= head(); ++after.value) {
        expect_truth(ring, after, limit, false);
        expect_truth(ring, after, limit, true);
      }
    }
  }
}

TEST_F(LogRingTest, serves_what_is_committed_between_reads) {
  LogRing ring(engine, 2'000);
  for (int round = 0; round < 40; ++round) {
    fill(3);
    const auto near = Lsn{head().value - 2};
    expect_truth(ring, near, 500, round % 2 == 0);
    if (round % 5 == 0) expect_truth(ring, oldest(), 500, false);
  }
}

TEST_F(LogRingTest, at_the_head_there_is_nothing) {
  fill(3);
  LogRing ring(engine, roomy);
  for (const bool zstd : {false, true}) {
    const auto piece = ring.read(head(), everything, zstd);
    ASSERT_TRUE(piece.ok());
    EXPECT_EQ(piece->slice.count, 0u);
    EXPECT_EQ(piece->slice.last_lsn, head());
    ASSERT_NE(piece->data, nullptr);
    EXPECT_TRUE(piece->data->empty());
    EXPECT_EQ(piece->codec, core::codec_none);
  }
  const auto after = head();
  commit("new");
  expect_truth(ring, after, everything, false);
}

TEST_F(LogRingTest, readers_in_lockstep_share_each_piece) {
  fill(50);
  LogRing ring(engine, roomy);
  for (auto after = oldest(); after < head();) {
    const auto first = ring.read(after, 1'000, false), second = ring.read(after, 1'000, false);
    ASSERT_TRUE(first.ok() && second.ok());
    ASSERT_GT(first->slice.count, 0u);
    EXPECT_EQ(first->data.get(), second->data.get());
    after = first->slice.last_lsn;
  }
  const auto reads = engine.reads;
  expect_truth(ring, oldest(), 1'000, false);
  EXPECT_EQ(engine.reads, reads) << "everything is kept";
}

TEST_F(LogRingTest, a_reader_in_the_middle_of_a_kept_piece_gets_its_rest) {
  fill(10);
  LogRing ring(engine, roomy);
  ASSERT_TRUE(ring.read(oldest(), everything, false).ok());
  for (auto after = oldest(); after < head(); ++after.value) {
    const auto piece = ring.read(after, everything, false);
    ASSERT_TRUE(piece.ok());
    EXPECT_EQ(piece->slice.prev_lsn, after);
    EXPECT_EQ(piece->slice.last_lsn, head());
    EXPECT_EQ(piece->slice.count, head().value - after.value);
    EXPECT_EQ(*piece->data, truth(after));
  }
  EXPECT_EQ(engine.reads, 1u);
}

TEST_F(LogRingTest, a_kept_piece_larger_than_asked_for_is_not_given) {
  fill(10);
  LogRing ring(engine, roomy);
  const auto large = ring.read(oldest(), everything, false);
  ASSERT_TRUE(large.ok());
  const auto small = ring.read(oldest(), large->data->size() - 1, false);
  ASSERT_TRUE(small.ok());
  EXPECT_LT(small->slice.last_lsn, head());
  EXPECT_LT(small->data->size(), large->data->size());
  const auto same = ring.read(oldest(), large->data->size(), false);
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->data.get(), large->data.get());
}

TEST_F(LogRingTest, compressed_pieces_are_made_once) {
  for (int i = 0; i < 20; ++i)
    commit(std::string(200, 'z'));
  LogRing ring(engine, roomy);
  const auto plain = ring.read(oldest(), everything, false);
  const auto first = ring.read(oldest(), everything, true), second = ring.read(oldest(), everything, true);
  ASSERT_TRUE(plain.ok() && first.ok() && second.ok());
  EXPECT_EQ(first->codec, core::codec_zstd);
  EXPECT_EQ(first->data.get(), second->data.get());
  EXPECT_EQ(first->slice.entries.get(), plain->data.get());
  EXPECT_EQ(engine.reads, 1u);
  const auto raw = core::zstd_decompress(*first->data, first->slice.entries->size());
  ASSERT_TRUE(raw.ok());
  EXPECT_EQ(*raw, truth(oldest()));
  const auto again = ring.read(oldest(), everything, false);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->codec, core::codec_none) << "a mirror without zstd still gets the entries";
  EXPECT_EQ(again->data.get(), plain->data.get());
}

TEST_F(LogRingTest, what_compression_does_not_make_smaller_goes_as_it_is) {
  commit("small");
  LogRing ring(engine, roomy);
  const auto piece = ring.read(oldest(), everything, true);
  ASSERT_TRUE(piece.ok());
  EXPECT_EQ(piece->codec, core::codec_none);
  EXPECT_EQ(*piece->data, truth(oldest()));
}

TEST_F(LogRingTest, a_reader_far_behind_does_not_disturb_those_near) {
  fill(100);
  LogRing ring(engine, 3'000);
  const auto near = Lsn{head().value - 3};
  const auto kept = ring.read(near, 2'000, false);
  ASSERT_TRUE(kept.ok());
  for (auto after = oldest(); after.value + 20 < near.value;) {
    const auto piece = ring.read(after, 500, false);
    ASSERT_TRUE(piece.ok());
    ASSERT_GT(piece->slice.last_lsn, after);
    after = piece->slice.last_lsn;
    const auto again = ring.read(near, 2'000, false);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->data.get(), kept->data.get());
  }
  expect_truth(ring, oldest(), 500, false);
}

TEST_F(LogRingTest, what_is_no_longer_held_anywhere_is_said_to_be_gone) {
  fill(5);
  LogRing ring(engine, roomy);
  const auto first = oldest();
  engine.database->purge_log();
  const auto gone = ring.read(first, everything, false);
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().kind(), ErrorKind::LogWindowExceeded);
}

TEST_F(LogRingTest, after_a_restore_a_cleared_ring_serves_the_new_history) {
  fill(5);
  LogRing ring(engine, roomy);
  const auto backup = engine.database->backup();
  const auto at_backup = head();
  fill(5, 'o');
  const auto old = truth(at_backup);
  expect_truth(ring, oldest(), everything, true);
  engine.database->restore(backup);
  ring.clear();
  fill(5, 'n');
  ASSERT_NE(truth(at_backup), old);
  for (auto after = oldest(); after <= head(); ++after.value) {
    expect_truth(ring, after, everything, true);
    expect_truth(ring, after, 300, false);
  }
}

TEST_F(LogRingTest, a_read_that_began_before_clear_is_not_kept) {
  fill(3);
  LogRing ring(engine, roomy);
  engine.after_read = [&] { ring.clear(); };
  ASSERT_TRUE(ring.read(oldest(), everything, false).ok());
  engine.after_read = nullptr;
  ASSERT_TRUE(ring.read(oldest(), everything, false).ok());
  EXPECT_EQ(engine.reads, 2u) << "the first answer may be of the old history";
}

TEST_F(LogRingTest, keeps_no_more_than_it_may) {
  LogRing ring(engine, 2'000);
  std::vector<std::weak_ptr<const Bytes>> pieces;
  for (int i = 0; i < 50; ++i) {
    const auto after = head();
    commit(std::string(300, 'b'));
    const auto piece = ring.read(after, everything, false);
    ASSERT_TRUE(piece.ok());
    pieces.emplace_back(piece->data);
    engine.database->purge_log();  // so that only the ring can hold it
    std::size_t held = 0;
    for (const auto& kept : pieces)
      if (const auto bytes = kept.lock()) held += bytes->size();
    EXPECT_LE(held, 2'000u) << i;
  }
  EXPECT_TRUE(pieces.front().expired());
  EXPECT_FALSE(pieces.back().expired());
}

TEST_F(LogRingTest, what_commits_hand_over_is_served_without_reading_the_engine) {
  fill(3);
  LogRing ring(engine, roomy);
  feed(ring);
  const auto before = head();
  fill(60);
  for (auto after = before; after < head(); ++after.value)
    expect_truth(ring, after, everything, false);
  EXPECT_EQ(engine.reads, 0u);
  const auto at_end = head();
  fill(3);
  expect_truth(ring, at_end, everything, true);
  EXPECT_EQ(engine.reads, 0u);
  for (auto after = oldest(); after <= head(); ++after.value) {
    for (const std::size_t limit : {std::size_t{1}, std::size_t{500}})
      expect_truth(ring, after, limit, after.value % 2 == 0);
  }
}

TEST_F(LogRingTest, mirrors_in_lockstep_share_what_commits_hand_over) {
  LogRing ring(engine, roomy);
  feed(ring);
  for (int round = 0; round < 5; ++round) {
    const auto after = head();
    fill(4);
    const auto first = ring.read(after, everything, false);
    const auto second = ring.read_kept(after, everything, false);
    ASSERT_TRUE(first.ok());
    ASSERT_TRUE(second);
    EXPECT_EQ(first->slice.last_lsn, head());
    EXPECT_EQ(first->data.get(), second->data.get());
  }
  EXPECT_EQ(engine.reads, 0u);
}

TEST_F(LogRingTest, what_was_read_before_it_is_handed_over_is_not_there_twice) {
  LogRing ring(engine, roomy);
  std::vector<std::pair<Lsn, Bytes>> untold;
  engine.watch_log([&](const CommittedLog& log) {
    untold.emplace_back(log.last_lsn, Bytes(log.entries.begin(), log.entries.end()));
  });
  fill(2);
  const auto tell = [&] {
    for (const auto& [lsn, entry] : untold)
      ring.push({Lsn{lsn.value - 1}, lsn, 1, entry, lsn});
    untold.clear();
  };
  tell();
  for (int round = 0; round < 4; ++round) {
    fill(3);
    if (round % 2 == 0) expect_truth(ring, oldest(), round == 0 ? everything : 300, false);
    tell();
    for (auto after = oldest(); after < head(); ++after.value)
      expect_truth(ring, after, 2'000, false);
  }
}

TEST_F(LogRingTest, a_gap_in_what_is_handed_over_is_read_from_the_engine) {
  LogRing ring(engine, roomy);
  feed(ring);
  fill(5);
  engine.watch_log({});
  fill(2, 'm');  // never told
  feed(ring);
  fill(5);
  for (auto after = oldest(); after < head(); ++after.value)
    expect_truth(ring, after, everything, true);
  EXPECT_GT(engine.reads, 0u);
}

TEST_F(LogRingTest, mirrors_far_behind_share_what_they_read_while_commits_go_on) {
  fill(100);
  LogRing ring(engine, roomy);
  feed(ring);
  fill(3);
  const auto early = Lsn{head().value - 3};
  for (auto after = oldest(); after < early;) {
    const auto first = ring.read(after, 1'000, false), second = ring.read(after, 1'000, false);
    ASSERT_TRUE(first.ok() && second.ok());
    EXPECT_EQ(first->data.get(), second->data.get());
    after = first->slice.last_lsn;
    fill(1);
  }
  const auto reads = engine.reads;
  expect_truth(ring, early, everything, false);
  EXPECT_EQ(engine.reads, reads) << "and those near the head have what was handed over";
}

TEST_F(LogRingTest, handed_over_and_read_it_keeps_no_more_than_it_may) {
  constexpr std::uint64_t most = 64 * 1024;
  fill(200);
  LogRing ring(engine, most);
  feed(ring);
  std::vector<std::weak_ptr<const Bytes>> pieces;
  auto behind = oldest();
  for (std::size_t i = 0; i < 300; ++i) {
    const auto after = head();
    commit(std::string(1 + (i * 131) % 1'500, 'b'));  // smaller than what is asked for: else the engine's own is shared
    if (i % 3 == 0) {
      const auto near = ring.read(after, everything, false);
      ASSERT_TRUE(near.ok());
      pieces.emplace_back(near->data);
    }
    const auto far = ring.read(behind, 2'000, false);
    ASSERT_TRUE(far.ok());
    behind = far->slice.last_lsn;
    pieces.emplace_back(far->data);
  }
  std::vector<std::shared_ptr<const Bytes>> all;
  for (const auto& one : pieces)
    if (auto kept = one.lock()) all.push_back(std::move(kept));
  std::ranges::sort(all);
  const auto twice = std::ranges::unique(all);
  all.erase(twice.begin(), twice.end());
  std::size_t bytes = 0;
  for (const auto& one : all)
    bytes += one->size();
  EXPECT_GT(bytes, 0u);
  EXPECT_LE(bytes, most);
}

TEST_F(LogRingTest, what_was_handed_over_before_clear_is_not_served) {
  LogRing ring(engine, roomy);
  feed(ring);
  const auto backup = engine.database->backup();
  const auto at_backup = head();
  fill(5, 'o');
  engine.database->restore(backup);
  ring.clear();
  fill(5, 'n');
  for (auto after = at_backup; after < head(); ++after.value)
    expect_truth(ring, after, everything, false);
}

TEST_F(LogRingTest, an_entry_larger_than_the_ring_is_read_from_the_log_and_not_kept) {
  LogRing ring(engine, 64 * 1024);
  feed(ring);
  const auto before = head();
  commit(std::string(100'000, 'l'));
  const auto large = head();
  EXPECT_FALSE(ring.read_kept(before, everything, false));
  commit("small");
  EXPECT_TRUE(ring.read_kept(large, everything, false));
  const auto whole = ring.read(before, everything, false);
  ASSERT_TRUE(whole.ok());
  EXPECT_GE(whole->slice.last_lsn, large);
}

TEST_F(LogRingTest, only_what_takes_no_work_is_given_at_once) {
  LogRing ring(engine, roomy);
  feed(ring);
  const auto before = head();
  EXPECT_FALSE(ring.read_kept(before, everything, false)) << "nothing is kept";
  for (int i = 0; i < 20; ++i)
    commit(std::string(200, 'z'));
  EXPECT_FALSE(ring.read_kept(before, everything, true)) << "it is to be compressed first";
  ASSERT_TRUE(ring.read(before, everything, true).ok());
  const auto packed = ring.read_kept(before, everything, true);
  ASSERT_TRUE(packed);
  EXPECT_EQ(packed->codec, core::codec_zstd);
  const auto large = head();
  commit(std::string(500'000, 'l'));
  EXPECT_FALSE(ring.read_kept(large, everything, false)) << "its checksum takes a while";
  EXPECT_TRUE(ring.read(large, everything, false).ok());
}

}  // namespace
}  // namespace crosslink::replication::test
