#include "link_fixture.hpp"

namespace crosslink::test {
namespace {

using quic::SendBuffer;

/// Raw bytes of a frame header that announces `payload_bytes`.
std::vector<std::byte> header_only(std::uint8_t kind, std::uint32_t payload_bytes) {
  const auto header = encode_frame_header({kind, payload_bytes});
  return {header.begin(), header.end()};
}

class Source : public LinkTest {
 public:
  /// What the source's session saw.
  struct Seen {
    std::vector<std::uint8_t> kinds;
    std::vector<IncomingStream> streams;
    std::vector<HandshakeReport> handshakes;
    std::vector<ErrorKind> session_errors;
    int sessions_ended = 0;
  };

  static Task<void> record(AcceptedMirror& mirror, Seen& seen) {
    for (;;) {
      auto incoming = co_await mirror.accept_stream();
      if (!incoming) co_return incoming.error();
      seen.kinds.push_back(incoming->request.kind);
      seen.streams.push_back(*std::move(incoming));
    }
  }
  std::unique_ptr<RunningSource> source(SourcePolicy policy, AcceptorLimits limits = {}) {
    MirrorAcceptor::Callbacks callbacks;
    callbacks.on_handshake = [this](const HandshakeReport& report) { seen.handshakes.push_back(report); };
    callbacks.on_session_end = [this](const AcceptedMirror&, const Result<void>& ended) {
      ++seen.sessions_ended;
      if (!ended) seen.session_errors.push_back(ended.error().kind());
    };
    const auto session = [this](AcceptedMirror& mirror) { return record(mirror, seen); };
    return std::make_unique<RunningSource>(context.get_executor(), listen(), std::move(policy), limits, session,
                                           callbacks);
  }
  std::unique_ptr<RunningSource> source() { return source(policy()); }

  awaitable<std::unique_ptr<CrossClusterLink>> linked(RunningSource& to) {
    auto link = make_link(text_of(to.address()));
    need(co_await link->connect(Lsn{0}));
    co_return link;
  }
  /// Opens a stream and sends `bytes` on it.
  static awaitable<quic::BidiStream> request(CrossClusterLink& link, std::vector<std::byte> bytes) {
    auto stream = need(co_await link.open_bidi_stream());
    need(co_await stream.send.write(SendBuffer(std::move(bytes))));
    co_return stream;
  }
  static awaitable<Failure> read_failure(quic::BidiStream& stream) {
    const auto bytes = co_await read_all(stream.recv);
    FrameAssembler assembler(control_payload_bytes_max);
    auto progress = need(assembler.feed(bytes));
    EXPECT_TRUE(progress.frame.has_value());
    EXPECT_EQ(progress.frame->kind, frame_kind::failure);
    co_return need(decode_failure(progress.frame->payload));
  }

