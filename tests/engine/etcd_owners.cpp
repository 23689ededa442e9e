// Two processes that hold one mirror for theirs: whatever the older one was doing, it finds that out at its next write
// and changes nothing.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "engine/etcd/record.hpp"
#include "support/etcd_server.hpp"
#include "support/etcd_user.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

/// A source, and mirrors of it in one target. Those of the same node take one another over at once.
class EtcdOwners : public testing::Test {
 protected:
  EtcdOwners() {
    auto options = options_of(source_servers_, "root");
    options.prefix = "/a/";
    root_ = must(EtcdDatabase::open_root(options));
  }
  std::unique_ptr<EtcdDatabase> open_mirror(const std::string& folder, const std::string& node = "node") {
    auto options = options_of(target_servers_, folder);
    options.name = "copy";
    options.node = node;
    return must(EtcdDatabase::open_mirror(options));
  }
  Lsn put(const std::string& key, const std::string& value, std::int64_t lease = 0) {
    etcd::TxnBuilder builder;
    builder.put(key, value, lease);
    return commit(std::move(builder));
  }
  Lsn commit(etcd::TxnBuilder builder) {
    const auto done = must(source_user_.client().txn(builder.build()));
    const Lsn lsn{static_cast<std::uint64_t>(done.header().revision())};
    must(root_->wait_for(lsn, patience));
    return lsn;
  }
  void bootstrap_from_root(EtcdDatabase& mirror) {
    receive_all(mirror);
    must(mirror.switch_snapshot());
  }
  /// A mirror of one key at node "a", and the same one at node "b", which stands by.
  std::pair<std::unique_ptr<EtcdDatabase>, std::unique_ptr<EtcdDatabase>> owner_and_standby() {
    put("/a/1", "1");
    auto owner = open_mirror("first", "a");
    bootstrap_from_root(*owner);
    return {std::move(owner), open_mirror("second", "b")};
  }
  void receive_all(EtcdDatabase& mirror) {
    receive(mirror, *open_kv(*root_), std::size_t{1} << 20);
    must(mirror.note_leases(leases_));
    must(mirror.check_snapshot());
  }
  std::string apply_next(EtcdDatabase& mirror) {
    const auto before = position_of(mirror);
    const auto slice = must(root_->read_log(before.applied_lsn, std::size_t{1} << 20));
    return refusal(mirror.apply({{*slice.entries}, position_after(slice, *root_, before)}));
  }
  Contents target() { return target_user_.read_all(); }
  Contents source() { return EtcdUser(source_servers_, "").read_all(); }
  std::optional<etcd::Record> record() {
    etcd::wire::RangeRequest request;
    request.set_key("/crosslink/copy");
    const auto found = must(target_user_.client().range(request));
    if (found.kvs_size() == 0) return std::nullopt;
    return must(etcd::decode_record(found.kvs(0).value()));
  }
  EtcdOptions options_of(const EtcdServers& servers, const std::string& folder) {
    return options_at(servers, folder_.path() / folder);
  }

  SharedEtcd source_servers_, target_servers_;
  TemporaryFolder folder_;
  EtcdUser source_user_{source_servers_, ""}, target_user_{target_servers_, ""};
  std::unique_ptr<EtcdDatabase> root_;
  std::vector<LeaseGrant> leases_;
};

TEST_F(EtcdOwners, an_owner_that_was_taken_over_while_it_followed_steps_down_at_its_next_write) {
  put("/a/1", "1");
  const auto older = open_mirror("older");
  bootstrap_from_root(*older);
  put("/a/2", "1");
  EXPECT_EQ(apply_next(*older), "done");
  auto newer = open_mirror("newer");
  must(newer->own());
  put("/a/3", "1");
  EXPECT_EQ(apply_next(*older), "Busy");
  EXPECT_FALSE(target().contains("/a/3"));
  EXPECT_EQ(refusal(older->own()), "Busy");  // it does not take it back from one that lives
  EXPECT_EQ(apply_next(*newer), "done");
  put("/a/1", "2");
  EXPECT_EQ(apply_next(*newer), "done");
  EXPECT_EQ(target(), source());
  newer.reset();
  must(older->own());
  put("/a/4", "1");
  EXPECT_EQ(apply_next(*older), "done");
  EXPECT_EQ(target(), source());
}

