// A target with little space, and values and revisions that are as large as may be, or larger.
#include "engine/etcd_fixture.hpp"

namespace crosslink::test {
namespace {

struct SmallEtcd : EtcdServers {
  SmallEtcd() : EtcdServers(1, {{"--quota-backend-bytes", "16777216"}, "", "", ""}) {}
};
using EtcdSmallTarget = EtcdMirrorIn<SmallEtcd>;

TEST_F(EtcdSmallTarget, its_history_is_compacted_by_bytes_long_before_so_many_revisions) {
  constexpr std::size_t keys = 20, value_bytes = 200'000, rounds = 15;
  open();
  bootstrap(many_keys(keys, value_bytes), Lsn{10});
  for (std::size_t round = 0; round < rounds; ++round) {
    const std::string value(value_bytes, static_cast<char>('a' + round));
    for (std::size_t i = 0; i < keys; ++i) {
      const auto key = key_of(i);
      must(apply({{Operation::put(key, value)}}));
    }
  }
  EXPECT_EQ(contents().size(), keys);
}

TEST_F(EtcdSmallTarget, without_space_it_is_compacted_all_the_same_and_named_as_the_target) {
  open();
  bootstrap(many_keys(10), Lsn{10});
  must(apply({{Operation::put("/registry/a", "1")}}));
  const auto before = revision();
  etcd::TxnBuilder more;
  for (int i = 0;; ++i) {
    more.put("/others/" + std::to_string(i), std::string(1'000'000, 'x'));
    if (!user->txn(more.build())) break;
    ASSERT_LT(i, 100);
  }
  const auto said = apply({{Operation::put("/registry/a", std::string(100, '2'))}});
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().kind(), ErrorKind::Storage);
  EXPECT_NE(said.error().message().find("the target etcd is out of space"), std::string::npos)
      << said.error().message();
  eventually([&] {
    etcd::wire::RangeRequest old;
    old.set_key("a");
    old.set_revision(before - 1);
    return refusal(user->range(old)) == "LogWindowExceeded";
  });
}

class EtcdLargeValues : public EtcdMirror {
 protected:
  /// Within some bytes of what a request of 1.5 MiB can hold: the record does not fit beside it.
  const std::string value = std::string(1'572'640, 'v');
};

TEST_F(EtcdLargeValues, a_value_near_the_target_s_limit_is_applied_and_counts_as_our_own_write) {
  open();
  bootstrap(many_keys(1), Lsn{10});
  must(apply({{Operation::put("/registry/a", value)}}));
  EXPECT_EQ(contents().at("/registry/a"), value);
  EXPECT_EQ(position_of(*mirror).applied_lsn, Lsn{11});
  must(apply({{Operation::put("/registry/a", "2")}}));
  put("/registry/b", "of another client");
  must(apply({{Operation::put("/registry/a", "3")}}));
  eventually([&] { return mirror->counters().external_writes > 0; });
  EXPECT_EQ(mirror->counters().external_writes, 1U);
}

TEST_F(EtcdLargeValues, one_with_a_lease_keeps_it_and_one_in_a_larger_entry_is_a_part_of_its_own) {
  open();
  bootstrap(many_keys(1), Lsn{10});
  const std::array grants{LeaseGrant{5, 600}};
  must(mirror->note_leases(grants));
  must(apply({{Operation::put("/registry/a", value, 5)}}));
  EXPECT_EQ(below(etcd::leased_prefix(mirror_name)).size(), 1U);
  must(apply({{Operation::put("/registry/b", value), Operation::put("/registry/c", "1")}}));
  EXPECT_EQ(contents().at("/registry/b"), value);
  EXPECT_EQ(contents().size(), 4U);
}

TEST_F(EtcdLargeValues, a_snapshot_with_one_is_switched_in) {
  open();
  bootstrap(Contents{{"/registry/a", value}, {"/registry/b", "1"}}, Lsn{10});
  EXPECT_EQ(contents().at("/registry/a"), value);
}

class EtcdLargeRevision : public EtcdMirror {
 protected:
  std::unique_ptr<EtcdDatabase> open_root() const {
    auto chosen = options("root");
    chosen.prefix = prefix;
    chosen.revision_bytes_max = std::size_t{1} << 20;
    return must(EtcdDatabase::open_root(chosen));
  }
};

TEST_F(EtcdLargeRevision, one_above_the_limit_is_named_and_left_out_and_the_source_opens_after_a_restart) {
  // So long keys that a server sends their deletion in fragments.
  for (std::size_t i = 0; i < 120; ++i)
    put(key_of(i) + std::string(std::size_t{30} * 1024, 'k'), "1");
  auto root = open_root();
  etcd::wire::TxnRequest request;
  *request.add_success() = etcd::erase_below(prefix);
  const auto large = must(user->txn(request)).header().revision();
  const auto after = etcd::lsn_of(put("/registry/after", "1"));
  must(root->wait_for(after, patience));
  const auto named = "revision " + std::to_string(large) + " is of 3";
  EXPECT_NE(root->detail().find(named), std::string::npos) << root->detail();
  EXPECT_EQ(refusal(root->read_log(etcd::lsn_of(large - 1), 1000)), "LogWindowExceeded");
  root.reset();
  root = open_root();
  EXPECT_GE(root->source_state().head, after);
  must(root->wait_for(etcd::lsn_of(put("/registry/later", "1")), patience));
}

}  // namespace
}  // namespace crosslink::test