  Seen seen;
};

TEST_F(Source, a_request_is_handed_out_with_the_bytes_after_it_still_in_the_stream) {
  run(context, [](Source& test) -> awaitable<void> {
    auto source = test.source();
    auto link = co_await test.linked(*source);
    auto bytes = encode_frame(std::uint8_t{0x20}, pattern(100));
    const auto tail = pattern(3000);
    bytes.insert(bytes.end(), tail.begin(), tail.end());
    auto stream = co_await request(*link, bytes);
    stream.send.finish();
    EXPECT_TRUE(co_await eventually([&] { return test.seen.streams.size() == 1; }));
    auto& incoming = test.seen.streams.front();
    EXPECT_EQ(incoming.request.kind, 0x20);
    EXPECT_EQ(incoming.request.payload, pattern(100));
    EXPECT_EQ(co_await read_all(incoming.stream.recv), tail);
    need(co_await source->stop());
  }(*this));
}

TEST_F(Source, skippable_kinds_before_the_request_are_passed_over) {
  run(context, [](Source& test) -> awaitable<void> {
    auto source = test.source();
    auto link = co_await test.linked(*source);
    auto bytes = encode_frame(std::uint8_t{0x80}, pattern(50));
    for (const auto& next : {encode_frame(std::uint8_t{0xbf}, {}), encode_frame(std::uint8_t{0x10}, {})}) {
      bytes.insert(bytes.end(), next.begin(), next.end());
    }
    auto stream = co_await request(*link, bytes);
    EXPECT_TRUE(co_await eventually([&] { return !test.seen.kinds.empty(); }));
    EXPECT_EQ(test.seen.kinds, std::vector<std::uint8_t>{0x10});
    need(co_await source->stop());
  }(*this));
}

TEST_F(Source, four_stalled_streams_do_not_stop_a_fifth) {
  run(context, [](Source& test) -> awaitable<void> {
    auto source = test.source();
    auto link = co_await test.linked(*source);
    std::vector<quic::BidiStream> stalled;
    for (int i = 0; i < 4; ++i) {
      auto stream = co_await request(*link, header_only(0x20, 10));
      stalled.push_back(std::move(stream));
    }
    auto fifth = co_await request(*link, encode_frame(std::uint8_t{0x21}, {}));
    EXPECT_TRUE(co_await eventually([&] { return !test.seen.kinds.empty(); }));
    EXPECT_EQ(test.seen.kinds, std::vector<std::uint8_t>{0x21});
    // The stalled ones lost nothing while they waited.
    for (auto& stream : stalled)
      need(co_await stream.send.write(SendBuffer(pattern(10))));
    EXPECT_TRUE(co_await eventually([&] { return test.seen.kinds.size() == 5; }));
    for (std::size_t i = 1; i < test.seen.streams.size(); ++i) {
      EXPECT_EQ(test.seen.streams[i].request.payload, pattern(10));
    }
    need(co_await source->stop());
  }(*this));
}

TEST_F(Source, a_later_stream_with_a_voter_class_frame_is_answered_and_closes_the_connection) {
  run(context, [](Source& test) -> awaitable<void> {
    for (const std::uint8_t kind : std::vector<std::uint8_t>{0x30, 0x37, 0x3f}) {
      auto source = test.source();
      auto link = co_await test.linked(*source);
      auto connection = *link->connection();
      auto stream = co_await request(*link, header_only(kind, 1000));
      std::vector<std::byte> header(frame_header_bytes);
      need(co_await stream.recv.read_exactly(header));
      const auto announced =
          decode_frame_header(std::span<const std::byte, frame_header_bytes>(header.data(), frame_header_bytes));
      EXPECT_EQ(announced.kind, frame_kind::mirror_hello_ack);
      std::vector<std::byte> payload(announced.payload_bytes);
      need(co_await stream.recv.read_exactly(payload));
      const auto ack = need(decode_ack(payload));
      EXPECT_FALSE(ack.accepted);
      EXPECT_EQ(ack.error_code, 0x02);
      need(co_await connection.closed());
      EXPECT_EQ(connection.close_code(), 0x02u);
      EXPECT_TRUE(co_await eventually([&] { return test.seen.sessions_ended > 0; }));
      EXPECT_EQ(test.seen.session_errors.back(), ErrorKind::ObserverRoleViolation);
      EXPECT_EQ(link->state(), LinkState::disconnected);
      need(co_await source->stop());
    }
  }(*this));
}

TEST_F(Source, a_stream_that_breaks_the_framing_gets_a_failure_and_the_session_goes_on) {
  run(context, [](Source& test) -> awaitable<void> {
    auto policy = test.policy();
    policy.hello_deadline = 3s;
    auto source = test.source(policy);
    auto link = co_await test.linked(*source);
    auto oversize = co_await request(*link, header_only(0x20, control_payload_bytes_max + 1));
    const auto oversize_answer = co_await read_failure(oversize);
    EXPECT_EQ(oversize_answer.kind, "ProtocolViolation");
    auto cut = co_await request(*link, header_only(0x20, 10));
    cut.send.finish();
    const auto cut_answer = co_await read_failure(cut);
    EXPECT_EQ(cut_answer.kind, "Transport");
    auto slow = co_await request(*link, header_only(0x20, 10));
    const auto slow_answer = co_await read_failure(slow);
    EXPECT_EQ(slow_answer.kind, "Timeout");
    auto reset = co_await request(*link, header_only(0x20, 10));
    reset.send.reset(1);
    auto good = co_await request(*link, encode_frame(std::uint8_t{0x21}, {}));
    EXPECT_TRUE(co_await eventually([&] { return !test.seen.kinds.empty(); }));
    EXPECT_EQ(test.seen.kinds, std::vector<std::uint8_t>{0x21});
    EXPECT_EQ(link->state(), LinkState::connected);
    need(co_await source->stop());
  }(*this));
}

TEST_F(Source, a_bare_source_answers_every_request_with_a_failure_naming_its_kind) {
  run(context, [](Source& test) -> awaitable<void> {
    bool ended_well = false;
    MirrorAcceptor::Callbacks callbacks;
    callbacks.on_session_end = [&](const AcceptedMirror&, const Result<void>& ended) { ended_well = ended.ok(); };
    RunningSource source(test.context.get_executor(), test.listen(), test.policy(), {}, refuse_all_requests, callbacks);
    auto link = co_await test.linked(source);
    for (int i = 0; i < 12; ++i) {
      auto stream = co_await request(*link, encode_frame(std::uint8_t{0x44}, {}));
      stream.send.finish();
      const auto failure = co_await read_failure(stream);
      EXPECT_NE(failure.detail.find("0x44"), std::string::npos) << failure.detail;
    }
    link->close();
    EXPECT_TRUE(co_await eventually([&] { return ended_well; })) << "a mirror that leaves is no error";
    need(co_await source.stop());
  }(*this));
}

TEST_F(Source, limits_per_name_and_in_total_answer_busy_and_places_come_back) {
  run(context, [](Source& test) -> awaitable<void> {
    test.certificates.add("eu-2");
    test.certificates.add("eu-3");
    auto source = test.source(test.policy(), {.mirrors_per_name_max = 2, .mirrors_max = 3});
    const auto as = [&test, &source](const std::string& name) {
      auto config = test.client_config();
      config.tls = test.certificates.files(name);
      return link::make_link({test.cluster, test.database, text_of(source->address())}, test.endpoint, config,
                             SendThrottle(), quick());
    };
    auto first = as("eu-1");
    auto second = as("eu-1");
    auto third = as("eu-1");
    need(co_await first->connect(Lsn{0}));
    need(co_await second->connect(Lsn{0}));
    EXPECT_EQ(kind_of(co_await third->connect(Lsn{0})), ErrorKind::Busy) << "the name has two already";
    auto other = as("eu-2");
    need(co_await other->connect(Lsn{0}));
    auto one_too_many = as("eu-3");
    EXPECT_EQ(kind_of(co_await one_too_many->connect(Lsn{0})), ErrorKind::Busy) << "three in total";
    EXPECT_EQ(source->acceptor().mirrors(), 3u);
    first->close();
    EXPECT_TRUE(co_await eventually([&] { return source->acceptor().mirrors() == 2; }));
    EXPECT_TRUE((co_await third->connect(Lsn{0})).ok());
    need(co_await source->stop());
    EXPECT_EQ(source->acceptor().mirrors(), 0u);
  }(*this));
}

TEST_F(Source, a_bounded_number_shakes_hands_at_once_and_the_others_wait_their_turn) {
  run(context, [](Source& test) -> awaitable<void> {
    auto policy = test.policy();
    policy.hello_deadline = 300ms;
    auto source = test.source(policy, {.handshakes_max = 1});
    const auto began = std::chrono::steady_clock::now();
    auto silent = need(co_await test.endpoint.connect(source->address(), "prod-us", test.client_config()));
    auto link = test.make_link(text_of(source->address()));
    need(co_await link->connect(Lsn{0}));
    EXPECT_GE(std::chrono::steady_clock::now() - began, 300ms)
        << "the silent one held the only place until its deadline";
    need(co_await silent.closed());
    EXPECT_EQ(silent.close_code(), 0x11u);
    need(co_await source->stop());
  }(*this));
}

TEST_F(Source, every_handshake_is_reported_with_its_text_escaped) {
  run(context, [](Source& test) -> awaitable<void> {
    auto source = test.source();
    auto good = co_await test.linked(*source);
    auto bad = test.make_link(text_of(source->address()), quick(), "prod-us", "no\nsuch");
    EXPECT_EQ(kind_of(co_await bad->connect(Lsn{7})), ErrorKind::UnknownDatabase);
    EXPECT_TRUE(co_await eventually([&] { return test.seen.handshakes.size() == 2; }));
    const auto& accepted = test.seen.handshakes[0];
    EXPECT_TRUE(accepted.ack && accepted.ack->accepted);
    EXPECT_FALSE(accepted.error.has_value());
    EXPECT_EQ(accepted.peer_names, std::vector<std::string>{"eu-1"});
    EXPECT_GT(accepted.took.count(), 0);
    const auto& refused = test.seen.handshakes[1];
    EXPECT_FALSE(refused.ack.has_value());
    EXPECT_EQ(refused.error->kind(), ErrorKind::UnknownDatabase);
    EXPECT_EQ(refused.hello->source_database_id.str(), "no\\x0asuch");
    EXPECT_EQ(refused.hello->last_applied_lsn, Lsn{7});
    need(co_await source->stop());
  }(*this));
}

TEST_F(Source, stop_ends_sessions_and_handshakes) {
  run(context, [](Source& test) -> awaitable<void> {
    auto source = test.source();
    auto link = co_await test.linked(*source);
    auto silent = need(co_await test.endpoint.connect(source->address(), "prod-us", test.client_config()));
    EXPECT_TRUE((co_await source->stop()).ok());
    source->acceptor().stop();
    EXPECT_EQ(test.seen.sessions_ended, 1);
    EXPECT_EQ(test.seen.session_errors, std::vector{ErrorKind::Cancelled});
    need(co_await silent.closed());
    EXPECT_TRUE(co_await eventually([&] { return link->state() == LinkState::disconnected; }));
  }(*this));
}

// The transport lets a port go some time after its listener is closed; without a wait one round in some hundred finds
// it taken.
TEST_F(Source, the_port_of_a_stopped_source_can_be_listened_on_again_at_once) {
  run(context, [](Source& test) -> awaitable<void> {
    const auto enough = std::chrono::steady_clock::now() + std::chrono::seconds(5);  // a sanitizer does fewer rounds
    for (int round = 0; round < 100 && std::chrono::steady_clock::now() < enough; ++round) {
      auto source = test.source();
      auto link = co_await test.linked(*source);
      const auto port = source->address().port();
      need(co_await source->stop());
      source.reset();
      auto next = test.listen(port);
      EXPECT_EQ(next.local_address().port(), port);
    }
  }(*this));
}

TEST_F(Source, cancelling_run_ends_everything_as_cancelled) {
  run(context, [](Source& test) -> awaitable<void> {
    MirrorAcceptor acceptor(test.listen(), test.policy(), {}, refuse_all_requests);
    auto running = test.begin(acceptor.run());
    auto link = test.make_link(text_of(acceptor.local_address()));
    need(co_await link->connect(Lsn{0}));
    EXPECT_TRUE(co_await eventually([&] { return acceptor.mirrors() == 1; }));
    running.cancel();
    EXPECT_EQ(kind_of(co_await running.end()), ErrorKind::Cancelled);
    EXPECT_EQ(acceptor.mirrors(), 0u);
    EXPECT_TRUE(co_await eventually([&] { return link->state() == LinkState::disconnected; }));
  }(*this));
}

TEST_F(Source, a_cancelled_wait_for_a_stream_loses_none) {
  run(context, [](Source& test) -> awaitable<void> {
    auto listener = test.listen();
    auto link = test.make_link(text_of(listener.local_address()));
    auto connecting = test.begin(link->connect(Lsn{0}));
    const auto policy = test.policy();
    auto connection = need(co_await listener.accept());
    auto mirror = need(co_await handle_mirror_connection(connection, policy));
    need(co_await connecting.end());
    auto slow = co_await request(*link, header_only(0x20, 10));
    auto waiting = test.begin(mirror.accept_stream());
    co_await boost::asio::post(boost::asio::use_awaitable);
    EXPECT_EQ(kind_of(co_await mirror.accept_stream()), ErrorKind::Busy) << "one at a time";
    waiting.cancel();
    EXPECT_EQ(kind_of(co_await waiting.end()), ErrorKind::Cancelled);
    need(co_await slow.send.write(SendBuffer(pattern(10))));
    const auto incoming = need(co_await mirror.accept_stream());
    EXPECT_EQ(incoming.request.kind, 0x20);
    EXPECT_EQ(incoming.request.payload, pattern(10));
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