TEST_F(EtcdOwners, an_owner_that_was_taken_over_is_told_that_the_position_moved) {
  put("/a/1", "1");
  const auto older = open_mirror("older");
  bootstrap_from_root(*older);
  const auto before = position_of(*older);
  auto newer = open_mirror("newer");
  must(newer->own());
  put("/a/2", "1");
  EXPECT_EQ(apply_next(*newer), "done");
  newer.reset();
  const auto slice = must(root_->read_log(before.applied_lsn, std::size_t{1} << 20));
  const ApplyGroup late{{*slice.entries}, position_after(slice, *root_, before)};
  EXPECT_EQ(refusal(older->apply(late)), "Busy");
  EXPECT_EQ(position_of(*older).applied_lsn, slice.last_lsn);
}

TEST_F(EtcdOwners, an_owner_that_lets_go_is_followed_by_another_node_and_stands_by) {
  put("/a/1", "1");
  const auto first = open_mirror("first", "a"), second = open_mirror("second", "b");
  bootstrap_from_root(*first);
  const auto refused = second->own();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("node a, owns this mirror; this node takes over when"), std::string::npos)
      << refused.error().message();
  EXPECT_NE(second->detail().find("this node stands by: node a owns this mirror"), std::string::npos);
  first->let_go();
  const auto until = std::chrono::steady_clock::now() + patience;
  while (refusal(second->own()) == "Busy" && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  put("/a/2", "1");
  EXPECT_EQ(apply_next(*second), "done");
  EXPECT_EQ(apply_next(*first), "Busy");
  EXPECT_NE(first->detail().find("this node stands by: node b owns this mirror"), std::string::npos);
}

