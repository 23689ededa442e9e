// Snapshots of a root in etcd whose pages a compaction passes.
#include "engine/etcd_fixture.hpp"

namespace crosslink::test {
namespace {

TEST_F(EtcdMirror, a_snapshot_passed_by_a_compaction_goes_on_newer_and_the_log_makes_up_for_it) {
  etcd::TxnBuilder builder;
  for (const auto& [key, value] : many_keys(1500))  // the first page has 500
    builder.put(key, value);
  must(user->txn(builder.build()));
  auto chosen = options("root");
  chosen.prefix = prefix;
  chosen.crosslink_cluster = "prod-us";
  const auto root = must(EtcdDatabase::open_root(chosen));
  std::atomic<std::int64_t> passed = 0;
  gate.before_range([&](const etcd::wire::RangeRequest& request) {
    const bool page = !request.keys_only() && request.key().starts_with(prefix) && !request.range_end().empty();
    if (page && ++seen == 2) {
      put(key_of(1), "newer");
      put(key_of(1200), "newer");
      erase(key_of(1300));
      passed = revision();
      must(root->wait_for({static_cast<std::uint64_t>(passed)}));  // its watch is not passed as well
      must(user->compact(passed));
    }
    return grpc::Status::OK;
  });
  const auto reader = open_kv(*root);
  const auto begun = reader->facts().snapshot_lsn;
  const auto bytes = read_snapshot(*reader, std::size_t{64} * 1024);
  const auto end = must(reader->read(bytes.size(), 1));
  ASSERT_TRUE(end.done);
  EXPECT_EQ(end.consistent_lsn, Lsn{static_cast<std::uint64_t>(passed.load())});
  EXPECT_GT(end.consistent_lsn, begun);
  const auto received = contents_of_kv(bytes);
  EXPECT_EQ(received.at(key_of(1)), "x");
  EXPECT_EQ(received.at(key_of(1200)), "newer");
  EXPECT_FALSE(received.contains(key_of(1300)));
  must(root->wait_for(*end.consistent_lsn));
  EXPECT_EQ(replay(received, read_log_to_head(*root, begun, 1000)), contents());
  gate.before_range({});
}

}  // namespace
}  // namespace crosslink::test
