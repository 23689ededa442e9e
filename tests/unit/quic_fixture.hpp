// A source and a mirror end on loopback, for tests of src/quic.
#pragma once

#include "crosslink/quic/endpoint.hpp"
#include "support/certificates.hpp"
#include "support/coroutines.hpp"

namespace crosslink::test {

inline quic::Address loopback(std::uint16_t port = 0) { return {boost::asio::ip::make_address_v4("127.0.0.1"), port}; }

inline std::vector<std::byte> pattern(std::size_t bytes) {
  std::vector<std::byte> result(bytes);
  for (std::size_t i = 0; i < bytes; ++i)
    result[i] = static_cast<std::byte>((i * 131 + i / 251) & 0xff);
  return result;
}

/// The value, or a test failure by exception with the error's sentence.
template <class T>
T need(Result<T> result) {
  if (!result)
    throw std::runtime_error(std::string(to_string(result.error().kind())) + ": " + result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

struct Pair {
  quic::Connection mirror;
  quic::Connection source;
};

class QuicTest : public ::testing::Test {
 public:
  // The context first and the endpoint after it: what waits ends with the endpoint, while the context still stands.
  boost::asio::io_context context;
  Certificates certificates{{"prod-us", "eu-1"}};
  quic::Endpoint endpoint = need(quic::Endpoint::open());

  quic::ServerConfig server_config() const {
    quic::ServerConfig config;
    config.tls = certificates.files("prod-us");
    config.streams_before_acceptance = 8;
    config.transport.uni_streams_allowed = 4;
    return config;
  }
  quic::ClientConfig client_config() const {
    quic::ClientConfig config;
    config.tls = certificates.files("eu-1");
    return config;
  }
  awaitable<Pair> connected(quic::Listener& listener, quic::ClientConfig config) {
    auto accepting = Background<Result<quic::Connection>>(context.get_executor(), listener.accept());
    auto mirror = need(co_await endpoint.connect(listener.local_address(), "prod-us", config));
    auto source = need(co_await accepting.end());
    co_return Pair{mirror, source};
  }
  awaitable<Pair> connected(quic::Listener& listener) { return connected(listener, client_config()); }
};

inline std::optional<TransportCause> cause(const MirrorError& error) { return error.transport_cause(); }

inline awaitable<std::vector<std::byte>> read_all(quic::RecvStream& stream) {
  std::vector<std::byte> all;
  for (;;) {
    auto view = need(co_await stream.read());
    for (std::size_t i = 0; i < view.piece_count; ++i)
      all.insert(all.end(), view.pieces[i].begin(), view.pieces[i].end());
    stream.consume(view.total_bytes);
    if (view.end) co_return all;
  }
}

}  // namespace crosslink::test
