#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "link_fixture.hpp"
#include "support/reserved_port.hpp"

namespace crosslink::test {
namespace {

using quic::SendBuffer;

class Reconnect : public LinkTest {
 public:
  /// A port that nothing listens at now.
  std::uint16_t free_port() { return reserved_.emplace_back().number(); }

  std::unique_ptr<RunningSource> source_at(std::uint16_t port, SourcePolicy policy) {
    return std::make_unique<RunningSource>(context.get_executor(), listen(port), std::move(policy));
  }
  std::unique_ptr<RunningSource> source_at(std::uint16_t port = 0) { return source_at(port, policy()); }

  static link::LinkOptions patient() {
    auto options = quick();
    options.backoff_base = 60s;
    options.backoff_cap = 60s;
    return options;
  }

  /// A resolver that knows every name, by these addresses.
  static quic::detail::BlockingLookup addresses_of(std::vector<std::string> texts) {
    return [texts = std::move(texts)](const std::string&, std::uint16_t port) -> Result<std::vector<quic::Address>> {
      std::vector<quic::Address> addresses;
      for (const auto& text : texts)
        addresses.emplace_back(boost::asio::ip::make_address(text), port);
      return addresses;
    };
  }

  /// A source that takes connections, never answers a hello, and lets each go when the mirror does.
  static awaitable<void> mute_source(quic::Listener& listener) {
    for (;;) {
      auto connection = co_await listener.accept();
      if (!connection) co_return;
      static_cast<void>(co_await connection->closed());
    }
  }

  /// Takes one hello, says nothing, and returns the code the mirror closes with.
  static awaitable<std::optional<std::uint64_t>> holding_source(quic::Listener& listener, bool& seen) {
    auto connection = need(co_await listener.accept());
    auto hello = need(co_await connection.accept_bidi_stream());
    seen = true;
    need(co_await connection.closed());
    co_return connection.close_code();
  }

  /// A session that keeps every stream and answers none.
  static Task<void> hold_streams(AcceptedMirror& mirror, std::vector<IncomingStream>& held) {
    for (;;) {
      auto incoming = co_await mirror.accept_stream();
      if (!incoming) co_return incoming.error();
      held.push_back(*std::move(incoming));
    }
  }

  /// Connects again and again until that fails; the kind it failed with.
  static awaitable<ErrorKind> connect_and_reconnect(CrossClusterLink& link) {
    auto result = co_await link.connect(Lsn{0});
    while (result.ok())
      result = co_await link.schedule_reconnect(Lsn{0});
    co_return result.error().kind();
  }

 private:
  std::vector<ReservedPort> reserved_;
};

TEST_F(Reconnect, streams_need_a_connection) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto link = test.make_link("127.0.0.1:1");
    EXPECT_EQ(kind_of(co_await link->open_bidi_stream()), ErrorKind::NotConnected);
    auto source = test.source_at();
    link = test.make_link(text_of(source->address()));
    need(co_await link->connect(Lsn{0}));
    EXPECT_TRUE((co_await link->open_bidi_stream()).ok());
    need(co_await source->stop());
    EXPECT_TRUE(co_await eventually([&] { return link->state() == LinkState::disconnected; }));
    EXPECT_FALSE(link->connection().has_value());
    EXPECT_EQ(kind_of(co_await link->open_bidi_stream()), ErrorKind::NotConnected);
  }(*this));
}

