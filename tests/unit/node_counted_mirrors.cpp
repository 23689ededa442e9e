// Which mirrors count in sync mode, on disk.
#include "node/hosting/counted_mirrors.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "support/temporary_folder.hpp"

namespace crosslink::node {
namespace {

TEST(CountedMirrors, are_read_as_they_were_written) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "sync_mirrors.json";
  EXPECT_EQ(read_counted_mirrors(file).value(), CountedMirrors{}) << "none counted yet";
  const CountedMirrors counted{{"eu-1", {"eu-1/orders", MirrorId{{std::byte{7}}}}},
                               {"eu-2", {"eu-2/\"a\"", MirrorId{{std::byte{9}, std::byte{255}}}}}};
  ASSERT_TRUE(write_counted_mirrors(file, counted).ok());
  EXPECT_EQ(read_counted_mirrors(file).value(), counted);
  ASSERT_TRUE(write_counted_mirrors(file, {}).ok());
  EXPECT_EQ(read_counted_mirrors(file).value(), CountedMirrors{});
}

TEST(CountedMirrors, a_file_that_says_something_else_is_an_error) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "sync_mirrors.json";
  for (const auto* const text : {"{", "{}", "[1]", R"([{"name": "eu-1", "database": "d"}])",
                                 R"([{"name": "eu-1", "database": "d", "id": "07"}])"}) {
    std::ofstream(file, std::ios::trunc) << text;
    const auto read = read_counted_mirrors(file);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.error().kind(), ErrorKind::Configuration) << text;
  }
}

}  // namespace
}  // namespace crosslink::node
