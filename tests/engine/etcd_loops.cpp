// A mirror whose source may have its data from the mirror's own etcd by way of other databases: a key of its own stands
// there for a while and is looked for in what the source sends.
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "engine/etcd/identity.hpp"
#include "engine/etcd/loop_marker.hpp"
#include "etcd_fixture.hpp"

namespace crosslink::test {
namespace {

using namespace std::chrono_literals;

class EtcdLoops : public EtcdMirror {
 protected:
  EtcdLoops() { open(); }
  /// As of a source that is a mirror itself, whose root is in the etcd cluster of that id.
  void bootstrap_through_another(std::uint64_t root_cluster, Lsn at = Lsn{10}, std::uint8_t id = 1) {
    auto facts = facts_at(at, id);
    facts.origin = etcd::root_incarnation(root_cluster, "prod-us", prefix, {});
    facts.origin_lsn = Lsn{at.value + root_is_ahead};
    must(mirror->begin_snapshot(facts));
    std::vector<std::byte> stream;
    encode_pair(stream, KeyValue{key_of(1), "1", std::nullopt});
    must(mirror->store_chunk({0, static_cast<std::uint32_t>(stream.size()), crc32c(stream)}, stream));
    must(mirror->check_snapshot());
    must(mirror->switch_snapshot());
  }
  std::uint64_t root_is_ahead = 5;  ///< of the source's own LSN
  std::optional<std::string> marker() const {
    for (const auto& pair : below(prefix)) {
      if (etcd::is_loop_marker(pair.key())) return pair.key();
    }
    return std::nullopt;
  }
  Result<void> apply_put(const std::string& key, const std::string& value = "") const {
    return apply({{Operation::put(key, value)}});
  }
};

TEST_F(EtcdLoops, a_source_whose_root_is_in_another_cluster_is_not_looked_for) {
  bootstrap_through_another(user->cluster_id() + 1);
  must(apply_put(key_of(2)));
  EXPECT_FALSE(marker());
}

TEST_F(EtcdLoops, a_promoted_source_whose_data_began_here_is_followed_back_without) {
  root_is_ahead = 0;
  bootstrap_through_another(user->cluster_id());
  must(apply_put(key_of(2)));
  EXPECT_FALSE(marker());
}

TEST_F(EtcdLoops, what_it_wrote_comes_back_as_a_put_or_as_a_delete) {
  std::uint8_t round = 0;
  for (const bool as_put : {true, false}) {
    ++round;
    bootstrap_through_another(user->cluster_id(), Lsn{10u * round}, round);
    const auto written = marker().value_or("none");
    const auto back = apply({{as_put ? Operation::put(written, "") : Operation::erase(written)}});
    EXPECT_EQ(refusal(back), "UnsupportedOperation");
    EXPECT_NE(back.error().message().find("comes back to it"), std::string::npos) << back.error().message();
    EXPECT_FALSE(marker());
    // A loop that was mended since is none: the source's log still has it.
    must(apply({{Operation::erase(written)}}));
  }
}

TEST_F(EtcdLoops, what_it_wrote_comes_back_in_a_snapshot_and_nothing_is_written) {
  bootstrap_through_another(user->cluster_id());
  const auto written = marker().value_or("none");
  receive(snapshot_of({{key_of(1), "other"}, {written, ""}}), Lsn{20}, 2);
  EXPECT_EQ(refusal(mirror->switch_snapshot()), "UnsupportedOperation");
  EXPECT_EQ(contents(), (Contents{{key_of(1), "1"}}));
}

TEST_F(EtcdLoops, a_marker_that_stands_is_no_difference_and_no_write_of_another_and_does_not_outlive_a_promotion) {
  bootstrap_through_another(user->cluster_id());
  ASSERT_TRUE(marker());
  Contents shown;
  must(must(mirror->view())->scan("", std::nullopt, [&](const KeyValue& pair) {
    shown.emplace(pair.key, pair.value);
    return true;
  }));
  EXPECT_EQ(shown, (Contents{{key_of(1), "1"}}));
  // In a cluster that only has the id of the root's nothing comes back.
  must(apply_put(key_of(2), "2"));
  EXPECT_TRUE(marker());
  must(mirror->promote("prod-us", "registry"));
  EXPECT_FALSE(marker());
  EXPECT_EQ(contents(), (Contents{{key_of(1), "1"}, {key_of(2), "2"}}));
  EXPECT_EQ(mirror->counters().external_writes, 0u);
}

TEST_F(EtcdLoops, a_source_that_gives_the_same_again_and_again_is_looked_for) {
  bootstrap({{key_of(1), "1"}}, Lsn{10});
  constexpr int rounds = 30;
  for (int i = 0; i < rounds; ++i) {
    EXPECT_FALSE(marker()) << i;
    must(apply_put(key_of(2), std::to_string(i)));
  }
  for (int i = 0; i < rounds; ++i)
    must(apply_put(key_of(2), "same"));
  EXPECT_EQ(refusal(apply_put(marker().value_or("none"))), "UnsupportedOperation");
}

TEST_F(EtcdLoops, a_copy_of_anothers_marker_goes_with_the_mirror) {
  bootstrap({{key_of(1), "1"}}, Lsn{10});
  must(apply_put(prefix + etcd::new_loop_marker()));
  EXPECT_TRUE(marker());
  mirror.reset();
  eventually([&] { return !marker(); });
}

TEST(EtcdLoopMarker, is_told_by_the_end_of_its_key) {
  EXPECT_TRUE(etcd::is_loop_marker(etcd::new_loop_marker()));
  EXPECT_TRUE(etcd::is_loop_marker("/a/" + etcd::new_loop_marker()));
  EXPECT_NE(etcd::new_loop_marker(), etcd::new_loop_marker());
  for (const auto* other :
       {"", "/a/crosslink-loop-", "/a/crosslink-loop-0123", "crosslink-loop-0123456789abcdef0123456789abcdeg"})
    EXPECT_FALSE(etcd::is_loop_marker(other)) << other;
}

TEST(EtcdReturnedWrites, are_those_of_the_same_value_and_held_while_many_others_come) {
  etcd::ReturnedWrites written;
  const std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now();
  EXPECT_FALSE(written.note("a", "1", now));
  EXPECT_TRUE(written.note("a", "1", now));
  EXPECT_FALSE(written.note("a", "2", now));
  for (int i = 0; i < 100'000; ++i)
    written.note("k" + std::to_string(i), "1", now);
  EXPECT_TRUE(written.note("a", "2", now + 1s));
}

}  // namespace
}  // namespace crosslink::test
