// A folder that is removed while somebody else still makes and removes things in it.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "node/durable_file.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

TEST(RemovedFolder, what_another_took_away_meanwhile_was_an_error) {
  const test::TemporaryFolder above;
  const auto folder = above.path() / "registry";
  std::atomic<bool> done = false;
  // As an engine that is just being opened does with what it keeps.
  std::thread opening([&] {
    while (!done) {
      for (const auto* part : {"log", "snapshots"}) {
        std::error_code error;
        fs::remove_all(folder / part, error);
        fs::create_directories(folder / part, error);
      }
    }
  });
  constexpr int rounds = 5000;
  for (int round = 0; round < rounds; ++round) {
    const auto removed = remove_folder(folder);
    EXPECT_TRUE(removed) << removed.error().message();
  }
  done = true;
  opening.join();
  ASSERT_TRUE(remove_folder(folder));
  EXPECT_FALSE(fs::exists(folder));
}

TEST(RemovedFolder, one_that_is_not_there_is_removed_and_one_that_stays_is_an_error) {
  const test::TemporaryFolder above;
  EXPECT_TRUE(remove_folder(above.path() / "none"));
  const auto removed = remove_folder("/proc/self/fd");
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().kind(), ErrorKind::Storage);
}

}  // namespace
}  // namespace crosslink::node
