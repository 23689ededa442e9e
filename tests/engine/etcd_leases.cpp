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

TEST_F(EtcdLeases, a_group_of_leased_changes_with_long_keys_is_applied) {
  open();
  bootstrap(Contents{}, Lsn{10});
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < 16; ++i)
    keys.push_back(long_key(i));
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
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < 16; ++i)
    keys.push_back(long_key(i));
  note(5);
  std::vector<Operation> entry;
  for (const auto& key : keys)
    entry.push_back(Operation::put(key, "1", 5));
  must(apply({entry}));
  EXPECT_EQ(contents().size(), 16U);
  EXPECT_EQ(leased(), 16U);
  EXPECT_EQ(mirror->counters().split_revisions, 1U);
}

}  // namespace
}  // namespace crosslink::test
