// Bootstraps of a mirror in etcd: what is written, in which transactions, and what others do to the target meanwhile.
#include "engine/etcd_fixture.hpp"

namespace crosslink::test {
namespace {

using etcd::wire::RangeRequest;
using etcd::wire::TxnRequest;

constexpr std::size_t kib = 1024;

TEST_F(EtcdMirror, a_large_value_after_many_small_ones_is_bootstrapped) {
  auto contents = many_keys(500, kib - 100);
  contents.emplace("/registry/large", std::string(1400 * kib, 'x'));
  open();
  bootstrap(contents, Lsn{10});
  EXPECT_EQ(this->contents(), contents);
}

TEST_F(EtcdMirror, a_value_over_the_targets_limit_is_named_by_the_bootstrap) {
  auto contents = many_keys(3);
  contents.emplace("/registry/larger\n", std::string(1600 * kib, 'x'));
  contents.emplace("/registry/zz", "1");
  open();
  receive(snapshot_of(contents), Lsn{10});
  const auto switched = mirror->switch_snapshot();
  EXPECT_EQ(refusal(switched), "UnsupportedOperation");
  const auto& message = switched.error().message();
  EXPECT_NE(message.find("\"/registry/larger\\x0a\""), std::string::npos) << message;
  EXPECT_NE(message.find("1638400 bytes"), std::string::npos) << message;
  EXPECT_NE(message.find("--max-request-bytes"), std::string::npos) << message;
  EXPECT_FALSE(mirror->mirror_state().position);
}

}  // namespace
}  // namespace crosslink::test
