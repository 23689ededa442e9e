// A folder that is removed while another thread removes it as well.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>

#include "base/files.hpp"
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
    std::thread removing([&] { other = base::Files().remove_durably(folder); });
    const auto own = base::Files().remove_durably(folder);
    removing.join();
    ASSERT_TRUE(own) << own.error().message();
    ASSERT_TRUE(other) << other.error().message();
  }
  EXPECT_FALSE(fs::exists(folder));
}

TEST(RemovedFolder, one_that_is_not_there_is_removed_and_one_that_stays_is_an_error) {
  const test::TemporaryFolder above;
  EXPECT_TRUE(base::Files().remove_durably(above.path() / "none"));
  const auto removed = base::Files().remove_durably("/proc/self/fd");
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().kind(), ErrorKind::Storage);
}

}  // namespace
}  // namespace crosslink::node
