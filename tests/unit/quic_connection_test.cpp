#include <unistd.h>

#include <fstream>

#include "quic_fixture.hpp"

namespace crosslink::test {
namespace {

using quic::SendBuffer;

class QuicConnections : public QuicTest {
 public:
  awaitable<MirrorError> refused_dial(quic::Address address, std::string name, quic::ClientConfig config) {
    auto dialled = co_await endpoint.connect(address, std::move(name), config);
    if (!dialled) co_return dialled.error();
    // A source refuses a client's certificate only after the client is connected.
    need(co_await dialled->closed());
    co_return *dialled->end_reason();
  }
};

TEST_F(QuicConnections, both_sides_know_each_others_names_and_facts) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    auto pair = co_await test.connected(listener);
    EXPECT_EQ(pair.mirror.peer_names(), std::vector<std::string>{"prod-us"});
    EXPECT_EQ(pair.source.peer_names(), std::vector<std::string>{"eu-1"});
    EXPECT_EQ(pair.mirror.alpn(), "crosslink/1");
    EXPECT_EQ(pair.mirror.remote_address(), listener.local_address());
    EXPECT_EQ(pair.source.remote_address(), pair.mirror.local_address());
    const auto facts = pair.mirror.facts();
    EXPECT_EQ(facts.tls_version, "TLS 1.3");
    EXPECT_TRUE(facts.cipher_suite.starts_with("TLS_")) << facts.cipher_suite;
    EXPECT_EQ(facts.congestion, "bbr");
    EXPECT_GT(facts.round_trip.count(), 0);
    EXPECT_GT(facts.handshake.count(), 0);
    EXPECT_GT(facts.bytes_sent, 0u);
    EXPECT_GT(facts.congestion_window_bytes, 0u);
    EXPECT_GE(facts.mtu, 1200u);
    pair.mirror.close(0);
    need(co_await pair.source.closed());
    EXPECT_TRUE(co_await eventually([&] { return pair.source.facts().bytes_received > 0; }));
  }(*this));
}

TEST_F(QuicConnections, close_says_which_side_closed_and_with_which_code) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    auto pair = co_await test.connected(listener);
    auto waiting = Background<Result<quic::BidiStream>>(test.context.get_executor(), pair.source.accept_bidi_stream());
    pair.mirror.close(0x06);
    pair.mirror.close(0x08);
    const auto at_source = co_await waiting.end();
    EXPECT_EQ(cause(at_source.error()), TransportCause::closed_by_peer);
    EXPECT_EQ(at_source.error().caused_by(), CausedBy::peer);
    EXPECT_EQ(pair.source.close_code(), 0x06u) << "the first code counts";
    EXPECT_EQ(cause(*pair.mirror.end_reason()), TransportCause::closed_locally);
    EXPECT_EQ(pair.mirror.end_reason()->caused_by(), CausedBy::us);
    EXPECT_EQ(cause((co_await pair.mirror.open_bidi_stream()).error()), TransportCause::closed_locally);
  }(*this));
}

TEST_F(QuicConnections, dropping_the_last_handle_closes_the_connection) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    std::optional<Pair> pair = co_await test.connected(listener);
    auto source = pair->source;
    pair.reset();
    need(co_await source.closed());
    EXPECT_EQ(source.close_code(), 0u);
  }(*this));
}

TEST_F(QuicConnections, silence_ends_in_idle_timeout_caused_by_the_transport) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    auto config = test.client_config();
    config.transport.idle_timeout = std::chrono::milliseconds(300);
    config.transport.keep_alive = std::chrono::milliseconds(0);
    auto server = test.server_config();
    server.transport.keep_alive = std::chrono::milliseconds(0);
    auto quiet = need(test.endpoint.listen(loopback(), server));
    auto pair = co_await test.connected(quiet, config);
    need(co_await pair.mirror.closed());
    EXPECT_EQ(cause(*pair.mirror.end_reason()), TransportCause::idle_timeout);
    EXPECT_EQ(pair.mirror.end_reason()->caused_by(), CausedBy::transport);
    EXPECT_FALSE(pair.mirror.close_code().has_value());
  }(*this));
}

