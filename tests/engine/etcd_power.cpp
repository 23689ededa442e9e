// Goal: what a database in etcd keeps beside it survives a power cut: each note old or new, and a snapshot that is being
// received without a chunk whose bytes are not there. Method: a disk that loses what was not synced, cut at each change.
// No etcd.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/frame.hpp"
#include "engine/etcd/notes.hpp"
#include "engine/etcd/partial.hpp"
#include "support/power_cuts.hpp"

namespace crosslink::etcd {
namespace {

using base::Files;
using base::Path;

const base::Space::Free plenty = [](const Path&) { return Result<std::uint64_t>(std::uint64_t{1} << 40); };

TEST(EtcdPower, a_split_is_on_disk_whole_before_it_is_begun_and_taken_for_no_other) {
  const Record::Split first{Lsn{7}, {}, SnapshotId{{std::byte{1}}}, 0},
      second{Lsn{9}, {}, SnapshotId{{std::byte{2}}}, 0};
  const std::vector<Change> one{{"key", std::string(5000, 'v'), 3}, {"gone", std::nullopt, 0}};
  const std::vector<Change> other{{"other", "value", 0}};
  int confirmed = 0;
  test::cut_at_each_change(
      [&](const Files& files, const Path& folder) {
        confirmed = 0;
        const base::Space space(files, folder, 0, plenty);
        const Notes notes(files, folder);
        if (!files.make_folder(folder) || !notes.write_split(first, one, space)) return;
        confirmed = 1;
        if (!notes.drop_split() || !notes.write_split(second, other, space)) return;
        confirmed = 2;
      },
      [&](const Files& files, const Path& folder, bool cut) {
        EXPECT_EQ(cut, confirmed < 2);
        const auto of_first = Notes(files, folder).read_split(first),
                   of_second = Notes(files, folder).read_split(second);
        ASSERT_TRUE(of_first && of_second);
        EXPECT_FALSE(*of_first && *of_second);
        if (*of_first) {
          ASSERT_EQ((*of_first)->size(), one.size());
          EXPECT_EQ((**of_first)[0].value, one[0].value);
          EXPECT_EQ((**of_first)[0].lease, 3U);
          EXPECT_FALSE((**of_first)[1].value);
        }
        if (confirmed == 2) {
          ASSERT_TRUE(*of_second);
          EXPECT_EQ((**of_second)[0].key, "other");
        }
      });
}

TEST(EtcdPower, an_agreement_to_deletions_that_was_taken_back_does_not_return) {
  std::vector<std::int64_t> may;  // what it may be
  test::cut_at_each_change(
      [&](const Files& files, const Path& folder) {
        may = {0};
        if (!files.make_folder(folder)) return;
        for (const std::int64_t revision : {12345, 99, 0, 7, 0}) {
          may.push_back(revision);
          if (!Notes(files, folder).write_agreement(revision)) return;
          may = {revision};
        }
      },
      [&](const Files& files, const Path& folder, bool) {
        const auto agreed = Notes(files, folder).read_agreement();
        ASSERT_TRUE(agreed) << agreed.error().message();
        EXPECT_TRUE(std::ranges::find(may, *agreed) != may.end()) << *agreed;
      });
}

TEST(EtcdPower, a_snapshot_that_is_received_goes_on_with_what_is_whole) {
  SnapshotFacts facts;
  facts.id = SnapshotId{{std::byte{5}}};
  facts.format = std::string(kv_format);
  std::vector<std::vector<std::byte>> chunks;
  for (int i = 1; i <= 4; ++i)
    chunks.emplace_back(static_cast<std::size_t>(i) * 3000, static_cast<std::byte>(i));
  bool begun = false;
  const auto store_from = [&](PartialStore& partial, std::size_t first) {
    auto offset = partial.partial()->bytes();
    for (auto i = first; i < chunks.size(); ++i) {
      const StoredChunk chunk{offset, static_cast<std::uint32_t>(chunks[i].size()), crc32c(chunks[i])};
      if (!partial.store(chunk, chunks[i])) return false;
      offset += chunk.bytes;
    }
    return true;
  };
  const auto changes = test::cut_at_each_change(
      [&](const Files& files, const Path& folder) {
        begun = false;
        if (!files.make_folder(folder)) return;
        PartialStore partial(files, folder / "partial", std::make_shared<base::Space>(files, folder, 0, plenty));
        if (!partial.load() || !partial.begin(facts)) return;
        begun = true;
        if (!partial.note_leases({})) return;
        store_from(partial, 0);
      },
      [&](const Files& files, const Path& folder, bool cut) {
        ASSERT_TRUE(files.make_folder(folder));
        PartialStore partial(files, folder / "partial", std::make_shared<base::Space>(files, folder, 0, plenty));
        const auto loaded = partial.load();
        ASSERT_TRUE(loaded) << loaded.error().message();
        if (!partial.partial()) {
          EXPECT_FALSE(begun) << "what was begun is gone";
          return;
        }
        EXPECT_EQ(partial.partial()->facts.id, facts.id);
        auto checked = partial.check();
        ASSERT_TRUE(checked);
        const auto have = partial.partial()->chunks.size();
        EXPECT_LE(have, chunks.size());
        EXPECT_TRUE(cut || have <= chunks.size());
        ASSERT_TRUE(store_from(partial, have)) << "it does not go on";
        checked = partial.check();
        ASSERT_TRUE(checked);
        EXPECT_FALSE(checked->cut_back_to.has_value());
        EXPECT_EQ(partial.partial()->bytes(), 30'000U);
      });
  EXPECT_GT(changes, 15U);
}

}  // namespace
}  // namespace crosslink::etcd
