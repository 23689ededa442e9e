#include <latch>

#include "async/with_timeout.hpp"
#include "quic/name_lookup.hpp"
#include "regress.hpp"

namespace crosslink::test {
namespace {

// Symptom: `ping --timeout 1` took 20 s when the DNS did not answer, and close() and the exit waited as long.
TEST_F(Regress, a_hanging_name_lookup_ignored_the_deadline) {
  struct Resolver {
    std::latch released{1}, ended{1};
  };
  const auto resolver = std::make_shared<Resolver>();
  run(
      context,
      [](std::shared_ptr<Resolver> hanging) -> awaitable<void> {
        auto lookup = [hanging](const std::string&, std::uint16_t port) -> Result<std::vector<quic::Address>> {
          hanging->released.wait();
          hanging->ended.count_down();
          return std::vector{loopback(port)};
        };
        auto looking = quic::detail::resolve_with(quic::HostPort{"source.example", 7400}, lookup);
        auto late = MirrorError::timeout("too late");
        const auto address = co_await async::with_timeout(std::move(looking), 50ms, std::move(late));
        EXPECT_EQ(kind_of(address), ErrorKind::Timeout);
      }(resolver),
      5s);
  resolver->released.count_down();
  resolver->ended.wait();
}

}  // namespace
}  // namespace crosslink::test