TEST_F(QuicConnections, keep_alive_outlives_the_idle_timeout) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    auto config = test.client_config();
    config.transport.idle_timeout = std::chrono::seconds(5);
    config.transport.keep_alive = std::chrono::milliseconds(100);
    auto pair = co_await test.connected(listener, config);
    boost::asio::steady_timer timer(test.context, std::chrono::seconds(6));
    co_await timer.async_wait(boost::asio::use_awaitable);
    EXPECT_FALSE(pair.mirror.end_reason().has_value());
  }(*this));
}

TEST_F(QuicConnections, a_port_without_a_listener_is_unreachable) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    quic::Address address;
    {
      auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
      address = listener.local_address();
    }
    const auto error = co_await test.refused_dial(address, "prod-us", test.client_config());
    EXPECT_EQ(cause(error), TransportCause::unreachable) << error.message();
    EXPECT_EQ(error.caused_by(), CausedBy::transport);
  }(*this));
}

TEST_F(QuicConnections, an_address_to_which_there_is_no_way_is_unreachable_at_once) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    // No socket may send to it: it needs a right that was not asked for.
    const quic::Address everybody(boost::asio::ip::address_v4::broadcast(), 7400);
    const auto began = std::chrono::steady_clock::now();
    const auto error = co_await test.refused_dial(everybody, "prod-us", test.client_config());
    EXPECT_EQ(cause(error), TransportCause::unreachable);
    EXPECT_EQ(error.caused_by(), CausedBy::transport);
    EXPECT_NE(error.message().find("255.255.255.255:7400"), std::string::npos) << error.message();
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(8));
  }(*this));
}

TEST_F(QuicConnections, dialling_can_be_cancelled) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    boost::asio::ip::udp::socket silent(test.context, loopback());
    auto dialling = Background<Result<quic::Connection>>(
        test.context.get_executor(), test.endpoint.connect(silent.local_endpoint(), "prod-us", test.client_config()));
    co_await boost::asio::post(test.context, boost::asio::use_awaitable);
    dialling.cancel();
    EXPECT_EQ((co_await dialling.end()).error().kind(), ErrorKind::Cancelled);
  }(*this));
}

TEST_F(QuicConnections, a_mirror_refuses_a_source_of_another_name) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    const auto error = co_await test.refused_dial(listener.local_address(), "prod-eu", test.client_config());
    EXPECT_EQ(error.kind(), ErrorKind::TlsRefused);
    EXPECT_EQ(error.caused_by(), CausedBy::us);
    EXPECT_NE(error.message().find("prod-us"), std::string::npos) << error.message();
  }(*this));
}

TEST_F(QuicConnections, names_match_without_regard_to_case) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    need(co_await test.endpoint.connect(listener.local_address(), "PROD-US", test.client_config()));
  }(*this));
}

TEST_F(QuicConnections, a_mirror_refuses_a_source_of_another_ca_and_the_source_a_mirror_of_another_ca) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    const Certificates others({"prod-us", "eu-1"});
    auto of_other_ca = test.server_config();
    of_other_ca.tls = others.files("prod-us");
    auto other_ca_listener = need(test.endpoint.listen(loopback(), of_other_ca));
    const auto by_us = co_await test.refused_dial(other_ca_listener.local_address(), "prod-us", test.client_config());
    EXPECT_EQ(by_us.kind(), ErrorKind::TlsRefused);
    EXPECT_EQ(by_us.caused_by(), CausedBy::us) << by_us.message();

    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    auto config = test.client_config();
    config.tls = others.files("eu-1");
    config.tls.ca = test.certificates.files("eu-1").ca;
    const auto by_peer = co_await test.refused_dial(listener.local_address(), "prod-us", config);
    EXPECT_EQ(by_peer.kind(), ErrorKind::TlsRefused);
    EXPECT_EQ(by_peer.caused_by(), CausedBy::peer) << by_peer.message();
  }(*this));
}

