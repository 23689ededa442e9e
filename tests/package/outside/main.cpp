// The program of a user of the library: says which crosslink it was built with, starts the transport, dials with
// certificate files that do not exist, and prints the error's kind.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <crosslink/link.hpp>
#include <crosslink/version.hpp>
#include <exception>
#include <iostream>

static_assert(CROSSLINK_VERSION_NUMBER == crosslink::version_number);

namespace {

crosslink::awaitable<void> dial(crosslink::CrossClusterLink& link) {
  const auto ack = co_await link.connect(crosslink::Lsn{7});
  std::cout << "connect: " << (ack ? "accepted" : crosslink::to_string(ack.error().kind())) << '\n';
}

}  // namespace

int main() {
  std::cout << "built with crosslink " << crosslink::version_text << '\n';
  boost::asio::io_context context;
  const auto endpoint = crosslink::quic::Endpoint::open();
  if (!endpoint) {
    std::cerr << endpoint.error().message() << '\n';
    return 1;
  }
  crosslink::quic::ClientConfig config;
  config.tls = {"no-such/ca.pem", "no-such/eu-1.pem", "no-such/eu-1.key"};
  crosslink::CrossClusterLink link(crosslink::ClusterId("us-1"), crosslink::DatabaseId("orders"), "127.0.0.1:9",
                                   *endpoint, config);
  boost::asio::co_spawn(context, dial(link), [](const std::exception_ptr& failure) {
    if (failure) {
      std::rethrow_exception(failure);
    }
  });
  context.run();
  return 0;
}
