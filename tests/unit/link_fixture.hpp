// A source and a link to it on loopback, for tests of src/link and src/replication.
#pragma once

#include "crosslink/link.hpp"
#include "crosslink/source.hpp"
#include "link/link_options.hpp"
#include "quic_fixture.hpp"

namespace crosslink::test {

using namespace std::chrono_literals;

/// A MirrorAcceptor that serves until stop().
class RunningSource {
 public:
  RunningSource(boost::asio::any_io_executor executor, quic::Listener listener, SourcePolicy policy,
                AcceptorLimits limits = {}, MirrorAcceptor::Session session = refuse_all_requests,
                MirrorAcceptor::Callbacks callbacks = {})
      : acceptor_(std::move(listener), std::move(policy), limits, std::move(session), std::move(callbacks)),
        running_(executor, acceptor_.run()) {}
  awaitable<Result<void>> stop() {
    acceptor_.stop();
    co_return co_await running_.end();
  }
  MirrorAcceptor& acceptor() { return acceptor_; }
  quic::Address address() const { return acceptor_.local_address(); }

 private:
  MirrorAcceptor acceptor_;
  Background<Result<void>> running_;
};

inline std::string text_of(const quic::Address& address) {
  return address.address().to_string() + ":" + std::to_string(address.port());
}

inline std::vector<std::byte> hello_frame(const MirrorHello& hello) { return need(encode_frame(hello)); }

class LinkTest : public QuicTest {
 public:
  const ClusterId cluster{"prod-us"};
  const DatabaseId database{"orders"};

  quic::ServerConfig source_config() const {
    quic::ServerConfig config;
    config.tls = certificates.files("prod-us");
    return config;
  }
  quic::Listener listen(std::uint16_t port = 0) { return need(endpoint.listen(loopback(port), source_config())); }

  /// Knows the database `orders`; databases whose names begin with "secret" are for no mirror.
  SourcePolicy policy() const {
    SourcePolicy policy;
    policy.cluster_id = cluster;
    policy.authorize = [](std::span<const std::string>, const DatabaseId& asked) {
      return !asked.str().starts_with("secret");
    };
    policy.database_exists = [](const DatabaseId& asked) { return asked.str() == "orders"; };
    return policy;
  }

  static link::LinkOptions quick() {
    link::LinkOptions options;
    options.backoff_base = 10ms;
    options.backoff_cap = 40ms;
    options.seed = 7;
    return options;
  }
  std::unique_ptr<CrossClusterLink> make_link(std::string addresses, link::LinkOptions options = quick(),
                                              std::string cluster_id = "prod-us", std::string database_id = "orders") {
    return link::make_link({ClusterId(std::move(cluster_id)), DatabaseId(std::move(database_id)), std::move(addresses)},
                           endpoint, client_config(), SendThrottle(1000), options);
  }

  template <class T>
  Background<T> begin(awaitable<T> work) {
    return Background<T>(context.get_executor(), std::move(work));
  }
};

template <class T>
ErrorKind kind_of(const Result<T>& result) {
  return result.ok() ? throw std::runtime_error("an error was expected") : result.error().kind();
}

}  // namespace crosslink::test
