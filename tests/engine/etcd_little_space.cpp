// A node with little disk space beside its databases in etcd: what is kept here for mirrors leaves room for what is
// written here.
#include <atomic>
#include <filesystem>
#include <limits>
#include <mutex>

#include "engine/etcd_fixture.hpp"

namespace crosslink::test {
namespace {

class EtcdLittleSpace : public EtcdMirror {
 protected:
  static constexpr std::uint64_t stays_free = 1'000'000'000, plenty = std::uint64_t{1} << 40;

  EtcdOptions on_disk(const std::string& name) {
    auto chosen = options(name);
    chosen.prefix = prefix;
    chosen.min_free_bytes = stays_free;
    chosen.free_bytes = [this](const std::filesystem::path&) { return Result<std::uint64_t>(free.load()); };
    chosen.on_warning = [this](const std::string& what) {
      const std::scoped_lock lock(mutex_);
      warnings_.push_back(what);
    };
    return chosen;
  }
  std::vector<std::string> warnings() const {
    const std::scoped_lock lock(mutex_);
    return warnings_;
  }
  bool has_files(const std::string& name) const { return !std::filesystem::is_empty(folder.path() / "root" / name); }
  Lsn put_and_wait(EtcdDatabase& root, std::size_t bytes) const {
    const auto lsn = etcd::lsn_of(put("/registry/a", std::string(bytes, 'x')));
    must(root.wait_for(lsn, patience));
    return lsn;
  }
  static std::string said(const auto& result) { return result ? "done" : result.error().message(); }
  static bool names_it(const std::string& text) { return text.find("min_free_bytes") != std::string::npos; }

  std::atomic<std::uint64_t> free = plenty;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> warnings_;
};

TEST_F(EtcdLittleSpace,
       a_log_without_room_is_shorter_and_says_so_once_in_the_log_and_in_the_status_until_there_is_room) {
  auto chosen = on_disk("root");
  chosen.log_memory_bytes = 5000;
  const auto root = must(EtcdDatabase::open_root(chosen));
  const auto first = put_and_wait(*root, 2000);
  for (int i = 0; i < 4; ++i)
    put_and_wait(*root, 2000);
  EXPECT_TRUE(has_files("log"));
  EXPECT_EQ(root->detail(), "");
  free = stays_free + 1000;
  for (int i = 0; i < 3; ++i)
    put_and_wait(*root, 2000);
  EXPECT_FALSE(has_files("log")) << "what it had there made room";
  EXPECT_NE(root->detail().find("shorter than its window"), std::string::npos) << root->detail();
  EXPECT_TRUE(names_it(root->detail())) << root->detail();
  ASSERT_EQ(warnings().size(), 1u);
  EXPECT_TRUE(names_it(warnings().front()));
  EXPECT_EQ(must(root->read_log(first, 1'000'000)).prev_lsn, first) << "etcd's own history has it";
  free = plenty;
  const auto before = root->source_state().head;
  for (int i = 0; i < 4; ++i)
    put_and_wait(*root, 2000);
  EXPECT_EQ(root->detail(), "");
  EXPECT_TRUE(has_files("log"));
  must(root->compact());
  EXPECT_EQ(refusal(root->read_log(before, 1'000'000)), "LogWindowExceeded");
  EXPECT_EQ(warnings().size(), 1u);
}

TEST_F(EtcdLittleSpace, a_snapshot_without_room_is_refused_in_words_and_written_once_there_is_room) {
  for (const auto& [key, value] : many_keys(40, 100'000))
    put(key, value);
  const auto root = must(EtcdDatabase::open_root(on_disk("root")));
  const std::vector<std::string> formats{std::string(kv_format)};
  free = stays_free;
  const auto refused = root->open_snapshot(formats, std::nullopt);
  EXPECT_EQ(refusal(refused), "Storage");
  EXPECT_TRUE(names_it(said(refused))) << said(refused);
  EXPECT_FALSE(has_files("snapshots"));
  EXPECT_TRUE(names_it(root->detail())) << root->detail();
  EXPECT_EQ(warnings().size(), 1u);
  // Room for a beginning only.
  free = stays_free + (1u << 20);
  {
    const auto begun = must(root->open_snapshot(formats, std::nullopt));
    EXPECT_EQ(refusal(begun->read(0, 10'000'000)), "Storage");
  }
  EXPECT_EQ(warnings().size(), 1u) << "it is the same shortage";
  free = plenty;
  const auto whole = must(root->open_snapshot(formats, std::nullopt));
  EXPECT_TRUE(must(whole->read(0, 10'000'000)).done);
  EXPECT_EQ(root->detail(), "");
}

TEST_F(EtcdLittleSpace, a_received_snapshot_leaves_what_is_to_stay_free_and_keeps_what_it_has) {
  mirror = must(EtcdDatabase::open_mirror(on_disk("mirror")));
  auto facts = facts_at(Lsn{10});
  facts.total_bytes = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(refusal(mirror->begin_snapshot(facts)), "UnsupportedOperation");
  facts.total_bytes = 100;
  free = stays_free + 99;
  const auto refused = mirror->begin_snapshot(facts);
  EXPECT_EQ(refusal(refused), "Storage");
  EXPECT_TRUE(names_it(said(refused))) << said(refused);
  free = stays_free + 100;
  must(mirror->begin_snapshot(facts));
  std::vector<std::byte> stream;
  encode_pair(stream, KeyValue{"/registry/a", std::string(1000, 'x'), std::nullopt});
  const auto chunk_of = [&](std::size_t offset, std::size_t bytes) {
    const auto part = std::span(stream).subspan(offset, bytes);
    return mirror->store_chunk({offset, static_cast<std::uint32_t>(bytes), crc32c(part)}, part);
  };
  must(chunk_of(0, 100));
  const auto second = chunk_of(100, stream.size() - 100);
  EXPECT_EQ(refusal(second), "Storage");
  EXPECT_TRUE(names_it(said(second))) << said(second);
  EXPECT_EQ(mirror->mirror_state().partial->bytes(), 100u);
  free = plenty;
  must(chunk_of(100, stream.size() - 100));
  must(mirror->check_snapshot());
  must(mirror->switch_snapshot());
  EXPECT_EQ(contents().size(), 1u);
}

TEST_F(EtcdLittleSpace, a_revision_that_goes_in_several_transactions_is_not_begun_without_room) {
  mirror = must(EtcdDatabase::open_mirror(on_disk("mirror")));
  bootstrap(many_keys(2), Lsn{10});
  const std::string value(1'000'000, 'x');
  const Commits large{{Operation::put("/registry/a", value), Operation::put("/registry/b", value)}};
  free = stays_free + 100;
  const auto refused = apply(large);
  EXPECT_EQ(refusal(refused), "Storage");
  EXPECT_TRUE(names_it(said(refused))) << said(refused);
  EXPECT_FALSE(record().split);
  EXPECT_EQ(contents().size(), 2u);
  free = plenty;
  must(apply(large));
  EXPECT_EQ(contents().size(), 4u);
}

}  // namespace
}  // namespace crosslink::test