TEST_F(Reconnect, what_cannot_be_used_is_a_configuration_error_that_names_it) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto no_port = co_await test.make_link("127.0.0.1")->connect(Lsn{0});
    EXPECT_EQ(kind_of(no_port), ErrorKind::Configuration);
    EXPECT_NE(no_port.error().message().find("127.0.0.1"), std::string::npos) << no_port.error().message();
    const auto no_name = co_await test.make_link("127.0.0.1:1", quick(), "not a name")->connect(Lsn{0});
    EXPECT_EQ(kind_of(no_name), ErrorKind::Configuration);
    EXPECT_NE(no_name.error().message().find("not a name"), std::string::npos);
    const auto wildcard = co_await test.make_link("127.0.0.1:1", quick(), "*.example")->schedule_reconnect(Lsn{0});
    EXPECT_EQ(kind_of(wildcard), ErrorKind::Configuration) << "no retry can mend it";
    for (const std::string second : {"127.0.0.1", "127.0.0.1:0", "0.0.0.0:1", "[::]:1", ""}) {
      // Found before the first one is dialled, and not only when its turn comes.
      const auto wrong = co_await test.make_link("127.0.0.1:1, " + second)->schedule_reconnect(Lsn{0});
      EXPECT_EQ(kind_of(wrong), ErrorKind::Configuration) << second;
      EXPECT_NE(wrong.error().message().find("'" + second + "'"), std::string::npos) << wrong.error().message();
    }
  }(*this));
}

TEST_F(Reconnect, names_too_long_for_a_hello_are_a_configuration_error_and_never_retried) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    auto link = test.make_link(text_of(source->address()), quick(), "prod-us", std::string(5000, 'd'));
    const auto error = co_await link->schedule_reconnect(Lsn{0});
    EXPECT_EQ(kind_of(error), ErrorKind::Configuration);
    EXPECT_NE(error.error().message().find("too long"), std::string::npos) << error.error().message();
    auto portless = test.make_link("127.0.0.1:0");
    EXPECT_EQ(kind_of(co_await portless->schedule_reconnect(Lsn{0})), ErrorKind::Configuration);
    need(co_await source->stop());
  }(*this));
}

TEST_F(Reconnect, the_last_ack_is_what_the_source_sent_in_the_last_attempt) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    auto refused = test.make_link(text_of(source->address()), quick(), "prod-us", "users");
    EXPECT_FALSE(refused->last_ack().has_value());
    EXPECT_EQ(kind_of(co_await refused->connect(Lsn{0})), ErrorKind::UnknownDatabase);
    const auto refusal = refused->last_ack();
    EXPECT_TRUE(refusal && !refusal->accepted && refusal->error_code == 4) << "a refusal is an answer too";
    EXPECT_EQ(refusal ? refusal->source_cluster_id.str() : "", "prod-us");
    auto link = test.make_link(text_of(source->address()));
    const auto ack = need(co_await link->connect(Lsn{0}));
    EXPECT_TRUE(link->last_ack() && link->last_ack()->accepted && link->last_ack()->snapshot_lsn == ack.snapshot_lsn);
    need(co_await source->stop());
    EXPECT_TRUE(co_await eventually([&] { return link->state() == LinkState::disconnected; }));
    EXPECT_EQ(kind_of(co_await link->connect(Lsn{0})), ErrorKind::Transport);
    EXPECT_FALSE(link->last_ack().has_value()) << "no source answered this time";
  }(*this));
}

TEST_F(Reconnect, comes_back_to_a_source_that_went_away_and_returned_at_its_port) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    const auto port = source->address().port();
    auto link = test.make_link(text_of(source->address()));
    need(co_await link->connect(Lsn{1}));
    auto first = *link->connection();
    need(co_await source->stop());
    source.reset();
    need(co_await first.closed());
    auto reconnecting = test.begin(link->schedule_reconnect(Lsn{9}));
    EXPECT_TRUE(co_await eventually([&] { return link->retry_facts().attempts >= 3; }));
    const auto facts = link->retry_facts();
    EXPECT_TRUE(facts.last_error.has_value());
    EXPECT_EQ(facts.last_error->kind(), ErrorKind::Transport) << facts.last_error->message();
    std::optional<Lsn> seen;
    auto policy = test.policy();
    policy.decide_snapshot = [&seen](const MirrorHello& hello) {
      seen = hello.last_applied_lsn;
      return SnapshotDecision{};
    };
    source = test.source_at(port, policy);
    EXPECT_TRUE(need(co_await reconnecting.end()).accepted);
    EXPECT_EQ(seen, Lsn{9}) << "the reconnect's own position was sent";
    EXPECT_EQ(link->state(), LinkState::connected);
    EXPECT_EQ(link->retry_facts().reconnects, 1u);
    EXPECT_EQ(link->retry_facts().attempts, 0u);
    EXPECT_FALSE(link->retry_facts().next_attempt.has_value());
    need(co_await source->stop());
  }(*this));
}

