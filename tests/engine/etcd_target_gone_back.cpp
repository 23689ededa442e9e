// A target that is restored from a backup, or emptied, while nothing is written to it: its cluster id stays what it
// was.
#include "engine/etcd_fixture.hpp"

namespace crosslink::test {
namespace {

class EtcdTargetGoneBack : public EtcdMirrorIn<EtcdServers> {
 protected:
  ~EtcdTargetGoneBack() override {
    if (mirror) mirror->watch_position({});
  }
  void open() {
    auto direct = options();
    direct.cluster.endpoints = servers.endpoints();
    mirror = must(EtcdDatabase::open_mirror(direct));
    mirror->watch_position([this] { ++moved; });
  }
  void back_up() {
    servers.kill(0);
    servers.back_up();
    start();
  }
  void restore() {
    servers.kill(0);
    servers.restore();
    start();
  }
  std::atomic<int> moved = 0;

 private:
  void start() {
    servers.start(0);
    servers.wait_until_ready();
    EtcdCluster direct;
    direct.endpoints = servers.endpoints();
    direct.call_deadline = patience;
    user = must(etcd::Client::open(direct));
  }
};

TEST_F(EtcdTargetGoneBack, a_target_that_was_restored_is_noticed_though_nothing_is_written) {
  open();
  bootstrap({{"/registry/a", "1"}}, Lsn{10});
  back_up();
  for (int i = 0; i < 5; ++i)
    must(apply({{Operation::put("/registry/b", std::to_string(i))}}));
  ASSERT_EQ(position_of(*mirror).applied_lsn, Lsn{15});
  restore();
  ASSERT_TRUE(becomes_true([&] { return moved == 1; }));
  must(mirror->sync());
  EXPECT_EQ(position_of(*mirror).applied_lsn, Lsn{10});
  EXPECT_EQ(mirror->counters().target_gone_back, 1U);
  EXPECT_NE(mirror->detail().find("it had LSN 15 and is at LSN 10 now"), std::string::npos) << mirror->detail();
  for (int i = 0; i < 5; ++i)
    must(apply({{Operation::put("/registry/b", std::to_string(i))}}));
  EXPECT_EQ(contents(), (Contents{{"/registry/a", "1"}, {"/registry/b", "4"}}));
  EXPECT_EQ(mirror->detail().find("LSN 15"), std::string::npos) << mirror->detail();
}

TEST_F(EtcdTargetGoneBack, a_target_that_was_emptied_is_a_mirror_without_data_and_says_so) {
  back_up();  // nothing
  open();
  bootstrap({{"/registry/a", "1"}}, Lsn{10});
  const auto was = position_of(*mirror);
  restore();
  ASSERT_TRUE(becomes_true([&] { return moved == 1; }));
  EXPECT_EQ(refusal(mirror->apply({{}, was})), "Busy");  // and no halt
  must(mirror->sync());
  EXPECT_FALSE(mirror->mirror_state().position);
  EXPECT_NE(mirror->detail().find("holds no record of it now"), std::string::npos) << mirror->detail();
  bootstrap({{"/registry/a", "1"}, {"/registry/b", "1"}}, Lsn{11}, 2);
  EXPECT_EQ(contents().size(), 2U);
  EXPECT_EQ(mirror->detail().find("holds no record"), std::string::npos) << mirror->detail();
}

TEST_F(EtcdTargetGoneBack, it_is_not_promoted_as_what_it_was) {
  open();
  bootstrap({{"/registry/a", "1"}}, Lsn{10});
  back_up();
  must(apply({{Operation::put("/registry/b", "1")}}));
  restore();
  EXPECT_EQ(refusal(mirror->promote("prod-us", "registry")), "Busy");
  must(mirror->sync());
  EXPECT_EQ(must(mirror->promote("prod-us", "registry")).position.applied_lsn, Lsn{10});
}

TEST_F(EtcdTargetGoneBack, an_emptied_one_is_not_promoted_at_all) {
  back_up();
  open();
  bootstrap({{"/registry/a", "1"}}, Lsn{10});
  restore();
  EXPECT_EQ(refusal(mirror->promote("prod-us", "registry")), "Busy");
  EXPECT_EQ(refusal(mirror->promote("prod-us", "registry")), "Configuration");
}

TEST_F(EtcdTargetGoneBack, a_restart_of_the_target_alone_is_none) {
  open();
  bootstrap({{"/registry/a", "1"}}, Lsn{10});
  back_up();
  must(mirror->check_target());
  must(apply({{Operation::put("/registry/b", "1")}}));
  EXPECT_EQ(mirror->counters().target_gone_back, 0U);
  EXPECT_EQ(moved, 0);
}

TEST_F(EtcdTargetGoneBack, an_idle_mirror_followed_into_a_target_that_hung) {
  open();
  bootstrap({{"/registry/a", "1"}}, Lsn{10});
  servers.freeze(0);
  ASSERT_TRUE(becomes_true([&] { return moved == 1; }));
  EXPECT_EQ(refusal(mirror->sync()), "Storage");
  // The engine's own look may hold the lock of what writes meanwhile: that is no answer of the target.
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(refusal(mirror->check_target()), "Storage");
  servers.thaw(0);
  must(mirror->sync());
  must(mirror->check_target());
  EXPECT_EQ(mirror->counters().target_gone_back, 0U);
  EXPECT_EQ(moved, 1);
}

}  // namespace
}  // namespace crosslink::test
