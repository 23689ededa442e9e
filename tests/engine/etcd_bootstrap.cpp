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

/// Is it a page of the target's data?
bool is_page(const RangeRequest& request) {
  return request.key().starts_with("/registry/") && !request.range_end().empty();
}

/// Without the keys whose number can be divided by seven, with one more, and every eleventh with another value.
Contents changed(Contents contents) {
  std::size_t number = 0;
  for (auto pair = contents.begin(); pair != contents.end(); ++number) {
    if (number % 11 == 0) pair->second = "changed";
    pair = number % 7 == 0 ? contents.erase(pair) : std::next(pair);
  }
  contents.emplace("/registry/added", "1");
  return contents;
}

TEST_F(EtcdMirror, compactions_of_the_target_do_not_stop_a_bootstrap) {
  open();
  bootstrap(many_keys(2000), Lsn{10});
  gate.before_range([&](const RangeRequest& request) {
    if (!is_page(request)) return grpc::Status::OK;
    ++seen;
    must(user->compact(put("/elsewhere", "1")));
    return grpc::Status::OK;
  });
  const auto contents = changed(many_keys(2000));
  bootstrap(contents, Lsn{20}, 2);
  EXPECT_EQ(this->contents(), contents);
  EXPECT_GE(seen, 4);  // of the data, and of the keys once more for what is deleted
}

TEST_F(EtcdMirror, a_bootstrap_writes_only_what_differs) {
  open();
  const auto contents = many_keys(700);
  bootstrap(contents, Lsn{10});
  std::map<std::string, std::int64_t> before;
  for (const auto& pair : below(prefix))
    before.emplace(pair.key(), pair.mod_revision());
  const auto first = revision();
  const auto wanted = changed(contents);
  bootstrap(wanted, Lsn{20}, 2);
  EXPECT_EQ(this->contents(), wanted);
  for (const auto& pair : below(prefix)) {
    if (pair.value() != "x") continue;
    EXPECT_EQ(pair.mod_revision(), before.at(pair.key())) << pair.key();
  }
  // The record is marked, what differs is written, what is left over is deleted, the record says so.
  EXPECT_EQ(revision(), first + 4);
  bootstrap(wanted, Lsn{30}, 3);
  EXPECT_EQ(revision(), first + 6);
}

TEST_F(EtcdMirror, what_others_write_behind_a_bootstrap_is_mended_before_the_switch) {
  open();
  bootstrap(many_keys(2000), Lsn{10});
  gate.before_range([&](const RangeRequest& request) {
    // Before the second page, when the keys of the first have been compared.
    if (is_page(request) && ++seen == 2) {
      put(key_of(1), "forged");
      erase(key_of(2));
      put(key_of(3) + "/new", "forged");
    }
    return grpc::Status::OK;
  });
  auto contents = many_keys(2000);
  contents["/registry/last"] = "1";
  bootstrap(contents, Lsn{20}, 2);
  EXPECT_EQ(this->contents(), contents);
}

TEST_F(EtcdMirror, a_write_of_others_at_the_end_of_a_bootstrap_is_shown_and_its_own_are_not) {
  open();
  bootstrap(many_keys(3000), Lsn{10});
  gate.before_txn([&](const TxnRequest& request) {
    if (!touches(request, etcd::record_key(mirror_name))) return grpc::Status::OK;
    // The record is written at the beginning, and at the end.
    if (++seen == 2) put(key_of(100), "forged");
    return grpc::Status::OK;
  });
  put("/elsewhere", "1");
  bootstrap(changed(many_keys(3000)), Lsn{20}, 2);
  eventually([&] { return mirror->counters().external_writes > 0; });
  EXPECT_EQ(mirror->counters().external_writes, 1U);
  EXPECT_NE(mirror->detail().find(key_of(100)), std::string::npos) << mirror->detail();
}

TEST_F(EtcdMirror, a_bootstrap_done_again_is_not_taken_for_writes_of_others) {
  open();
  gate.before_txn([&](const TxnRequest& request) {
    // The first attempt fails at its end.
    const bool last =
        touches(request, etcd::record_key(mirror_name)) && touches(request, etcd::bootstrap_key(mirror_name));
    return last && ++seen <= 3 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "for the test") : grpc::Status::OK;
  });
  receive(snapshot_of(many_keys(2000)), Lsn{10});
  EXPECT_EQ(refusal(mirror->switch_snapshot()), "Storage");
  must(mirror->switch_snapshot());
  put(key_of(0), "forged");
  eventually([&] { return mirror->counters().external_writes > 0; });
  EXPECT_EQ(mirror->counters().external_writes, 1U);
}

}  // namespace
}  // namespace crosslink::test