TEST_F(Reconnect, closes_the_old_connection_and_resets_the_throttle_first) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    auto link = test.make_link(text_of(source->address()));
    need(co_await link->connect(Lsn{1}));
    const auto old = *link->connection();
    const auto ticket = link->throttle.charge(2000);
    auto waiting = test.begin(link->throttle.wait_for_resume());
    need(co_await link->schedule_reconnect(Lsn{1}));
    EXPECT_EQ(old.close_code(), normal_close_code);
    EXPECT_EQ(link->throttle.in_flight(), 0u);
    EXPECT_TRUE((co_await waiting.end()).ok());
    const auto current = link->throttle.charge(10);
    link->throttle.ack(ticket);
    EXPECT_EQ(link->throttle.in_flight(), 10u) << "an ack of before the reconnect counted";
    link->throttle.ack(current);
    need(co_await source->stop());
  }(*this));
}

TEST_F(Reconnect, the_second_of_two_at_once_is_busy) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto link = test.make_link("127.0.0.1:" + std::to_string(test.free_port()), patient());
    auto first = test.begin(link->schedule_reconnect(Lsn{0}));
    EXPECT_TRUE(co_await eventually([&] { return link->retry_facts().next_attempt.has_value(); }));
    EXPECT_EQ(link->state(), LinkState::disconnected) << "waiting for the next attempt";
    EXPECT_EQ(kind_of(co_await link->schedule_reconnect(Lsn{0})), ErrorKind::Busy);
    EXPECT_EQ(kind_of(co_await link->connect(Lsn{0})), ErrorKind::Busy);
    first.cancel();
    EXPECT_EQ(kind_of(co_await first.end()), ErrorKind::Cancelled);
    auto again = test.begin(link->schedule_reconnect(Lsn{0}));
    EXPECT_TRUE(co_await eventually([&] { return link->retry_facts().next_attempt.has_value(); }));
    link->close();
    EXPECT_EQ(kind_of(co_await again.end()), ErrorKind::Cancelled);
  }(*this));
}

TEST_F(Reconnect, a_hard_error_comes_out_of_the_middle_of_it) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    const auto port = test.free_port();
    auto link = test.make_link("127.0.0.1:" + std::to_string(port), quick(), "prod-us", "secret");
    auto reconnecting = test.begin(link->schedule_reconnect(Lsn{0}));
    EXPECT_TRUE(co_await eventually([&] { return link->retry_facts().attempts >= 2; }));
    EXPECT_FALSE(reconnecting.ended());
    auto source = test.source_at(port);
    EXPECT_EQ(kind_of(co_await reconnecting.end()), ErrorKind::NotAuthorized);
    EXPECT_EQ(link->state(), LinkState::disconnected);
    need(co_await source->stop());
  }(*this));
}

TEST_F(Reconnect, busy_is_tried_again_until_there_is_room) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    int refused = 0;
    auto policy = test.policy();
    policy.admit = [&refused](const MirrorHello&, std::span<const std::string>) -> std::optional<MirrorError> {
      if (++refused > 3) return std::nullopt;
      return MirrorError(ErrorKind::Busy, CausedBy::us, "full");
    };
    auto source = test.source_at(0, policy);
    auto link = test.make_link(text_of(source->address()));
    EXPECT_TRUE((co_await link->schedule_reconnect(Lsn{0})).ok());
    EXPECT_EQ(refused, 4);
    EXPECT_EQ(link->retry_facts().last_error->kind(), ErrorKind::Busy);
    need(co_await source->stop());
  }(*this));
}

