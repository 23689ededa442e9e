// A folder that is removed while another thread removes it as well.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>

#include "node/hosting/durable_file.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

TEST(RemovedFolder, what_another_took_away_meanwhile_was_an_error) {
  const test::TemporaryFolder above;
  const auto folder = above.path() / "registry";
  constexpr int rounds = 500, parts = 20;
  for (int round = 0; round < rounds; ++round) {
    for (int part = 0; part < parts; ++part)
      fs::create_directories(folder / std::to_string(part) / "log");
    Result<void> other;
    std::thread removing([&] { other = remove_folder(folder); });
    const auto own = remove_folder(folder);
    removing.join();
    ASSERT_TRUE(own) << own.error().message();
    ASSERT_TRUE(other) << other.error().message();
  }
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