TEST_F(QuicConnections, a_denied_serial_is_refused_by_either_side_from_the_next_handshake_on) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    const auto at_source = std::make_shared<quic::DeniedSerials>(), at_mirror = std::make_shared<quic::DeniedSerials>();
    auto server = test.server_config();
    server.tls.denied = at_source;
    auto listener = need(test.endpoint.listen(loopback(), server));
    auto client = test.client_config();
    client.tls.denied = at_mirror;
    auto before = co_await test.connected(listener, client);
    at_source->set({before.source.peer_certificate_serial()});
    const auto by_source = co_await test.refused_dial(listener.local_address(), "prod-us", client);
    EXPECT_EQ(by_source.kind(), ErrorKind::TlsRefused);
    EXPECT_EQ(by_source.caused_by(), CausedBy::peer) << by_source.message();
    at_source->set({});
    at_mirror->set({before.mirror.peer_certificate_serial()});
    const auto by_mirror = co_await test.refused_dial(listener.local_address(), "prod-us", client);
    EXPECT_EQ(by_mirror.kind(), ErrorKind::TlsRefused);
    EXPECT_EQ(by_mirror.caused_by(), CausedBy::us) << by_mirror.message();
    EXPECT_NE(by_mirror.message().find("is denied here"), std::string::npos) << by_mirror.message();
    at_mirror->set({});
    co_await test.connected(listener, client);
    EXPECT_FALSE(before.mirror.end_reason()) << "one that stands is its owner's to end";
  }(*this));
}

TEST_F(QuicConnections, a_dial_goes_on_with_what_it_read_before_while_a_changed_file_cannot_be_used) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    co_await test.connected(listener);
    const auto file = test.certificates.files("eu-1").cert;
    std::ofstream(file, std::ios::trunc) << "garbage";
    co_await test.connected(listener);
    auto never_read = test.client_config();
    never_read.transport.mtu_max = 1400;
    const auto refused = co_await test.endpoint.connect(listener.local_address(), "prod-us", never_read);
    EXPECT_FALSE(refused);
    EXPECT_EQ(refused.error().kind(), ErrorKind::Configuration);
    const std::vector<std::string> also{"eu-2"};
    need(tls::issue(test.certificates.folder(), "eu-1", also, true));
    auto after = co_await test.connected(listener);
    EXPECT_EQ(after.source.peer_names(), (std::vector<std::string>{"eu-1", "eu-2"}));
  }(*this));
}

TEST_F(QuicConnections, no_common_alpn_is_refused) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    auto config = test.client_config();
    config.transport.alpn = {"other/1"};
    const auto error = co_await test.refused_dial(listener.local_address(), "prod-us", config);
    EXPECT_EQ(error.kind(), ErrorKind::TlsRefused) << error.message();
    EXPECT_EQ(error.caused_by(), CausedBy::peer);
    config.transport.alpn = {"other/1", "crosslink/1"};
    auto connection = need(co_await test.endpoint.connect(listener.local_address(), "prod-us", config));
    EXPECT_EQ(connection.alpn(), "crosslink/1");
  }(*this));
}

TEST_F(QuicConnections, one_connection_over_the_limit_is_refused_by_the_transport) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto server = test.server_config();
    server.connections_max = 2;
    auto listener = need(test.endpoint.listen(loopback(), server));
    auto first = co_await test.connected(listener);
    std::optional<Pair> second = co_await test.connected(listener);
    const auto error = co_await test.refused_dial(listener.local_address(), "prod-us", test.client_config());
    EXPECT_EQ(cause(error), TransportCause::refused) << error.message();
    EXPECT_EQ(error.caused_by(), CausedBy::peer);
    second.reset();
    bool again = false;
    while (!again) {
      const auto dialled = co_await test.endpoint.connect(listener.local_address(), "prod-us", test.client_config());
      again = dialled.ok();
    }
    EXPECT_TRUE(again) << "a place is free again once a connection has ended";
  }(*this));
}