TEST_F(Reconnect, the_second_address_is_taken_when_the_first_is_dead) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    auto link = test.make_link("127.0.0.1:" + std::to_string(test.free_port()) + ", " + text_of(source->address()));
    EXPECT_EQ(kind_of(co_await link->connect(Lsn{0})), ErrorKind::Transport);
    EXPECT_TRUE((co_await link->connect(Lsn{0})).ok());
    need(co_await link->schedule_reconnect(Lsn{0}));
    EXPECT_EQ(link->state(), LinkState::connected);
    need(co_await source->stop());
  }(*this));
}

TEST_F(Reconnect, an_unreachable_address_of_a_name_gives_way_to_the_next_at_once) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    auto options = quick();
    // All of 127.0.0.0/8 is the source's, whose transport takes its port at every address.
    options.lookup = addresses_of({"255.255.255.255", "127.0.0.1"});
    auto link = test.make_link("source.example:" + std::to_string(source->address().port()), options);
    need(co_await link->connect(Lsn{0}));
    EXPECT_EQ(link->retry_facts().attempts, 0u) << "one attempt was enough";
    need(co_await source->stop());
  }(*this));
}

TEST_F(Reconnect, an_address_of_a_name_that_is_silent_is_not_the_first_of_the_next_attempt) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    // A bound socket that reads nothing: no ICMP error comes back. The source's transport, which takes its port at
    // every address, lets it have its own.
    boost::asio::ip::udp::socket hole(test.context, boost::asio::ip::udp::v4());
    const int yes = 1;
    EXPECT_EQ(::setsockopt(hole.native_handle(), SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)), 0);
    hole.bind({boost::asio::ip::make_address("127.0.0.2"), 0});
    auto source = test.source_at(hole.local_endpoint().port());
    auto options = quick();
    options.handshake_deadline = 3s;  // of the two that find the source, too
    options.lookup = addresses_of({"127.0.0.2", "127.0.0.1"});
    auto link = test.make_link("source.example:" + std::to_string(source->address().port()), options);
    EXPECT_EQ(kind_of(co_await link->connect(Lsn{0})), ErrorKind::Timeout);
    need(co_await link->connect(Lsn{0}));
    // And on with the first one again: the reconnect after that needs a second attempt.
    need(co_await link->schedule_reconnect(Lsn{0}));
    EXPECT_EQ(link->connection()->remote_address().address(), boost::asio::ip::make_address("127.0.0.1"));
    need(co_await source->stop());
  }(*this));
}

TEST_F(Reconnect, a_refusal_by_one_address_of_a_name_is_final) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    auto options = quick();
    options.lookup = addresses_of({"127.0.0.1", "127.0.0.2"});
    auto link =
        test.make_link("source.example:" + std::to_string(source->address().port()), options, "prod-us", "none");
    EXPECT_EQ(kind_of(co_await link->connect(Lsn{0})), ErrorKind::UnknownDatabase);
    need(co_await source->stop());
  }(*this));
}

TEST_F(Reconnect, only_progress_and_no_mere_handshake_brings_the_backoff_back) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    auto link = test.make_link(text_of(source->address()));
    need(co_await link->connect(Lsn{0}));
    EXPECT_EQ(link->retry_facts().backoff, 10ms);
    for (const auto expected : {20ms, 40ms, 40ms}) {
      need(co_await link->schedule_reconnect(Lsn{0}));
      EXPECT_EQ(link->retry_facts().backoff, expected) << "the session before it got nowhere";
    }
    link->note_progress();
    EXPECT_EQ(link->retry_facts().backoff, 10ms);
    need(co_await link->schedule_reconnect(Lsn{0}));
    EXPECT_EQ(link->retry_facts().backoff, 10ms);
    need(co_await source->stop());
    EXPECT_TRUE(co_await eventually([&] { return link->state() == LinkState::disconnected; }));
    link->note_progress();
    auto trying = test.begin(link->schedule_reconnect(Lsn{0}));
    EXPECT_TRUE(co_await eventually([&] { return link->retry_facts().backoff > 10ms; })) << "said while disconnected";
    link->close();
    EXPECT_EQ(kind_of(co_await trying.end()), ErrorKind::Cancelled);
  }(*this));
}

