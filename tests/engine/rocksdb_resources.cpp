// What many databases of one process share, and what one that is not written to costs.
#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "engine/rocksdb/upkeep.hpp"
#include "engine/rocksdb_fixture.hpp"

namespace crosslink::test {
namespace {

std::size_t own_threads() {
  std::size_t threads = 0;
  for ([[maybe_unused]] const auto& one : std::filesystem::directory_iterator("/proc/self/task"))
    ++threads;
  return threads;
}

std::uint64_t disk_bytes(const std::filesystem::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& one : std::filesystem::recursive_directory_iterator(folder)) {
    struct stat found = {};
    if (::lstat(one.path().c_str(), &found) == 0) bytes += static_cast<std::uint64_t>(found.st_blocks) * 512;
  }
  return bytes;
}

std::size_t tables_in(const std::filesystem::path& folder) {
  std::size_t tables = 0;
  for (const auto& one : std::filesystem::recursive_directory_iterator(folder))
    tables += one.path().extension() == ".sst";
  return tables;
}

class SharedResources : public RocksdbEngine {
 protected:
  std::unique_ptr<RocksdbDatabase> sharing(const std::string& name) const {
    auto chosen = options(name);
    chosen.resources = resources;
    return must(RocksdbDatabase::open_root(chosen));
  }
  std::shared_ptr<RocksdbResources> resources = RocksdbResources::make({.threads = 2});
};

TEST_F(SharedResources, a_database_of_a_few_keys_took_a_log_of_73_MB) {
  auto database = root();
  fill(*database, 10, 10);
  EXPECT_LT(disk_bytes(folder.path() / "root"), 1024u * 1024);
}

TEST_F(SharedResources, each_database_had_a_thread_of_its_own) {
  const auto first = sharing("first");
  put(*first, "a", "1");
  const auto before = own_threads();
  std::vector<std::unique_ptr<RocksdbDatabase>> more;
  for (int i = 0; i < 20; ++i) {
    more.push_back(sharing(fmt::format("more-{}", i)));
    put(*more.back(), "a", "1");
  }
  EXPECT_EQ(own_threads(), before);
}

TEST_F(SharedResources, what_nobody_writes_to_gives_up_its_memory_once_others_need_it) {
  resources = RocksdbResources::make({.write_buffers_bytes = 4 * 1024 * 1024, .threads = 1});
  const auto idle = sharing("idle"), busy = sharing("busy");
  fill(*idle, 100, 1000);
  const auto before = tables_in(folder.path() / "idle");
  fill(*busy, 2400, 1000);  // more than half of what all may hold, less than makes it write tables itself
  EXPECT_TRUE(comes([&] { return tables_in(folder.path() / "idle") > before; }));
  EXPECT_EQ(all(*idle).size(), 100u);
}

TEST_F(SharedResources, a_cache_of_its_own_is_taken_beside_what_is_shared) {
  auto chosen = options("root");
  chosen.resources = resources;
  chosen.cache_bytes = 1024 * 1024;
  auto database = must(RocksdbDatabase::open_root(chosen));
  fill(*database, 10, 10);
  EXPECT_EQ(all(*database).size(), 10u);
}

/// A look that waits until it is let go.
class HeldLook {
 public:
  void operator()() {
    std::unique_lock lock(mutex_);
    inside_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return released_; });
    inside_ = false;
  }
  void wait_until_inside() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return inside_; });
  }
  void release() {
    const std::scoped_lock lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }
  bool is_inside() {
    const std::scoped_lock lock(mutex_);
    return inside_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool inside_ = false, released_ = false;
};

TEST(Upkeep, a_database_whose_disk_hangs_keeps_no_other_from_being_looked_after) {
  rocks::Upkeep upkeep(2);
  HeldLook hung;
  std::atomic<int> looks = 0;
  const auto of_hung = upkeep.look_after([&] { hung(); });
  const auto of_other = upkeep.look_after([&] { ++looks; });
  hung.wait_until_inside();
  const int before = looks;
  while (looks < before + 2)
    std::this_thread::yield();
  EXPECT_TRUE(hung.is_inside());
  hung.release();
}

TEST(Upkeep, a_database_that_goes_waits_for_the_look_that_is_under_way_and_has_no_other) {
  rocks::Upkeep upkeep(1);
  HeldLook held;
  std::atomic<int> others = 0;
  auto of_held = upkeep.look_after([&] { held(); });
  const auto of_other = upkeep.look_after([&] { ++others; });
  held.wait_until_inside();
  std::atomic<bool> gone = false;
  std::jthread leaving([&] {
    of_held.reset();
    gone = true;
  });
  EXPECT_FALSE(gone);
  held.release();
  leaving.join();
  EXPECT_FALSE(held.is_inside());
  while (others < 1)
    std::this_thread::yield();
}

}  // namespace
}  // namespace crosslink::test
