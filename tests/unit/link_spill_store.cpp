#include "replication/spill_store.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

std::vector<std::byte> some_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::byte>(i * 31 + i / 256);
  return bytes;
}

/// What comes back after `bytes` were given to it in pieces.
std::vector<std::byte> through(replication::SpillStore& store, std::span<const std::byte> bytes, std::size_t piece) {
  EXPECT_TRUE(store.begin(bytes.size()).ok());
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    EXPECT_TRUE(store.append(bytes.subspan(at, std::min(piece, bytes.size() - at))).ok());
  const auto whole = store.take();
  EXPECT_TRUE(whole.ok());
  return whole ? std::vector<std::byte>(whole->bytes.begin(), whole->bytes.end()) : std::vector<std::byte>{};
}

TEST(SpillStore, gives_back_small_and_large_entries_as_they_came) {
  const TemporaryFolder folder;
  replication::SpillStore store(folder.path());
  for (const std::size_t size : {std::size_t{2'000'000}, std::size_t{replication::SpillStore::memory_bytes_max},
                                 std::size_t{replication::SpillStore::memory_bytes_max} + 1, std::size_t{20'000'000}}) {
    const auto bytes = some_bytes(size);
    EXPECT_EQ(through(store, bytes, 1'000'000), bytes) << size;
  }
}

TEST(SpillStore, leaves_no_name_in_its_folder_and_what_was_taken_outlives_it) {
  const TemporaryFolder folder;
  const auto bytes = some_bytes(10'000'000);
  core::FragmentStore::Whole whole;
  {
    replication::SpillStore store(folder.path());
    ASSERT_TRUE(store.begin(bytes.size()).ok());
    ASSERT_TRUE(store.append(bytes).ok());
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    whole = store.take().value();
  }
  EXPECT_TRUE(std::ranges::equal(whole.bytes, bytes));
}

TEST(SpillStore, begins_anew_after_a_drop_and_says_when_it_has_no_folder) {
  const TemporaryFolder folder;
  replication::SpillStore store(folder.path());
  const auto bytes = some_bytes(9'000'000);
  ASSERT_TRUE(store.begin(bytes.size()).ok());
  ASSERT_TRUE(store.append(std::span(bytes).first(5'000'000)).ok());
  store.drop();
  EXPECT_EQ(through(store, bytes, 3'000'000), bytes);
  replication::SpillStore nowhere(folder.path() / "not_there");
  const auto refused = nowhere.begin(bytes.size());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::Storage);
}

TEST(SpillStore, leaves_what_is_to_stay_free_on_its_disk_and_names_it) {
  const TemporaryFolder folder;
  const auto free = std::filesystem::space(folder.path()).available;
  replication::SpillStore store(folder.path(), 2 * free);
  EXPECT_TRUE(store.begin(replication::SpillStore::memory_bytes_max).ok()) << "what stays in memory takes no space";
  const auto refused = store.begin(replication::SpillStore::memory_bytes_max + 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::Storage);
  EXPECT_NE(refused.error().message().find("min_free_bytes"), std::string::npos) << refused.error().message();
}

}  // namespace
}  // namespace crosslink::test