TEST_F(Reconnect, a_source_that_never_answers_is_given_up_at_the_deadline) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto listener = test.listen();
    auto mute = test.begin(mute_source(listener));
    auto options = quick();
    options.handshake_deadline = 300ms;
    auto link = test.make_link(text_of(listener.local_address()), options);
    const auto began = std::chrono::steady_clock::now();
    const auto result = co_await link->connect(Lsn{0});
    EXPECT_EQ(kind_of(result), ErrorKind::Timeout) << result.error().message();
    EXPECT_GE(std::chrono::steady_clock::now() - began, 300ms);
    EXPECT_EQ(link->state(), LinkState::disconnected);
    mute.cancel();
    co_await mute.end();
  }(*this));
}

TEST_F(Reconnect, nobody_there_at_all_is_given_up_at_the_deadline) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    // A bound socket that reads nothing: no ICMP error comes back.
    boost::asio::ip::udp::socket hole(test.context, loopback());
    auto options = quick();
    options.handshake_deadline = 300ms;
    auto link = test.make_link(text_of(hole.local_endpoint()), options);
    EXPECT_EQ(kind_of(co_await link->connect(Lsn{0})), ErrorKind::Timeout);
    EXPECT_EQ(kind_of(co_await link->connect(Lsn{0})), ErrorKind::Timeout) << "the link can be used again";
  }(*this));
}

TEST_F(Reconnect, close_ends_a_dial_and_is_final) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    boost::asio::ip::udp::socket hole(test.context, loopback());
    auto link = test.make_link(text_of(hole.local_endpoint()));
    auto dialling = test.begin(link->connect(Lsn{0}));
    EXPECT_TRUE(co_await eventually([&] { return link->state() == LinkState::connecting; }));
    link->close();
    EXPECT_EQ(kind_of(co_await dialling.end()), ErrorKind::Cancelled);
    link->close();
    EXPECT_EQ(link->state(), LinkState::closed);
    EXPECT_EQ(kind_of(co_await link->connect(Lsn{0})), ErrorKind::Cancelled);
    EXPECT_EQ(kind_of(co_await link->schedule_reconnect(Lsn{0})), ErrorKind::Cancelled);
    EXPECT_EQ(kind_of(co_await link->open_bidi_stream()), ErrorKind::NotConnected);
  }(*this));
}

TEST_F(Reconnect, close_ends_a_handshake_and_the_source_sees_a_normal_close) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto listener = test.listen();
    bool seen = false;
    auto source = test.begin(holding_source(listener, seen));
    auto link = test.make_link(text_of(listener.local_address()));
    auto dialling = test.begin(link->connect(Lsn{0}));
    EXPECT_TRUE(co_await eventually([&] { return seen; }));
    EXPECT_EQ(link->state(), LinkState::connecting);
    link->close();
    EXPECT_EQ(kind_of(co_await dialling.end()), ErrorKind::Cancelled);
    EXPECT_EQ(co_await source.end(), normal_close_code);
  }(*this));
}

TEST_F(Reconnect, a_cancelled_handshake_leaves_nothing_open_and_the_link_usable) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto listener = test.listen();
    bool seen = false;
    auto source = test.begin(holding_source(listener, seen));
    auto link = test.make_link(text_of(listener.local_address()));
    auto dialling = test.begin(link->connect(Lsn{0}));
    EXPECT_TRUE(co_await eventually([&] { return seen; }));
    dialling.cancel();
    EXPECT_EQ(kind_of(co_await dialling.end()), ErrorKind::Cancelled);
    EXPECT_EQ(link->state(), LinkState::disconnected);
    EXPECT_EQ(co_await source.end(), normal_close_code);
    seen = false;
    auto again = test.begin(holding_source(listener, seen));
    auto redialling = test.begin(link->connect(Lsn{0}));
    EXPECT_TRUE(co_await eventually([&] { return seen; })) << "a second hello came";
    link->close();
    EXPECT_EQ(kind_of(co_await redialling.end()), ErrorKind::Cancelled);
    EXPECT_EQ(co_await again.end(), normal_close_code);
  }(*this));
}