TEST_F(EtcdOwners, an_owner_that_lets_go_and_writes_again_owns_it_again) {
  put("/a/1", "1");
  const auto mirror = open_mirror("first");
  bootstrap_from_root(*mirror);
  const auto epoch = record()->epoch;
  mirror->let_go();
  etcd::wire::RangeRequest owner;
  owner.set_key(etcd::owner_key("copy"));
  const auto until = std::chrono::steady_clock::now() + patience;
  while (must(target_user_.client().range(owner)).kvs_size() > 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  put("/a/2", "1");
  EXPECT_EQ(apply_next(*mirror), "done");
  EXPECT_EQ(target(), source());
  EXPECT_EQ(record()->epoch, epoch + 1);
}

TEST_F(EtcdOwners, what_another_owner_made_of_the_mirror_is_seen_by_the_one_before_it) {
  put("/a/1", "1");
  const auto older = open_mirror("older");
  bootstrap_from_root(*older);
  put("/a/2", "1");
  const auto newer = open_mirror("newer");
  must(newer->own());
  auto options = options_of(source_servers_, "other root");
  options.prefix = "/a/";
  options.crosslink_cluster = "another";  // another source, which the mirror has not followed before
  const auto other = must(EtcdDatabase::open_root(options));
  must(other->wait_for(put("/a/3", "1"), patience));
  receive(*newer, *open_kv(*other), 700);
  must(newer->check_snapshot());
  must(newer->switch_snapshot());
  EXPECT_EQ(apply_next(*older), "Busy");
  EXPECT_EQ(position_of(*older).incarnation, other->source_state().origin);
  EXPECT_EQ(scan(*must(older->view()), "", std::nullopt), (Pairs{{"/a/1", "1"}, {"/a/2", "1"}, {"/a/3", "1"}}));
}

TEST_F(EtcdOwners, one_that_is_taken_over_in_the_middle_of_a_bootstrap_writes_no_more) {
  constexpr int keys = 30'000, at_once = 1000;
  for (int i = 0; i < keys; i += at_once) {
    etcd::TxnBuilder builder;
    for (int k = i; k < i + at_once; ++k)
      builder.put(fmt::format("/a/{:05}", k), "value");
    commit(std::move(builder));
  }
  const auto older = open_mirror("older"), newer = open_mirror("newer");
  receive_all(*older);
  std::string said;
  std::jthread writing([&] { said = refusal(older->switch_snapshot()); });
  while (const auto now = record()) {
    if (now->bootstrapping || now->position) break;
    std::this_thread::yield();
  }
  while (!record())
    std::this_thread::yield();
  std::string taken;
  do {
    taken = refusal(newer->own());
  } while (taken == "Busy");  // the older one wrote its record between the look and the taking over
  ASSERT_EQ(taken, "done");
  const bool was_done = newer->mirror_state().position.has_value();
  put("/a/00000", "newer");
  bootstrap_from_root(*newer);
  writing.join();
  EXPECT_EQ(said, was_done ? "done" : "Busy");
  EXPECT_EQ(refusal(older->own()), said);
  EXPECT_TRUE(target() == source());
}

TEST_F(EtcdOwners, one_that_is_taken_over_before_its_promotion_does_not_promote) {
  etcd::wire::LeaseGrantRequest wanted;
  wanted.set_ttl_s(600);
  const auto lease = must(source_user_.client().grant(wanted)).id();
  leases_.push_back({static_cast<std::uint64_t>(lease), 600});
  put("/a/1", "1", lease);
  const auto older = open_mirror("older"), newer = open_mirror("newer");
  bootstrap_from_root(*older);
  must(newer->own());
  EXPECT_EQ(refusal(older->promote("prod-us", "registry")), "Busy");
  EXPECT_EQ(record()->role, DatabaseRole::mirror);
  EXPECT_FALSE(record()->promoting);
  etcd::wire::RangeRequest request;
  request.set_key("/a/1");
  EXPECT_EQ(must(target_user_.client().range(request)).kvs(0).lease(), 0);
  must(newer->promote("prod-us", "registry"));
  EXPECT_NE(must(target_user_.client().range(request)).kvs(0).lease(), 0);
  EXPECT_EQ(refusal(older->step_back(Lsn{1})), "MirrorPromoted");
}

// --- which mirror it is

TEST_F(EtcdOwners, a_mirror_was_another_one_for_its_source_after_the_first_restart) {
  put("/a/1", "1");
  auto mirror = open_mirror("first", "a");
  const auto id = mirror->mirror_id();
  EXPECT_EQ(open_mirror("second", "b")->mirror_id(), id);
  bootstrap_from_root(*mirror);
  EXPECT_EQ(mirror->mirror_id(), id);
  mirror.reset();
  EXPECT_EQ(open_mirror("first", "a")->mirror_id(), id);
  EXPECT_EQ(open_mirror("second", "b")->mirror_id(), id);
}

TEST_F(EtcdOwners, a_mirror_of_an_older_version_stays_the_one_that_its_source_counts) {
  put("/a/1", "1");
  auto mirror = open_mirror("first", "a");
  bootstrap_from_root(*mirror);
  mirror.reset();
  auto older = *record();
  older.id.reset();
  etcd::TxnBuilder builder;
  builder.put("/crosslink/copy", etcd::encode_record(older));
  must(target_user_.client().txn(builder.build()));
  PairDigest digest;
  digest.add("etcd cluster", std::to_string(target_user_.client().cluster_id()));
  digest.add("prefix", "/a/");
  digest.add("crosslink cluster", "prod-us");
  digest.add("mirror", "copy");
  mirror = open_mirror("first", "a");
  EXPECT_EQ(mirror->mirror_id(), (MirrorId{digest.digest().bytes}));
  put("/a/2", "2");
  EXPECT_EQ(apply_next(*mirror), "done");
  EXPECT_EQ(record()->id, mirror->mirror_id());
}

// --- one node promoted the mirror, another one stands by

TEST_F(EtcdOwners, a_standby_does_not_bootstrap_over_what_another_node_promoted) {
  put("/a/1", "1");
  const auto owner = open_mirror("first", "a"), standby = open_mirror("second", "b");
  bootstrap_from_root(*owner);
  put("/a/1", "of the source");
  receive_all(*standby);
  must(owner->promote("prod-us", "registry"));
  must(target_user_.commit(std::array{Operation::put("/a/1", "promoted"), Operation::put("/a/new", "promoted")}));
  const auto promoted = record();
  EXPECT_EQ(refusal(standby->switch_snapshot()), "MirrorPromoted");
  EXPECT_EQ(target(), (Contents{{"/a/1", "promoted"}, {"/a/new", "promoted"}}));
  EXPECT_EQ(record(), promoted);
  must(standby->sync());
  EXPECT_EQ(standby->mirror_state().role, DatabaseRole::promoted);
  EXPECT_EQ(standby->mirror_state().promoted_from->cluster, "prod-us");
  EXPECT_FALSE(standby->mirror_state().partial);
  EXPECT_EQ(standby->source_state().head, owner->source_state().head);
}

TEST_F(EtcdOwners, a_standby_writes_nothing_once_another_node_promoted) {
  put("/a/1", "1");
  const auto owner = open_mirror("first", "a");
  bootstrap_from_root(*owner);
  const std::array standbys{open_mirror("applies", "b"),    open_mirror("owns", "c"),     open_mirror("begins", "d"),
                            open_mirror("steps back", "e"), open_mirror("promotes", "f"), open_mirror("syncs", "g")};
  must(owner->promote("prod-us", "registry"));
  put("/a/1", "2");
  const auto promoted = record();
  EXPECT_EQ(apply_next(*standbys[0]), "MirrorPromoted");
  EXPECT_EQ(refusal(standbys[1]->own()), "MirrorPromoted");
  EXPECT_EQ(refusal(standbys[2]->begin_snapshot(open_kv(*root_)->facts())), "MirrorPromoted");
  EXPECT_EQ(refusal(standbys[3]->step_back(Lsn{1})), "MirrorPromoted");
  EXPECT_EQ(refusal(standbys[4]->promote("prod-us", "registry")), "MirrorPromoted");
  must(standbys[5]->sync());
  for (const auto& standby : standbys)
    EXPECT_EQ(standby->mirror_state().role, DatabaseRole::promoted);
  EXPECT_EQ(target(), (Contents{{"/a/1", "1"}}));
  EXPECT_EQ(record(), promoted);
}

TEST_F(EtcdOwners, an_idle_standby_is_told_that_another_node_promoted) {
  const auto [owner, standby] = owner_and_standby();
  std::promise<void> moved;
  std::once_flag once;
  standby->watch_position([&] { std::call_once(once, [&] { moved.set_value(); }); });
  must(owner->promote("prod-us", "registry"));
  EXPECT_EQ(moved.get_future().wait_for(patience), std::future_status::ready);
  EXPECT_EQ(standby->mirror_state().role, DatabaseRole::promoted);
  standby->watch_position({});
}

TEST_F(EtcdOwners, a_dry_run_of_a_promotion_at_a_standby_hears_that_another_node_promoted) {
  const auto [owner, standby] = owner_and_standby();
  must(owner->promote("prod-us", "registry"));
  must(standby->check_target());
  EXPECT_EQ(standby->mirror_state().role, DatabaseRole::promoted);
}

TEST_F(EtcdOwners, a_standby_that_is_deleted_leaves_the_record_of_what_another_node_promoted) {
  const auto [owner, standby] = owner_and_standby();
  must(owner->promote("prod-us", "registry"));
  const auto promoted = record();
  const auto refused = standby->forget(ForgetPromoted::no);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::MirrorPromoted);
  EXPECT_NE(refused.error().message().find("node a promoted"), std::string::npos) << refused.error().message();
  EXPECT_EQ(refusal(standby->forget(ForgetPromoted::own)), "MirrorPromoted");
  EXPECT_EQ(record(), promoted);
  EXPECT_EQ(refusal(owner->forget(ForgetPromoted::no)), "MirrorPromoted");
  EXPECT_EQ(record(), promoted);
  must(owner->forget(ForgetPromoted::own));
  EXPECT_FALSE(record());
}

TEST_F(EtcdOwners, a_standby_that_is_deleted_leaves_the_record_of_a_mirror_that_another_node_follows) {
  const auto [owner, standby] = owner_and_standby();
  const auto followed = record();
  const auto refused = standby->forget(ForgetPromoted::no);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::Busy);
  EXPECT_NE(refused.error().message().find("node a, owns this mirror"), std::string::npos) << refused.error().message();
  EXPECT_EQ(record(), followed);
}

}  // namespace
}  // namespace crosslink::test
