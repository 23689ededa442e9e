// Leases at a mirror in etcd: the table beside its keys.
#include "engine/etcd_fixture.hpp"

namespace crosslink::test {
namespace {

class EtcdLeases : public EtcdMirror {
 protected:
  void note(std::uint64_t lease, std::uint64_t ttl_s = 600) const {
    const std::array grants{LeaseGrant{lease, ttl_s}};
    must(mirror->note_leases(grants));
  }
  std::size_t leases() const { return below(etcd::leases_prefix(mirror_name)).size(); }
  std::size_t leased() const { return below(etcd::leased_prefix(mirror_name)).size(); }
};

/// Sixteen of them take 1.9 MiB with their lines in the side table.
std::string long_key(std::size_t number) { return key_of(number) + std::string(std::size_t{60} * 1024, 'k'); }
std::vector<std::string> long_keys(std::size_t count) {
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < count; ++i)
    keys.push_back(long_key(i));
  return keys;
}

TEST_F(EtcdLeases, a_group_of_leased_changes_with_long_keys_is_applied) {
  open();
  bootstrap(Contents{}, Lsn{10});
  const auto keys = long_keys(16);
  note(5);
  Commits entries;
  for (const auto& key : keys)
    entries.push_back({Operation::put(key, "1", 5)});
  must(apply(entries));
  EXPECT_EQ(contents().size(), 16U);
  EXPECT_EQ(leased(), 16U);
  Commits deletions;
  for (const auto& key : keys)
    deletions.push_back({Operation::erase(key)});
  must(apply(deletions));
  EXPECT_EQ(contents().size(), 0U);
  EXPECT_EQ(leased(), 0U);
  EXPECT_EQ(mirror->counters().split_revisions, 0U);
}

TEST_F(EtcdLeases, leases_given_and_taken_within_one_group_count_as_well) {
  open();
  bootstrap(Contents{}, Lsn{10});
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < 40; ++i)
    keys.push_back(long_key(i % 20));
  note(5);
  Commits entries;
  for (std::size_t i = 0; i < keys.size(); ++i)
    entries.push_back({i < 20 ? Operation::put(keys[i], "1", 5) : Operation::erase(keys[i])});
  must(apply(entries));
  EXPECT_EQ(contents().size(), 0U);
  EXPECT_EQ(leased(), 0U);
}

TEST_F(EtcdLeases, an_entry_of_leased_changes_with_long_keys_is_split) {
  open();
  bootstrap(Contents{}, Lsn{10});
  const auto keys = long_keys(16);
  note(5);
  std::vector<Operation> entry;
  for (const auto& key : keys)
    entry.push_back(Operation::put(key, "1", 5));
  must(apply({entry}));
  EXPECT_EQ(contents().size(), 16U);
  EXPECT_EQ(leased(), 16U);
  EXPECT_EQ(mirror->counters().split_revisions, 1U);
}

TEST_F(EtcdLeases, leases_that_end_leave_nothing_behind_also_across_a_restart) {
  constexpr std::size_t count = 500;
  open();
  bootstrap(Contents{}, Lsn{10});
  std::vector<std::string> keys;
  Commits given;
  for (std::size_t i = 0; i < count; ++i)
    keys.push_back(key_of(i));
  for (std::size_t i = 0; i < count; ++i) {
    note(i + 1);
    given.push_back({Operation::put(keys[i], "1", i + 1)});
  }
  must(apply(given));
  EXPECT_EQ(leases(), count);
  EXPECT_EQ(leased(), count);
  const auto end = [&](std::size_t from, std::size_t to) {
    Commits ended;
    for (auto i = from; i < to; ++i)
      ended.push_back({Operation::erase(keys[i])});
    must(apply(ended));
  };
  end(0, count / 2);
  EXPECT_EQ(leases(), count / 2);
  open();
  end(count / 2, count);
  EXPECT_EQ(leases(), 0U);
  EXPECT_EQ(leased(), 0U);
}

TEST_F(EtcdLeases, a_lease_stays_while_a_key_uses_it_and_comes_back_with_the_next_one) {
  open();
  bootstrap(Contents{}, Lsn{10});
  note(5);
  note(6);
  must(apply({{Operation::put("/registry/a", "1", 5), Operation::put("/registry/b", "1", 5)}}));
  EXPECT_EQ(leases(), 1U);
  must(apply({{Operation::erase("/registry/a")}}));
  EXPECT_EQ(leases(), 1U);
  // The last key leaves it and another one takes it, in one transaction.
  must(apply({{Operation::put("/registry/b", "2", 6), Operation::put("/registry/c", "1", 5)}}));
  EXPECT_EQ(leases(), 2U);
  must(apply({{Operation::put("/registry/b", "3"), Operation::put("/registry/c", "2")}}));
  EXPECT_EQ(leases(), 0U);
  EXPECT_EQ(leased(), 0U);
  must(apply({{Operation::put("/registry/a", "2", 5)}}));  // it is not told again
  EXPECT_EQ(leases(), 1U);
  must(apply({{Operation::put("/registry/a", "3", 5)}, {Operation::erase_range("/registry/", std::nullopt)}}));
  EXPECT_EQ(leases(), 0U);
  EXPECT_EQ(leased(), 0U);
}

TEST_F(EtcdLeases, a_bootstrap_drops_the_leases_that_its_snapshot_does_not_use) {
  open();
  const auto begin = [&](const Snapshot& snapshot, std::uint8_t id) {
    receive(snapshot, Lsn{id * 10U}, id);
    for (const auto& [key, pair] : snapshot) {
      if (pair.lease != 0) note(pair.lease);
    }
    must(mirror->switch_snapshot());
  };
  begin({{key_of(1), {"1", 5}}, {key_of(2), {"1", 6}}, {key_of(3), {"1", 6}}, {key_of(4), {"1", 7}}}, 1);
  EXPECT_EQ(leases(), 3U);
  EXPECT_EQ(leased(), 4U);
  begin({{key_of(1), {"1", 0}}, {key_of(2), {"2", 6}}, {key_of(5), {"2", 8}}}, 2);
  EXPECT_EQ(leases(), 2U);
  EXPECT_EQ(leased(), 2U);
  const auto second = key_of(2), fifth = key_of(5);
  must(apply({{Operation::erase(second)}, {Operation::erase(fifth)}}));
  EXPECT_EQ(leases(), 0U);
  EXPECT_EQ(leased(), 0U);
}

}  // namespace
}  // namespace crosslink::test
