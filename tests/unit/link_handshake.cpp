#include "link_fixture.hpp"

namespace crosslink::test {
namespace {

using quic::SendBuffer;

/// What another implementation of a mirror sees of a handshake.
struct Answer {
  std::optional<MirrorHelloAck> ack;
  std::optional<std::uint64_t> close_code;
};

class Handshake : public LinkTest {
 public:
  /// Serves the next connection of `listener`.
  static Task<AcceptedMirror> serve(quic::Listener& listener, SourcePolicy policy) {
    auto connection = co_await listener.accept();
    if (!connection) co_return connection.error();
    co_return co_await handle_mirror_connection(*std::move(connection), policy);
  }

  static awaitable<std::optional<MirrorHelloAck>> read_ack(quic::RecvStream& stream) {
    FrameAssembler assembler(handshake_payload_bytes_max);
    for (;;) {
      auto view = co_await stream.read();
      if (!view || view->total_bytes == 0) co_return std::nullopt;
      for (std::size_t piece = 0; piece < view->piece_count; ++piece) {
        auto progress = need(assembler.feed(view->pieces[piece]));
        if (progress.frame) co_return need(decode_ack(progress.frame->payload));
      }
      stream.consume(view->total_bytes);
    }
  }

  /// Sends `pieces` as separate writes, reads the ack, waits for the source to close.
  awaitable<Answer> raw_handshake(quic::Address source, std::vector<std::vector<std::byte>> pieces, bool finish) {
    auto connection = need(co_await endpoint.connect(source, "prod-us", client_config()));
    auto stream = need(co_await connection.open_bidi_stream());
    for (auto& piece : pieces) {
      const auto written = co_await stream.send.write(SendBuffer(std::move(piece)));
      if (!written) break;
    }
    if (finish) stream.send.finish();
    Answer answer;
    answer.ack = co_await read_ack(stream.recv);
    if (answer.ack && answer.ack->accepted) co_return answer;
    need(co_await connection.closed());
    answer.close_code = connection.close_code();
    co_return answer;
  }
  awaitable<Answer> raw_handshake(quic::Address source, std::vector<std::byte> bytes, bool finish = true) {
    std::vector<std::vector<std::byte>> pieces;
    pieces.push_back(std::move(bytes));
    return raw_handshake(source, std::move(pieces), finish);
  }

