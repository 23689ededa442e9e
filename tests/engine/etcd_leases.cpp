// Leases at a mirror in etcd: the table beside its keys.
#include <atomic>

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

// --- promotion

/// A mirror with keys that had leases at the source, and its promotion.
class EtcdPromotedLeases : public EtcdLeases {
 protected:
  void follow(std::size_t keys, std::uint64_t ttl_s) {
    open();
    bootstrap(Contents{}, Lsn{10});
    Commits entries;
    for (std::size_t i = 0; i < keys; ++i)
      names_.push_back(key_of(i));
    for (std::size_t i = 0; i < keys; ++i) {
      note(i + 1, ttl_s);
      entries.push_back({Operation::put(names_[i], "1", i + 1)});
    }
    must(apply(entries));
  }
  std::int64_t lease_of(const std::string& key) const {
    const auto pairs = below(key);
    return pairs.empty() ? -1 : pairs.front().lease();
  }
  std::int64_t grant(std::int64_t id, std::int64_t ttl_s) const {
    etcd::wire::LeaseGrantRequest wanted;
    wanted.set_id(id);
    wanted.set_ttl_s(ttl_s);
    return must(user->grant(wanted)).id();
  }
  bool lives(std::int64_t lease) const { return must(user->time_to_live(lease)).ttl_s() > 0; }
  /// The last one of a promotion, which drops the table of leases.
  static bool ends_promotion(const etcd::wire::TxnRequest& request) {
    return std::ranges::any_of(request.success(), [](const auto& one) {
      return one.has_delete_range() && one.delete_range().key() == etcd::leases_prefix(mirror_name);
    });
  }
  /// Everything is bound, and it does not come to its end.
  void promote_halfway() {
    gate.before_txn([](const auto& request) {
      return ends_promotion(request) ? grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "no space")
                                     : grpc::Status::OK;
    });
    EXPECT_EQ(refusal(mirror->promote("prod-us", "registry")), "Storage");
    gate.before_txn({});
  }
  std::vector<std::string> names_;
};

TEST_F(EtcdPromotedLeases, a_key_is_not_bound_to_a_lease_of_another_client_that_has_its_old_number) {
  const auto theirs = grant(1, 600);
  follow(1, 500);
  must(mirror->promote("prod-us", "registry"));
  const auto ours = lease_of(names_[0]);
  EXPECT_NE(ours, 0);
  EXPECT_NE(ours, theirs);
  EXPECT_EQ(must(user->time_to_live(ours)).granted_ttl_s(), 500);
  must(user->revoke(theirs));
  EXPECT_EQ(contents().size(), 1U);
}

TEST_F(EtcdPromotedLeases, a_thousand_leases_take_a_few_transactions_and_are_counted) {
  constexpr std::size_t count = 1000;
  follow(count, 600);
  EXPECT_EQ(mirror->mirror_state().leases, count);
  const auto before = mirror->counters().transactions;
  must(mirror->promote("prod-us", "registry"));
  EXPECT_LE(mirror->counters().transactions - before, 4U);
  EXPECT_EQ(mirror->mirror_state().leases, count);
  EXPECT_TRUE(std::ranges::all_of(below(prefix), [](const auto& pair) { return pair.lease() != 0; }));
  EXPECT_EQ(leases() + leased(), 0U);
}

TEST_F(EtcdPromotedLeases, short_leases_live_when_the_end_of_the_promotion_takes_longer_than_they_last) {
  follow(100, 3);
  gate.before_txn([this](const auto& request) {
    if (!ends_promotion(request)) return grpc::Status::OK;
    // As short as theirs, granted after theirs.
    const auto other = grant(0, 3);
    eventually([&] { return !lives(other); });
    return grpc::Status::OK;
  });
  must(mirror->promote("prod-us", "registry"));
  gate.before_txn({});
  EXPECT_EQ(contents().size(), 100U);
}

TEST_F(EtcdPromotedLeases, a_promotion_whose_log_could_not_be_read_at_its_end_is_a_source_once_it_is_asked_again) {
  follow(1, 600);
  std::atomic<bool> ends = false;
  gate.before_txn([&](const auto& request) {
    ends = ends || ends_promotion(request);
    return grpc::Status::OK;
  });
  gate.before_range([&](const auto&) {
    return ends ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "for the test") : grpc::Status::OK;
  });
  EXPECT_EQ(refusal(mirror->promote("prod-us", "registry")), "Storage");
  gate.before_range({});
  gate.before_txn({});
  EXPECT_EQ(must(mirror->promote("prod-us", "registry")).cluster, "prod-us");
  const auto lsn = etcd::lsn_of(put("/registry/new", "1"));
  must(mirror->wait_for(lsn, patience));
  EXPECT_EQ(mirror->source_state().head, lsn);
}

TEST_F(EtcdPromotedLeases, what_a_given_up_promotion_granted_takes_no_key_from_the_mirror_that_follows_on) {
  follow(100, 600);
  promote_halfway();
  const auto given = lease_of(names_[0]);
  EXPECT_GT(given, 0);
  must(mirror->sync());
  EXPECT_FALSE(record().promoting);
  EXPECT_TRUE(std::ranges::all_of(below(prefix), [](const auto& pair) { return pair.lease() == 0; }));
  EXPECT_FALSE(lives(given));
  must(apply({{Operation::put("/registry/a", "1", 5)}}));
  EXPECT_EQ(contents().size(), 101U);
  EXPECT_EQ(leased(), 101U);
}

TEST_F(EtcdPromotedLeases, a_process_that_comes_after_a_killed_promotion_takes_it_back_and_follows_on) {
  follow(100, 600);
  promote_halfway();
  open();
  EXPECT_EQ(refusal(apply({{Operation::put("/registry/a", "1")}})), "Busy");
  must(mirror->sync());
  EXPECT_TRUE(std::ranges::all_of(below(prefix), [](const auto& pair) { return pair.lease() == 0; }));
  must(apply({{Operation::put("/registry/a", "1")}}));
  EXPECT_EQ(contents().size(), 101U);
}

TEST_F(EtcdPromotedLeases, a_process_that_comes_after_a_killed_promotion_can_finish_it_with_the_same_leases) {
  follow(100, 600);
  promote_halfway();
  const auto given = lease_of(names_[0]);
  open();
  must(mirror->promote("prod-us", "registry"));
  EXPECT_EQ(lease_of(names_[0]), given);
  EXPECT_TRUE(lives(given));
}

TEST_F(EtcdPromotedLeases, a_mirror_from_which_a_lease_took_a_key_meanwhile_bootstraps_anew) {
  follow(3, 600);
  promote_halfway();
  must(user->revoke(lease_of(names_[1])));  // as if it had run out
  open();
  must(mirror->sync());
  EXPECT_FALSE(mirror->mirror_state().position);
  bootstrap(Contents{{names_[0], "1"}, {names_[1], "1"}, {names_[2], "1"}}, Lsn{20}, 2);
  EXPECT_EQ(contents().size(), 3U);
}

TEST_F(EtcdPromotedLeases, a_bootstrap_that_was_under_way_at_a_promotion_is_under_way_when_that_is_taken_back) {
  follow(3, 600);
  receive(Snapshot{{names_[0], {"2"}}}, Lsn{20}, 2);
  gate.before_txn([](const auto& request) {
    return touches(request, key_of(0)) ? grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "no space")
                                       : grpc::Status::OK;
  });
  EXPECT_EQ(refusal(mirror->switch_snapshot()), "Storage");
  promote_halfway();
  must(mirror->sync());
  EXPECT_FALSE(mirror->mirror_state().position);
}

}  // namespace
}  // namespace crosslink::test
