#include "quic/name_lookup.hpp"

#include <latch>

#include "quic_fixture.hpp"

namespace crosslink::test {
namespace {

using quic::detail::lookups_max;
using quic::detail::resolve_with;

/// A resolver that answers no sooner than it is told to. It outlives the test: its threads are not joined.
struct HangingResolver {
  std::shared_ptr<std::latch> released = std::make_shared<std::latch>(1);
  std::shared_ptr<std::latch> ended;
  explicit HangingResolver(int lookups) : ended(std::make_shared<std::latch>(lookups)) {}
  quic::detail::BlockingLookup lookup() const {
    return [released = released, ended = ended](const std::string&,
                                                std::uint16_t port) -> Result<std::vector<quic::Address>> {
      released->wait();
      ended->count_down();
      return std::vector{quic::Address(boost::asio::ip::make_address("192.0.2.1"), port),
                         quic::Address(boost::asio::ip::make_address("2001:db8::1"), port)};
    };
  }
  void release() const {
    released->count_down();
    ended->wait();
  }
};

class NameLookup : public ::testing::Test {
 public:
  boost::asio::io_context context;
};

TEST_F(NameLookup, an_answer_reaches_who_waits_for_it) {
  const HangingResolver resolver(1);
  run(context, [](boost::asio::io_context& loop, const HangingResolver& hanging) -> awaitable<void> {
    Background<Result<std::vector<quic::Address>>> looking(loop.get_executor(),
                                                           resolve_with({"source.example", 7400}, hanging.lookup()));
    hanging.release();
    const auto addresses = need(co_await looking.end());
    const std::vector expected{quic::Address(boost::asio::ip::make_address("192.0.2.1"), 7400),
                               quic::Address(boost::asio::ip::make_address("2001:db8::1"), 7400)};
    EXPECT_EQ(addresses, expected);
  }(context, resolver));
}

TEST_F(NameLookup, hanging_lookups_are_bounded_and_addresses_need_none) {
  const HangingResolver resolver(lookups_max);
  run(context, [](boost::asio::io_context& loop, const HangingResolver& hanging) -> awaitable<void> {
    std::vector<Background<Result<std::vector<quic::Address>>>> looking;
    looking.reserve(lookups_max);
    for (int i = 0; i < lookups_max; ++i)
      looking.emplace_back(loop.get_executor(), resolve_with({"source.example", 7400}, hanging.lookup()));
    // They begin in their order, so this one comes last.
    Background<Result<std::vector<quic::Address>>> one_more(loop.get_executor(),
                                                            resolve_with({"source.example", 7400}, hanging.lookup()));
    const auto refused = co_await one_more.end();
    EXPECT_EQ(refused.ok() ? std::nullopt : refused.error().transport_cause(), TransportCause::unresolved);
    auto parsing = resolve_with({"127.0.0.1", 1}, hanging.lookup());
    const auto literal = co_await std::move(parsing);
    EXPECT_EQ(need(literal), std::vector{loopback(1)});
    for (auto& one : looking)
      one.cancel();
    for (auto& one : looking) {
      const auto ended = co_await one.end();
      EXPECT_EQ(ended.ok() ? "an address" : to_string(ended.error().kind()), "Cancelled");
    }
  }(context, resolver));
  resolver.release();
}

TEST_F(NameLookup, the_system_knows_localhost_and_says_what_it_does_not_know) {
  const auto known = quic::detail::look_up_in_system("localhost", 7400);
  ASSERT_TRUE(known.ok()) << known.error().message();
  for (const auto& address : *known) {
    EXPECT_TRUE(address.address().is_loopback());
    EXPECT_EQ(address.port(), 7400);
    EXPECT_EQ(std::ranges::count(*known, address), 1) << "each once";
  }
  const auto unknown = quic::detail::look_up_in_system("nowhere.invalid", 7400);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().transport_cause(), TransportCause::unresolved);
  EXPECT_NE(unknown.error().message().find("nowhere.invalid"), std::string::npos);
}

}  // namespace
}  // namespace crosslink::test
