// Where a mirror may be kept: not over its source's own keys, nor over those of another mirror.
#include <optional>
#include <string>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "support/etcd_server.hpp"
#include "support/etcd_user.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

/// One etcd cluster, in which everything is kept.
class EtcdPlaces : public testing::Test {
 protected:
  Result<std::unique_ptr<EtcdDatabase>> open_mirror(std::optional<std::string> prefix, std::string name = "copy") {
    auto options = options_of(name);
    options.prefix = std::move(prefix);
    options.name = std::move(name);
    options.node = "node";
    return EtcdDatabase::open_mirror(options);
  }
  std::unique_ptr<EtcdDatabase> open_root(const std::string& prefix, std::vector<std::string> excludes = {}) {
    auto options = options_of("root");
    options.prefix = prefix;
    options.excludes = std::move(excludes);
    return must(EtcdDatabase::open_root(options));
  }
  /// What a mirror kept there says to the snapshot of `root`.
  std::string begin(EtcdDatabase& root, std::optional<std::string> prefix) {
    const auto mirror = must(open_mirror(std::move(prefix)));
    return refusal(mirror->begin_snapshot(open_kv(root)->facts()));
  }
  Lsn put(const std::string& key) {
    const std::array operations{Operation::put(key, "1")};
    return must(user_.commit(operations));
  }
  EtcdOptions options_of(const std::string& folder) { return options_at(servers_, folder_.path() / folder); }

  SharedEtcd servers_;
  TemporaryFolder folder_;
  EtcdUser user_{servers_, ""};
};

void receive_all(EtcdDatabase& mirror, EtcdDatabase& source) {
  receive(mirror, *open_kv(source), 700);
  must(mirror.check_snapshot());
  must(mirror.switch_snapshot());
}

TEST_F(EtcdPlaces, a_mirror_over_its_sources_own_keys_is_refused) {
  put("/a/b/1");
  const auto root = open_root("/a/b/");
  for (const std::optional<std::string>& prefix : {std::optional<std::string>(), {"/a/b/"}, {"/a/b/c/"}, {"/a/"}, {""}})
    EXPECT_EQ(begin(*root, prefix), "UnsupportedOperation") << prefix.value_or("none");
  EXPECT_EQ(begin(*root, "/copy/"), "done");
}

TEST_F(EtcdPlaces, a_mirror_over_its_sources_own_keys_is_refused_whatever_the_source_leaves_out) {
  put("/a/b/1");
  const auto root = open_root("/a/b/", {"/a/b/c/"});
  EXPECT_EQ(begin(*root, {}), "UnsupportedOperation");
}

TEST_F(EtcdPlaces, a_mirror_over_its_sources_own_keys_is_refused_when_the_last_write_was_a_delete) {
  put("/a/1");
  must(user_.commit(std::array{Operation::erase("/a/1")}));
  put("/other");
  const auto root = open_root("/a/");
  EXPECT_EQ(begin(*root, {}), "UnsupportedOperation");
}

TEST_F(EtcdPlaces, before_anything_is_received_it_is_known_as_far_as_the_source_can_be_asked) {
  const auto head = put("/a/1");
  const auto root = open_root("/a/");
  must(root->wait_for(head, patience));
  const auto state = root->source_state();
  const auto ask = [&](std::optional<std::string> prefix) {
    return refusal(must(open_mirror(std::move(prefix)))->may_follow(state.origin, "prod-us", state.head));
  };
  EXPECT_EQ(ask({}), "UnsupportedOperation");
  EXPECT_EQ(ask("/a/"), "UnsupportedOperation");
  EXPECT_EQ(ask("/a/b/"), "UnsupportedOperation");
  EXPECT_EQ(ask("/copy/"), "done");
}

TEST_F(EtcdPlaces, a_copy_in_the_sources_own_cluster_does_not_follow_its_own_position) {
  const auto first = put("/a/1");
  const auto root = open_root("/a/");
  must(root->wait_for(first, patience));
  const auto mirror = must(open_mirror("/copy/"));
  receive_all(*mirror, *root);
  const auto before = mirror->counters().transactions;
  constexpr std::uint64_t rounds = 30;
  for (std::uint64_t i = 0; i < rounds; ++i) {
    must(root->wait_for(mirror->source_state().head, patience));  // what it wrote itself is there
    if (position_of(*mirror).applied_lsn < root->source_state().head) apply_slice(*mirror, *root, 1000);
  }
  EXPECT_LT(mirror->counters().transactions - before, rounds / 2);
  must(root->wait_for(put("/a/2"), patience));
  while (position_of(*mirror).applied_lsn < root->source_state().head)
    apply_slice(*mirror, *root, 1000);
  const auto found = user_.read_all();
  EXPECT_TRUE(found.contains("/copy/2"));
  EXPECT_EQ(found.size(), 4u);
}

TEST_F(EtcdPlaces, a_cluster_that_was_set_up_as_the_sources_was_is_not_taken_for_it) {
  put("/a/1");
  const auto other = put("/other");
  const auto root = open_root("/a/");
  must(root->wait_for(other, patience));
  const auto mirror = must(open_mirror({}));
  auto facts = open_kv(*root)->facts();
  facts.last_entry.lsn = other;  // nothing of the source's was written then
  EXPECT_EQ(refusal(mirror->begin_snapshot(facts)), "done");
  facts = open_kv(*root)->facts();
  facts.snapshot_lsn.value += 1000;  // of which this etcd knows nothing yet
  EXPECT_EQ(refusal(mirror->begin_snapshot(facts)), "done");
  EXPECT_EQ(refusal(mirror->may_follow(root->source_state().origin, "prod-us", facts.snapshot_lsn)), "done");
}

TEST_F(EtcdPlaces, a_mirror_over_anothers_keys_is_refused_by_its_name) {
  put("/a/1");
  const auto root = open_root("/a/");
  const auto first = must(open_mirror("/copy/", "first"));
  const auto early = must(open_mirror("/copy/x/", "early"));
  receive_all(*first, *root);
  for (const auto* prefix : {"/copy/", "/copy/x/", "/", ""}) {
    const auto second = open_mirror(prefix, "second");
    EXPECT_EQ(refusal(second), "UnsupportedOperation") << prefix;
    if (second) continue;
    EXPECT_NE(second.error().message().find("the mirror first"), std::string::npos) << second.error().message();
  }
  EXPECT_EQ(refusal(early->begin_snapshot(open_kv(*root)->facts())), "UnsupportedOperation");
  const auto third = must(open_mirror("/copy2/", "third"));
  receive_all(*third, *root);
  must(first->forget());
  EXPECT_EQ(refusal(open_mirror("/copy/", "second")), "done");
}

TEST_F(EtcdPlaces, of_two_that_began_together_the_second_does_not_write_over_the_first) {
  put("/a/1");
  const auto root = open_root("/a/");
  const auto first = must(open_mirror("/copy/", "first")), second = must(open_mirror("/copy/", "second"));
  receive(*first, *open_kv(*root), 700);
  receive(*second, *open_kv(*root), 700);
  must(first->check_snapshot());
  must(second->check_snapshot());
  must(first->switch_snapshot());
  EXPECT_EQ(refusal(second->switch_snapshot()), "UnsupportedOperation");
}

}  // namespace
}  // namespace crosslink::test