// Goal: a caller that waits for stream credit holds up no other. Method: the source allows one stream after acceptance
// and never ends it, so that a second open waits; then a reconnect, or a close, must go ahead at once.
TEST_F(Reconnect, a_wait_for_stream_credit_delays_neither_reconnect_nor_close) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto policy = test.policy();
    policy.streams_after_acceptance = 1;
    std::vector<IncomingStream> held;
    const auto hold = [&held](AcceptedMirror& mirror) { return hold_streams(mirror, held); };
    RunningSource source(test.context.get_executor(), test.listen(), policy, {}, hold);
    auto link = test.make_link(text_of(source.address()));
    need(co_await link->connect(Lsn{0}));
    for (const bool closing : {false, true}) {
      auto first = need(co_await link->open_bidi_stream());
      need(co_await first.send.write(SendBuffer(encode_frame(std::uint8_t{0x20}, {}))));
      EXPECT_TRUE(co_await eventually([&] { return held.size() == 1; }));
      auto second = test.begin(link->open_bidi_stream());
      co_await boost::asio::post(boost::asio::use_awaitable);
      EXPECT_FALSE(second.ended());
      const auto began = std::chrono::steady_clock::now();
      if (closing) {
        link->close();
      } else {
        need(co_await link->schedule_reconnect(Lsn{0}));
      }
      const auto waited = co_await second.end();
      EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
      EXPECT_EQ(kind_of(waited), closing ? ErrorKind::Cancelled : ErrorKind::Transport);
      if (!closing) {
        EXPECT_EQ(cause(waited.error()), TransportCause::closed_locally);
      }
      held.clear();
    }
    need(co_await source.stop());
  }(*this));
}

using ReconnectConcurrent = Reconnect;

// Goal: close() from any thread ends whatever runs, whenever it comes. Method: for each of many links a thread closes
// while the link connects or waits, the moment shifted a little each time.
TEST_F(ReconnectConcurrent, close_from_another_thread_ends_whatever_runs) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    const auto address = text_of(source->address());
    for (int round = 0; round < 40; ++round) {
      auto link = test.make_link(address);
      auto working = test.begin(connect_and_reconnect(*link));
      std::thread closer([&link, round] {
        const auto moment = std::chrono::steady_clock::now() + std::chrono::microseconds(round * 250);
        while (std::chrono::steady_clock::now() < moment)
          std::this_thread::yield();
        link->close();
      });
      EXPECT_EQ(co_await working.end(), ErrorKind::Cancelled);
      closer.join();
      EXPECT_EQ(link->state(), LinkState::closed);
    }
    need(co_await source->stop());
  }(*this));
}

TEST_F(ReconnectConcurrent, one_link_may_be_asked_from_several_threads) {
  run(context, [](Reconnect& test) -> awaitable<void> {
    auto source = test.source_at();
    auto link = test.make_link(text_of(source->address()));
    std::atomic<bool> done{false};
    std::thread asker([&] {
      while (!done) {
        static_cast<void>(link->state());
        static_cast<void>(link->retry_facts());
        static_cast<void>(link->connection());
        link->note_progress();
        std::this_thread::yield();
      }
    });
    need(co_await link->connect(Lsn{0}));
    for (int round = 0; round < 10; ++round)
      need(co_await link->schedule_reconnect(Lsn{0}));
    done = true;
    asker.join();
    EXPECT_EQ(link->retry_facts().reconnects, 10u);
    need(co_await source->stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
