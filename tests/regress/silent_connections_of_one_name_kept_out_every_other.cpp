#include "regress.hpp"

namespace crosslink::test {
namespace {

// Symptom: a mirror with a certificate of its own waited out its deadline while another name's connections stood silent
// in every place for handshakes. Method: 300 silent connections of one name, more than there are places; then another
// name connects.
TEST_F(Regress, silent_connections_of_one_name_kept_out_every_other) {
  run(context, [](Regress& test) -> awaitable<void> {
    constexpr int silent_count = 300;
    test.certificates.add("eu-2");
    auto policy = test.policy();
    policy.hello_deadline = 20s;
    RunningSource source(test.context.get_executor(), test.listen(), policy);
    std::vector<quic::Connection> silent;
    for (int i = 0; i < silent_count; ++i)
      silent.push_back(need(co_await test.endpoint.connect(source.address(), "prod-us", test.client_config())));
    auto config = test.client_config();
    config.tls = test.certificates.files("eu-2");
    auto other = link::make_link({test.cluster, test.database, text_of(source.address())}, test.endpoint, config,
                                 SendThrottle(), {});
    const auto connected = co_await other->connect(Lsn{0});
    EXPECT_TRUE(connected.ok()) << connected.error().message();
    const auto refused = [&silent] {
      return std::ranges::count_if(silent, [](const auto& one) { return one.close_code() == 0x08u; });
    };
    const auto share = AcceptorLimits{}.handshakes_per_name_max;
    EXPECT_TRUE(co_await eventually([&] { return refused() == silent_count - share; })) << refused();
    auto same_name = test.make_link(text_of(source.address()));
    const auto busy = co_await same_name->connect(Lsn{0});
    EXPECT_EQ(kind_of(busy), ErrorKind::Busy) << busy.error().message();
    need(co_await source.stop());
  }(*this));
}

// Symptom: a connection that waited for a place was given the whole hello_deadline again once it had one. Method: one
// place, two silent connections: both end within one deadline and a half.
TEST_F(Regress, the_deadline_of_a_hello_began_only_with_a_place) {
  run(context, [](Regress& test) -> awaitable<void> {
    auto policy = test.policy();
    policy.hello_deadline = 6s;
    RunningSource source(test.context.get_executor(), test.listen(), policy, {.handshakes_max = 1});
    auto first = need(co_await test.endpoint.connect(source.address(), "prod-us", test.client_config()));
    auto second = need(co_await test.endpoint.connect(source.address(), "prod-us", test.client_config()));
    const auto began = std::chrono::steady_clock::now();
    need(co_await first.closed());
    need(co_await second.closed());
    EXPECT_LT(std::chrono::steady_clock::now() - began, 9s);
    EXPECT_EQ(second.close_code(), 0x11u);
    need(co_await source.stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
