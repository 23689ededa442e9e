// Members of a cluster that answer, and refuse all the same: learners, and those that have lost their leader.
#include <array>
#include <string>

#include "engine/etcd_fixture.hpp"
#include "support/etcd_user.hpp"

namespace crosslink::test {
namespace {

/// The first endpoint is a gate that refuses as such a member does, the second one the server itself.
class EtcdMembers : public EtcdMirror, public testing::WithParamInterface<grpc::Status> {
 protected:
  EtcdMembers() {
    cluster_.endpoints = {gate.endpoint(), servers.endpoints().front()};
    cluster_.call_deadline = patience;
  }
  void refuse() { gate.refuse_all(GetParam()); }
  EtcdOptions at_both(const std::string& name) const {
    auto chosen = options(name);
    chosen.cluster = cluster_;
    return chosen;
  }
  std::unique_ptr<EtcdDatabase> open_root() const {
    auto chosen = at_both("root");
    chosen.prefix = prefix;
    return must(EtcdDatabase::open_root(chosen));
  }
  EtcdCluster cluster_;
};

TEST_P(EtcdMembers, a_source_whose_first_member_refuses_opens_and_reads) {
  refuse();
  const auto root = open_root();
  must(root->wait_for(etcd::lsn_of(put("/registry/a", "1")), patience));
  EXPECT_EQ(scan(*must(root->view()), "", std::nullopt).size(), 1U);
}

TEST_P(EtcdMembers, a_source_leaves_a_member_that_begins_to_refuse) {
  auto first = std::make_unique<EtcdGate>(servers.endpoints().front().substr(std::string("http://").size()));
  cluster_.endpoints = {first->endpoint(), gate.endpoint(), servers.endpoints().front()};
  const auto root = open_root();
  must(root->wait_for(etcd::lsn_of(put("/registry/a", "1")), patience));
  refuse();  // who comes after the one that is gone
  first.reset();
  must(root->wait_for(etcd::lsn_of(put("/registry/b", "1")), patience));
  const auto slice = must(root->read_log(Lsn{root->source_state().head.value - 1}, 1000));
  EXPECT_EQ(slice.count, 1U);
}

TEST_P(EtcdMembers, a_mirror_whose_first_member_refuses_is_made_follows_and_is_promoted) {
  refuse();
  mirror = must(EtcdDatabase::open_mirror(at_both("database")));
  const std::array grants{LeaseGrant{5, 600}};
  must(mirror->note_leases(grants));
  bootstrap(Contents{{"/registry/a", "1"}}, Lsn{10});
  must(apply({{Operation::put("/registry/b", "2", 5)}}));
  EXPECT_EQ(contents().size(), 2U);
  must(mirror->promote("prod-us", "registry"));
}

TEST_P(EtcdMembers, a_transaction_that_a_member_did_not_look_at_is_sent_to_the_next_one) {
  mirror = must(EtcdDatabase::open_mirror(at_both("database")));
  bootstrap(Contents{{"/registry/a", "1"}}, Lsn{10});
  refuse();
  must(apply({{Operation::put("/registry/b", "2")}}));
  EXPECT_EQ(contents().size(), 2U);
}

TEST_P(EtcdMembers, a_cluster_of_which_every_member_refuses_is_given_up_at_the_deadline) {
  cluster_.endpoints = {gate.endpoint()};
  cluster_.call_deadline = std::chrono::milliseconds(300);
  const auto client = must(etcd::Client::open(cluster_));
  refuse();
  etcd::wire::RangeRequest any;
  any.set_key("a");
  const auto said = client->range(any);
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().kind(), ErrorKind::Storage);
  EXPECT_NE(said.error().message().find(GetParam().error_message()), std::string::npos) << said.error().message();
}

const std::string learner = "etcdserver: rpc not supported for learner";
INSTANTIATE_TEST_SUITE_P(Of, EtcdMembers,
                         testing::Values(grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, learner),
                                         grpc::Status(grpc::StatusCode::UNAVAILABLE, learner),
                                         grpc::Status(grpc::StatusCode::UNAVAILABLE, "etcdserver: no leader")));

}  // namespace
}  // namespace crosslink::test