TEST_F(QuicConnections, a_port_in_use_is_named) {
  auto listener = need(endpoint.listen(loopback(), server_config()));
  auto second = endpoint.listen(listener.local_address(), server_config());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().kind(), ErrorKind::Configuration);
  EXPECT_NE(second.error().message().find("in use"), std::string::npos) << second.error().message();
}

TEST_F(QuicConnections, settings_that_cannot_be_used_are_configuration_errors_that_name_them) {
  using namespace std::chrono_literals;
  using Break = std::function<void(quic::ClientConfig&, quic::ServerConfig&)>;
  const auto both = [](std::function<void(quic::TransportSettings&)> change) -> Break {
    return [change = std::move(change)](quic::ClientConfig& client, quic::ServerConfig& server) {
      change(client.transport);
      change(server.transport);
    };
  };
  const std::vector<std::pair<std::string, Break>> of_both{
      {"ALPN", both([](auto& transport) { transport.alpn.clear(); })},
      {"ALPN", both([](auto& transport) { transport.alpn = {std::string(256, 'x')}; })},
      {"mtu_max", both([](auto& transport) { transport.mtu_max = 1247; })},
      {"mtu_max", both([](auto& transport) { transport.mtu_max = 1501; })},
      {"idle_timeout", both([](auto& transport) { transport.idle_timeout = 99ms; })},
      {"idle_timeout", both([](auto& transport) { transport.idle_timeout = 600'001ms; })},
      {"keep_alive", both([](auto& transport) { transport.keep_alive = -1ms; })},
      {"keep_alive", both([](auto& transport) { transport.keep_alive = 600'001ms; })},
      {"stream_window_bytes",
       [](auto& client, auto& server) { client.stream_window_bytes = server.stream_window_bytes = 100'000; }},
      {"stream_window_bytes",
       [](auto& client, auto& server) { client.stream_window_bytes = server.stream_window_bytes = 32 * 1024; }}};
  const std::vector<std::pair<std::string, Break>> of_client{
      {"bulk_streams", [](auto& client, auto&) { client.bulk_streams = 0; }},
      {"bulk_streams", [](auto& client, auto&) { client.bulk_streams = 256; }}};
  const std::vector<std::pair<std::string, Break>> of_server{
      {"connection_window_bytes", [](auto&, auto& server) { server.connection_window_bytes = 32 * 1024; }},
      {"streams_before_acceptance", [](auto&, auto& server) { server.streams_before_acceptance = 0; }},
      {"connections_max", [](auto&, auto& server) { server.connections_max = 0; }},
      {"handshake_timeout", [](auto&, auto& server) { server.handshake_timeout = 0ms; }},
      {"handshake_timeout", [](auto&, auto& server) { server.handshake_timeout = 600'001ms; }}};
  const auto expect = [](const auto& result, const std::string& named) {
    ASSERT_FALSE(result.ok()) << named;
    EXPECT_EQ(result.error().kind(), ErrorKind::Configuration) << result.error().message();
    EXPECT_NE(result.error().message().find(named), std::string::npos) << result.error().message();
  };
  run(context, [](QuicConnections& test, auto all, auto clients, auto servers, auto check) -> awaitable<void> {
    clients.insert(clients.end(), all.begin(), all.end());
    servers.insert(servers.end(), all.begin(), all.end());
    for (const auto& [named, change] : clients) {
      auto client = test.client_config();
      auto server = test.server_config();
      change(client, server);
      const auto dialled = co_await test.endpoint.connect(loopback(9), "prod-us", client);
      check(dialled, named);
    }
    for (const auto& [named, change] : servers) {
      auto client = test.client_config();
      auto server = test.server_config();
      change(client, server);
      check(test.endpoint.listen(loopback(), server), named);
    }
  }(*this, of_both, of_client, of_server, expect));
}

TEST_F(QuicConnections, the_longest_times_allowed_are_taken) {
  auto server = server_config();
  server.transport.idle_timeout = server.transport.keep_alive = server.handshake_timeout = std::chrono::minutes(10);
  auto longest = need(endpoint.listen(loopback(), server));
  server.transport.keep_alive = std::chrono::milliseconds(0);
  auto silent = need(endpoint.listen(loopback(), server));
  EXPECT_NE(longest.local_address().port(), silent.local_address().port());
}

TEST_F(QuicConnections, unusable_files_are_named) {
  auto config = server_config();
  config.tls.key = certificates.folder() / "nowhere.key";
  auto missing = endpoint.listen(loopback(), config);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().kind(), ErrorKind::Configuration);
  EXPECT_NE(missing.error().message().find("nowhere.key"), std::string::npos) << missing.error().message();
}

TEST_F(QuicConnections, renewed_certificates_are_used_without_a_restart) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    auto before = co_await test.connected(listener);
    EXPECT_EQ(before.source.peer_names(), std::vector<std::string>{"eu-1"});
    const std::vector<std::string> also{"eu-2"};
    need(tls::issue(test.certificates.folder(), "eu-1", also, true));
    need(tls::issue(test.certificates.folder(), "prod-us", also, true));
    need(listener.reload(test.certificates.files("prod-us")));
    auto after = co_await test.connected(listener);
    EXPECT_EQ(after.source.peer_names(), (std::vector<std::string>{"eu-1", "eu-2"}));
    EXPECT_EQ(after.mirror.peer_names(), (std::vector<std::string>{"prod-us", "eu-2"}));
  }(*this));
}

TEST_F(QuicConnections, closing_a_listener_ends_accept_and_keeps_accepted_connections) {
  run(context, [](QuicConnections& test) -> awaitable<void> {
    auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
    auto pair = co_await test.connected(listener);
    auto accepting = Background<Result<quic::Connection>>(test.context.get_executor(), listener.accept());
    co_await boost::asio::post(test.context, boost::asio::use_awaitable);
    listener.close();
    listener.close();
    EXPECT_EQ((co_await accepting.end()).error().kind(), ErrorKind::NotConnected);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    need(co_await mirror.send.write(SendBuffer(pattern(1))));
    need(co_await pair.source.accept_bidi_stream());
  }(*this));
}

TEST_F(QuicConnections, an_endpoint_that_goes_ends_what_waits_on_it) {
  boost::asio::io_context other;
  std::optional<quic::Endpoint> local = need(quic::Endpoint::open());
  std::optional<Result<quic::Connection>> accepted;
  auto accepting = [](quic::Endpoint& from, const quic::ServerConfig& config,
                      std::optional<Result<quic::Connection>>& result) -> awaitable<void> {
    auto listener = need(from.listen(loopback(), config));
    auto executor = co_await boost::asio::this_coro::executor;
    auto accept = Background<Result<quic::Connection>>(executor, listener.accept());
    co_await boost::asio::post(boost::asio::use_awaitable);
    listener.close();
    result = co_await accept.end();
  };
  run(other, accepting(*local, server_config(), accepted));
  local.reset();
  ASSERT_TRUE(accepted.has_value());
  EXPECT_FALSE(accepted->ok());
}

TEST(Addresses, are_parsed_or_refused_with_a_sentence) {
  for (const char* good : {"localhost:7400", "127.0.0.1:0", "[::1]:65535", "prod-us.example:7400"}) {
    EXPECT_TRUE(quic::parse_host_port(good).ok()) << good;
  }
  EXPECT_EQ(need(quic::parse_host_port("[::1]:5")).host, "::1");
  for (const char* bad :
       {"", "localhost", ":7400", "host:", "host:65536", "host:-1", "host:7x", "::1:5", "[::1]", "[x]:1", "a b:1"}) {
    const auto parsed = quic::parse_host_port(bad);
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_EQ(parsed.error().kind(), ErrorKind::Configuration);
  }
}

}  // namespace
}  // namespace crosslink::test