  /// Raw bytes must be refused with `kind`, by ack and by close code, and so reported at the source.
  awaitable<void> expect_refusal(std::vector<std::byte> bytes, ErrorKind kind, bool finish = true) {
    auto listener = listen();
    auto serving = begin(serve(listener, policy()));
    const auto answer = co_await raw_handshake(listener.local_address(), std::move(bytes), finish);
    EXPECT_EQ(answer.close_code, rule_of(kind).wire_code);
    EXPECT_TRUE(answer.ack.has_value()) << "the ack was lost";
    if (answer.ack) {
      EXPECT_FALSE(answer.ack->accepted);
      EXPECT_EQ(answer.ack->error_code, rule_of(kind).wire_code);
      EXPECT_EQ(answer.ack->source_cluster_id, cluster);
      EXPECT_FALSE(answer.ack->error_detail.empty());
      EXPECT_LE(answer.ack->error_detail.size(), error_detail_bytes_max);
    }
    EXPECT_EQ(kind_of(co_await serving.end()), kind);
  }
  void refuses(std::vector<std::byte> bytes, ErrorKind kind, bool finish = true) {
    run(context, expect_refusal(std::move(bytes), kind, finish));
  }
  MirrorHello hello() const { return {cluster, database, Lsn{41}}; }
};

TEST_F(Handshake, an_accepted_mirror_gets_the_ack_and_the_source_knows_where_to_stream_from) {
  run(context, [](Handshake& test) -> awaitable<void> {
    auto listener = test.listen();
    auto policy = test.policy();
    policy.decide_snapshot = [](const MirrorHello& hello) {
      return default_snapshot_decision(hello.last_applied_lsn, SnapshotDecision{Lsn{100}, 12345});
    };
    auto serving = test.begin(serve(listener, policy));
    auto link = test.make_link(text_of(listener.local_address()));
    EXPECT_EQ(link->state(), LinkState::disconnected);
    const auto ack = need(co_await link->connect(Lsn{41}));
    EXPECT_TRUE(ack.accepted);
    EXPECT_EQ(ack.error_code, 0);
    EXPECT_EQ(ack.source_cluster_id, test.cluster);
    EXPECT_EQ(ack.snapshot_lsn, Lsn{100});
    EXPECT_EQ(ack.snapshot_bytes_total, 12345u);
    EXPECT_EQ(link->state(), LinkState::connected);
    auto mirror = need(co_await serving.end());
    EXPECT_EQ(mirror.hello, test.hello());
    EXPECT_EQ(mirror.ack, ack);
    EXPECT_EQ(mirror.stream_from, Lsn{101});
    EXPECT_EQ(mirror.peer_names, std::vector<std::string>{"eu-1"});
    EXPECT_EQ(kind_of(co_await link->connect(Lsn{41})), ErrorKind::AlreadyConnected);
    EXPECT_EQ(link->state(), LinkState::connected) << "a refused second connect must change nothing";
    link->close();
    need(co_await mirror.connection.closed());
    EXPECT_EQ(mirror.connection.close_code(), normal_close_code);
    EXPECT_EQ(link->state(), LinkState::closed);
  }(*this));
}

TEST_F(Handshake, without_a_snapshot_streaming_goes_on_after_the_applied_lsn) {
  run(context, [](Handshake& test) -> awaitable<void> {
    for (const auto& [applied, from] :
         {std::pair{Lsn{0}, Lsn{1}}, {Lsn{41}, Lsn{42}}, {Lsn{UINT64_MAX}, Lsn{UINT64_MAX}}}) {
      auto listener = test.listen();
      auto serving = test.begin(serve(listener, test.policy()));
      auto link = test.make_link(text_of(listener.local_address()));
      EXPECT_EQ(need(co_await link->connect(applied)).snapshot_lsn, no_snapshot);
      EXPECT_EQ(need(co_await serving.end()).stream_from, from);
    }
  }(*this));
}

TEST_F(Handshake, every_refusal_comes_back_as_its_kind_with_its_data) {
  run(context, [](Handshake& test) -> awaitable<void> {
    RunningSource source(test.context.get_executor(), test.listen(), test.policy(), {.mirrors_max = 0});
    const auto address = text_of(source.address());
    const auto refusal = [&test, &address](std::string wanted) -> Task<MirrorHelloAck> {
      auto link = test.make_link(address, quick(), "prod-us", std::move(wanted));
      auto result = co_await link->connect(Lsn{1});
      EXPECT_EQ(link->state(), LinkState::disconnected);
      EXPECT_FALSE(link->connection().has_value());
      co_return result;
    };
    EXPECT_EQ(kind_of(co_await refusal("secret-plans")), ErrorKind::NotAuthorized);
    EXPECT_EQ(kind_of(co_await refusal("orders")), ErrorKind::Busy);
    const auto unknown = co_await refusal("nothing");
    EXPECT_EQ(kind_of(unknown), ErrorKind::UnknownDatabase);
    EXPECT_EQ(std::get<DatabaseName>(unknown.error().data()).database, "nothing");
    EXPECT_EQ(unknown.error().caused_by(), CausedBy::peer);
    need(co_await source.stop());
  }(*this));
}

TEST_F(Handshake, a_source_of_another_cluster_is_refused_by_tls_or_by_id) {
  run(context, [](Handshake& test) -> awaitable<void> {
    // The certificate names both clusters, so that the ids themselves are compared.
    test.certificates.add("both", {"prod-us", "prod-eu"});
    auto config = test.source_config();
    config.tls = test.certificates.files("both");
    RunningSource source(test.context.get_executor(), need(test.endpoint.listen(loopback(), config)), test.policy());
    auto wrong_id = test.make_link(text_of(source.address()), quick(), "prod-eu");
    const auto mismatch = co_await wrong_id->connect(Lsn{0});
    EXPECT_EQ(kind_of(mismatch), ErrorKind::ClusterIdMismatch);
    EXPECT_EQ(std::get<ClusterIds>(mismatch.error().data()).declared, "prod-eu");
    EXPECT_EQ(std::get<ClusterIds>(mismatch.error().data()).remote, "prod-us");
    auto wrong_name = test.make_link(text_of(source.address()), quick(), "prod-asia");
    EXPECT_EQ(kind_of(co_await wrong_name->connect(Lsn{0})), ErrorKind::TlsRefused);
    auto other_case = test.make_link(text_of(source.address()), quick(), "PROD-us");
    EXPECT_TRUE((co_await other_case->connect(Lsn{0})).ok());
    need(co_await source.stop());
  }(*this));
}

TEST_F(Handshake, an_accepting_ack_of_another_cluster_is_a_mismatch_and_tells_the_source) {
  run(context, [](Handshake& test) -> awaitable<void> {
    auto listener = test.listen();
    const auto impostor = [](quic::Listener& at) -> awaitable<std::optional<std::uint64_t>> {
      auto connection = need(co_await at.accept());
      auto stream = need(co_await connection.accept_bidi_stream());
      const MirrorHelloAck ack{true, 0, "", ClusterId("prod-eu"), no_snapshot, 0};
      need(co_await stream.send.write(SendBuffer(need(encode_frame(ack)))));
      need(co_await connection.closed());
      co_return connection.close_code();
    };
    auto serving = test.begin(impostor(listener));
    auto link = test.make_link(text_of(listener.local_address()));
    const auto result = co_await link->connect(Lsn{0});
    EXPECT_EQ(kind_of(result), ErrorKind::ClusterIdMismatch);
    EXPECT_EQ(std::get<ClusterIds>(result.error().data()).remote, "prod-eu");
    EXPECT_EQ(co_await serving.end(), 0x01u);
  }(*this));
}

TEST_F(Handshake, a_hello_that_comes_byte_by_byte_without_an_end_is_accepted) {
  run(context, [](Handshake& test) -> awaitable<void> {
    auto listener = test.listen();
    auto serving = test.begin(serve(listener, test.policy()));
    std::vector<std::vector<std::byte>> pieces;
    for (const auto byte : hello_frame(test.hello()))
      pieces.push_back({byte});
    const auto answer = co_await test.raw_handshake(listener.local_address(), std::move(pieces), false);
    EXPECT_TRUE(answer.ack && answer.ack->accepted);
    EXPECT_EQ(need(co_await serving.end()).hello, test.hello());
  }(*this));
}

TEST_F(Handshake, another_version_is_refused) {
  auto other = hello();
  other.protocol_version = 2;
  refuses(hello_frame(other), ErrorKind::ProtocolVersionMismatch);
}

TEST_F(Handshake, a_voter_class_first_frame_is_refused_before_its_payload_comes) {
  // The header alone, announcing far more than a hello may have.
  refuses({std::byte{0x30}, std::byte{0x7f}, std::byte{0}, std::byte{0}, std::byte{0}},
          ErrorKind::ObserverRoleViolation, false);
}

TEST_F(Handshake, another_first_frame_is_a_codec_error) {
  refuses(encode_frame(std::uint8_t{0x20}, {}), ErrorKind::HandshakeCodec);
}

TEST_F(Handshake, a_hello_over_4096_bytes_is_refused_by_its_header) {
  refuses({std::byte{0x01}, std::byte{0}, std::byte{0}, std::byte{0x10}, std::byte{0x01}}, ErrorKind::HandshakeCodec,
          false);
}

TEST_F(Handshake, a_hello_that_is_cut_short_is_a_codec_error) {
  auto bytes = hello_frame(hello());
  bytes.resize(bytes.size() - 3);
  refuses(std::move(bytes), ErrorKind::HandshakeCodec);
}

TEST_F(Handshake, a_hello_that_is_not_utf8_is_a_codec_error) {
  auto odd = hello();
  odd.source_database_id = DatabaseId("\xff\xfe");
  const auto payload = encode_payload(odd);
  refuses(encode_frame(frame_kind::mirror_hello, payload), ErrorKind::HandshakeCodec);
}

TEST_F(Handshake, a_mirror_that_says_nothing_is_closed_after_the_deadline) {
  run(context, [](Handshake& test) -> awaitable<void> {
    auto listener = test.listen();
    auto policy = test.policy();
    policy.hello_deadline = 100ms;
    auto serving = test.begin(serve(listener, policy));
    auto connection = need(co_await test.endpoint.connect(listener.local_address(), "prod-us", test.client_config()));
    need(co_await connection.closed());
    EXPECT_EQ(connection.close_code(), 0x11u);
    EXPECT_EQ(kind_of(co_await serving.end()), ErrorKind::Timeout);
  }(*this));
}

// Goal: a refusal is never lost. Method: fifty refusals one after another, each source closing as soon as it may; the
// mirror must name the refusal's kind every time.
TEST_F(Handshake, a_refusal_is_never_lost_in_fifty) {
  run(context, [](Handshake& test) -> awaitable<void> {
    RunningSource source(test.context.get_executor(), test.listen(), test.policy());
    for (int round = 0; round < 50; ++round) {
      auto link = test.make_link(text_of(source.address()), quick(), "prod-us", "secret");
      const auto result = co_await link->connect(Lsn{0});
      EXPECT_EQ(kind_of(result), ErrorKind::NotAuthorized) << "round " << round << ": " << result.error().message();
    }
    need(co_await source.stop());
  }(*this));
}

TEST_F(Handshake, a_close_code_without_an_ack_says_as_much_as_the_ack) {
  run(context, [](Handshake& test) -> awaitable<void> {
    for (const auto& rule : error_rules()) {
      if (!rule.wire_code) continue;
      auto listener = test.listen();
      const auto refusing = [](quic::Listener& at, std::uint64_t code) -> awaitable<void> {
        auto connection = need(co_await at.accept());
        connection.close(code);
        need(co_await connection.closed());
      };
      auto serving = test.begin(refusing(listener, *rule.wire_code));
      auto link = test.make_link(text_of(listener.local_address()));
      const auto result = co_await link->connect(Lsn{0});
      EXPECT_EQ(kind_of(result), rule.kind) << rule.name << ": " << result.error().message();
      co_await serving.end();
    }
  }(*this));
}

TEST_F(Handshake, a_normal_close_or_an_unknown_code_instead_of_the_ack_is_a_transport_error) {
  run(context, [](Handshake& test) -> awaitable<void> {
    for (const std::uint64_t code : std::vector<std::uint64_t>{0x00, 0x7777}) {
      auto listener = test.listen();
      const auto closing = [](quic::Listener& at, std::uint64_t with) -> awaitable<void> {
        auto connection = need(co_await at.accept());
        auto stream = need(co_await connection.accept_bidi_stream());
        connection.close(with);
      };
      auto serving = test.begin(closing(listener, code));
      auto link = test.make_link(text_of(listener.local_address()));
      const auto result = co_await link->connect(Lsn{0});
      EXPECT_EQ(kind_of(result), ErrorKind::Transport);
      EXPECT_EQ(cause(result.error()), TransportCause::closed_by_peer);
      co_await serving.end();
    }
  }(*this));
}

TEST_F(Handshake, an_answer_that_is_no_ack_is_a_codec_error_and_tells_the_source) {
  run(context, [](Handshake& test) -> awaitable<void> {
    const std::vector<std::vector<std::byte>> answers{
        encode_frame(frame_kind::mirror_hello, {}),
        encode_frame(frame_kind::mirror_hello_ack, {}),
        {std::byte{0x02}, std::byte{0}, std::byte{0}, std::byte{0x10}, std::byte{0x01}},
        {std::byte{0x02}, std::byte{0}}};
    for (const auto& answer : answers) {
      auto listener = test.listen();
      const auto answering = [](quic::Listener& at,
                                std::vector<std::byte> bytes) -> awaitable<std::optional<std::uint64_t>> {
        auto connection = need(co_await at.accept());
        auto stream = need(co_await connection.accept_bidi_stream());
        need(co_await stream.send.write(SendBuffer(std::move(bytes))));
        stream.send.finish();
        need(co_await connection.closed());
        co_return connection.close_code();
      };
      auto serving = test.begin(answering(listener, answer));
      auto link = test.make_link(text_of(listener.local_address()));
      EXPECT_EQ(kind_of(co_await link->connect(Lsn{0})), ErrorKind::HandshakeCodec);
      EXPECT_EQ(co_await serving.end(), 0x10u);
    }
  }(*this));
}

TEST_F(Handshake, cancelling_the_source_side_closes_the_connection) {
  run(context, [](Handshake& test) -> awaitable<void> {
    auto listener = test.listen();
    auto connection = need(co_await test.endpoint.connect(listener.local_address(), "prod-us", test.client_config()));
    const auto policy = test.policy();
    auto accepted = need(co_await listener.accept());
    auto serving = test.begin(handle_mirror_connection(accepted, policy));
    co_await boost::asio::post(boost::asio::use_awaitable);
    serving.cancel();
    EXPECT_EQ(kind_of(co_await serving.end()), ErrorKind::Cancelled);
    need(co_await connection.closed());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
