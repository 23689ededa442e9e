// What Files does is the same on the machine's own disk and on RocksDB's.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/files.hpp"
#include "engine/rocksdb/env_disk.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::base {
namespace {

namespace fs = std::filesystem;

class OverDisks : public ::testing::TestWithParam<bool> {
 protected:
  const Files files = GetParam() ? rocks::files_of(nullptr) : Files();
  const test::TemporaryFolder above;
  const Path folder = above.path() / "one" / "two";
  void SetUp() override { ASSERT_TRUE(files.make_folder(folder)); }
};

unsigned mode_of(const Path& path) {
  struct stat facts{};
  EXPECT_EQ(::stat(path.c_str(), &facts), 0);
  return facts.st_mode & 07777u;
}

TEST_P(OverDisks, what_is_made_is_for_its_owner_only) {
  EXPECT_EQ(mode_of(folder), 0700U);
  EXPECT_EQ(mode_of(folder.parent_path()), 0700U);
  ASSERT_TRUE(files.make_folder(folder));
}

TEST_P(OverDisks, a_file_is_read_whole_up_to_a_bound_and_an_absent_one_is_no_error) {
  const auto file = folder / "file";
  EXPECT_FALSE((*files.read(file, 100)).has_value());
  EXPECT_EQ(*files.read_text(file, 100), "");
  ASSERT_TRUE(files.replace(file, "some text"));
  EXPECT_EQ(*files.read_text(file, 9), "some text");
  EXPECT_EQ(files.read_text(file, 8).error().kind(), ErrorKind::Storage);
  EXPECT_EQ(files.read_text(folder, 100).error().kind(), ErrorKind::Storage) << "a folder is no file";
  EXPECT_EQ(files.open_to_read(folder / "none").error().kind(), ErrorKind::Storage);
}

TEST_P(OverDisks, a_file_is_written_on_from_where_it_is_cut) {
  const auto file = folder / "file";
  ASSERT_TRUE(files.replace(file, "0123456789"));
  {
    auto opened = files.open_at(file, 4);
    ASSERT_TRUE(opened) << opened.error().message();
    ASSERT_TRUE(opened->append(bytes_of("abc")));
    EXPECT_EQ(opened->end(), 7U);
    ASSERT_TRUE(opened->sync());
  }
  EXPECT_EQ(*files.read_text(file, 100), "0123abc");
  ASSERT_TRUE(files.cut(file, 9));
  EXPECT_EQ(*files.read_text(file, 100), std::string("0123abc\0\0", 9));
  const auto read = files.open_to_read(file);
  ASSERT_TRUE(read);
  std::array<std::byte, 4> out;
  EXPECT_EQ(*read->read(out, 7), 2U);
  EXPECT_TRUE(read->read_exactly(2, 7));
  EXPECT_EQ(read->read_exactly(2, 8).error().kind(), ErrorKind::Storage);
}

TEST_P(OverDisks, folders_move_to_free_names_and_go_with_what_is_in_them) {
  ASSERT_TRUE(files.make_folder(folder / "a" / "b"));
  ASSERT_TRUE(files.replace(folder / "a" / "b" / "file", "x"));
  ASSERT_TRUE(files.make_folder(folder / "taken"));
  EXPECT_FALSE(files.move(folder / "a", folder / "taken"));
  ASSERT_TRUE(files.move(folder / "a", folder / "aside" / "a"));
  EXPECT_TRUE(files.move(folder / "a", folder / "aside" / "a")) << "it was moved before";
  EXPECT_FALSE(files.exists(folder / "a"));
  EXPECT_EQ(*files.read_text(folder / "aside/a/b/file", 10), "x");
  fs::create_directory_symlink(folder / "taken", folder / "aside" / "link");
  ASSERT_TRUE(files.replace(folder / "taken" / "file", "kept"));
  ASSERT_TRUE(files.remove_durably(folder / "aside" / "a"));
  EXPECT_EQ(*files.list(folder / "aside"), std::vector<std::string>{"link"});
  EXPECT_EQ(*files.read_text(folder / "taken" / "file", 10), "kept");
  EXPECT_TRUE(files.remove_durably(folder / "none"));
  EXPECT_TRUE((*files.list(folder / "none")).empty());
}

INSTANTIATE_TEST_SUITE_P(, OverDisks, ::testing::Bool(),
                         [](const auto& disk) { return std::string(disk.param ? "rocksdb" : "system"); });

TEST(Files, a_link_in_a_folder_that_is_removed_is_removed_and_not_followed) {
  const test::TemporaryFolder above;
  const Files files;
  ASSERT_TRUE(files.make_folder(above.path() / "kept"));
  ASSERT_TRUE(files.replace(above.path() / "kept" / "file", "kept"));
  ASSERT_TRUE(files.make_folder(above.path() / "gone"));
  fs::create_directory_symlink(above.path() / "kept", above.path() / "gone" / "link");
  ASSERT_TRUE(files.remove_durably(above.path() / "gone"));
  EXPECT_FALSE(fs::exists(above.path() / "gone"));
  EXPECT_EQ(*files.read_text(above.path() / "kept" / "file", 10), "kept");
}

TEST(Files, a_fifo_in_the_place_of_a_file_is_refused_at_once) {
  const test::TemporaryFolder above;
  const auto fifo = above.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(Files().read_text(fifo, 100).error().kind(), ErrorKind::Storage);
}

TEST(Space, what_is_kept_free_counts_as_taken) {
  const auto free = [](const Path&) { return Result<std::uint64_t>(1000); };
  const Space space(Files(), "/tmp", 900, free);
  EXPECT_TRUE(space.need(100, "it"));
  const auto refused = space.need(101, "it");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(),
            "it needs 101 bytes of free space at /tmp beside min_free_bytes, 900, and there are 1000");
  EXPECT_FALSE(Space(Files(), "/tmp", 1001, free).need(0, "it"));
}

TEST(FileLock, is_held_by_one_until_it_goes) {
  const test::TemporaryFolder folder;
  auto first = FileLock::take(folder.path() / "LOCK", "taken");
  ASSERT_TRUE(first);
  auto held = *std::move(first);
  const auto second = FileLock::take(folder.path() / "LOCK", "taken");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::Configuration);
  held = FileLock();
  EXPECT_TRUE(FileLock::take(folder.path() / "LOCK", "taken"));
}

}  // namespace
}  // namespace crosslink::base
