#include "quic_fixture.hpp"

namespace crosslink::test {
namespace {

using quic::SendBuffer;
using quic::TlsFiles;
using Stream = quic::BidiStream;

class QuicStreams : public QuicTest {
 public:
  quic::Listener listener = need(endpoint.listen(loopback(), server_config()));
};

TEST_F(QuicStreams, bytes_arrive_whole_and_in_order_in_both_directions) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    const auto up = pattern(3'000'001);
    const auto down = pattern(5'000'003);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    auto sending = Background<Result<void>>(test.context.get_executor(), mirror.send.write(SendBuffer(up)));
    auto source = need(co_await pair.source.accept_bidi_stream());
    auto answering = Background<Result<void>>(test.context.get_executor(), source.send.write(SendBuffer(down)));
    auto got_down = Background<std::vector<std::byte>>(test.context.get_executor(), read_all(mirror.recv));
    need(co_await sending.end());
    mirror.send.finish();
    EXPECT_EQ(co_await read_all(source.recv), up);
    need(co_await answering.end());
    source.send.finish();
    EXPECT_EQ(co_await got_down.end(), down);
    need(co_await source.send.wait_acknowledged());
    need(co_await mirror.send.wait_acknowledged());
    EXPECT_EQ(mirror.send.bytes_in_flight(), 0u);
  }(*this));
}

TEST_F(QuicStreams, gathered_and_empty_buffers_arrive_as_one_piece) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    std::vector<SendBuffer> buffers{SendBuffer(pattern(5)), SendBuffer(std::vector<std::byte>{}),
                                    SendBuffer(pattern(7))};
    need(co_await mirror.send.write(std::move(buffers)));
    need(co_await mirror.send.write(std::vector<SendBuffer>{}));
    mirror.send.finish();
    auto source = need(co_await pair.source.accept_bidi_stream());
    auto expected = pattern(5);
    const auto second = pattern(7);
    expected.insert(expected.end(), second.begin(), second.end());
    EXPECT_EQ(co_await read_all(source.recv), expected);
  }(*this));
}

TEST_F(QuicStreams, a_reader_that_does_not_consume_holds_the_writer_back) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    auto flood = [](quic::SendStream& stream, std::uint64_t& written) -> Task<void> {
      for (;;) {
        auto done = co_await stream.write(SendBuffer(pattern(64 * 1024)));
        if (!done) co_return done;
        written += 64 * 1024;
      }
    };
    std::uint64_t written = 0;
    auto flooding = Background<Result<void>>(test.context.get_executor(), flood(mirror.send, written));
    auto source = need(co_await pair.source.accept_bidi_stream());
    const auto first = need(co_await source.recv.read());
    EXPECT_GT(first.total_bytes, 0u);
    // The source's window for this stream is 64 KiB and the mirror keeps its ideal amount (128 KiB at first) in flight.
    std::uint64_t before = 0;
    std::uint64_t settled = written;
    boost::asio::steady_timer timer(test.context);
    do {
      before = settled;
      timer.expires_after(std::chrono::milliseconds(300));
      co_await timer.async_wait(boost::asio::use_awaitable);
      settled = written;
    } while (settled != before);
    EXPECT_LE(settled, 1024u * 1024);
    EXPECT_EQ(need(co_await source.recv.read()).total_bytes, first.total_bytes) << "read again shows the same bytes";
    source.recv.consume(first.total_bytes);
    std::uint64_t got = first.total_bytes;
    while (got < settled) {
      const auto view = need(co_await source.recv.read());
      source.recv.consume(view.total_bytes);
      got += view.total_bytes;
    }
    EXPECT_TRUE(co_await eventually([&] { return written > settled; })) << "consuming lets the writer go on";
    flooding.cancel();
    EXPECT_EQ((co_await flooding.end()).error().kind(), ErrorKind::Cancelled);
  }(*this));
}

TEST_F(QuicStreams, a_view_stays_readable_after_the_peer_closed_the_connection) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    need(co_await mirror.send.write(SendBuffer(pattern(10))));
    auto source = need(co_await pair.source.accept_bidi_stream());
    need(co_await source.send.write(SendBuffer(pattern(1000))));
    const auto shown = need(co_await mirror.recv.read());
    EXPECT_EQ(shown.total_bytes, 1000u);  // one packet
    pair.source.close(0x04);
    need(co_await pair.mirror.closed());
    EXPECT_EQ(pair.mirror.close_code(), 0x04u);
    std::vector<std::byte> first(300);
    need(co_await mirror.recv.read_exactly(first));
    std::vector<std::byte> rest(700);
    need(co_await mirror.recv.read_exactly(rest));
    first.insert(first.end(), rest.begin(), rest.end());
    EXPECT_EQ(first, pattern(1000));
    const auto after = co_await mirror.recv.read();
    EXPECT_EQ(cause(after.error()), TransportCause::closed_by_peer);
  }(*this));
}

TEST_F(QuicStreams, reset_and_stop_say_that_the_peer_gave_up_and_carry_the_code) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    need(co_await mirror.send.write(SendBuffer(pattern(10))));
    auto source = need(co_await pair.source.accept_bidi_stream());
    mirror.send.reset(0x21);
    const auto reading = [](quic::RecvStream& stream) -> Task<void> {
      for (;;) {
        auto view = co_await stream.read();
        if (!view) co_return view.error();
        stream.consume(view->total_bytes);
        if (view->end) co_return Result<void>{};
      }
    };
    const auto ended = co_await reading(source.recv);
    EXPECT_EQ(cause(ended.error()), TransportCause::stream_reset_by_peer);
    EXPECT_EQ(ended.error().caused_by(), CausedBy::peer);
    EXPECT_EQ(std::get<TransportFault>(ended.error().data()).code, 0x21u);
    const auto own = co_await mirror.send.write(SendBuffer(pattern(1)));
    EXPECT_EQ(cause(own.error()), TransportCause::stream_reset_locally);
    EXPECT_EQ(own.error().caused_by(), CausedBy::us);

    mirror.recv.stop(0x22);
    std::optional<MirrorError> refused;
    while (!refused) {
      auto done = co_await source.send.write(SendBuffer(pattern(1000)));
      if (!done) refused = done.error();
    }
    EXPECT_EQ(cause(*refused), TransportCause::stream_stopped_by_peer);
    EXPECT_EQ(std::get<TransportFault>(refused->data()).code, 0x22u);
    EXPECT_FALSE(pair.mirror.end_reason().has_value()) << "a stream's end is not the connection's";
  }(*this));
}

TEST_F(QuicStreams, writing_after_finish_is_our_own_error) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    mirror.send.finish();
    mirror.send.finish();
    const auto late = co_await mirror.send.write(SendBuffer(pattern(1)));
    EXPECT_EQ(cause(late.error()), TransportCause::stream_finished_locally);
    EXPECT_EQ(late.error().caused_by(), CausedBy::us);
  }(*this));
}

TEST_F(QuicStreams, read_exactly_tells_an_early_end_from_a_whole_message) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    need(co_await mirror.send.write(SendBuffer(pattern(12))));
    mirror.send.finish();
    auto source = need(co_await pair.source.accept_bidi_stream());
    std::vector<std::byte> head(8);
    need(co_await source.recv.read_exactly(head));
    const auto whole = pattern(12);
    EXPECT_TRUE(std::equal(head.begin(), head.end(), whole.begin()));
    const auto early = co_await source.recv.read_exactly(head);
    EXPECT_EQ(cause(early.error()), TransportCause::stream_ended_early);
    EXPECT_EQ(early.error().caused_by(), CausedBy::peer);
  }(*this));
}

TEST_F(QuicStreams, a_second_read_at_once_is_busy_and_every_wait_can_be_cancelled) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    auto reading = Background<Result<quic::ReadView>>(test.context.get_executor(), mirror.recv.read());
    auto accepting = Background<Result<Stream>>(test.context.get_executor(), pair.source.accept_bidi_stream());
    auto closing = Background<Result<void>>(test.context.get_executor(), pair.source.closed());
    auto acknowledging = Background<Result<void>>(test.context.get_executor(), mirror.send.wait_acknowledged());
    co_await boost::asio::post(test.context, boost::asio::use_awaitable);
    EXPECT_EQ((co_await mirror.recv.read()).error().kind(), ErrorKind::Busy);
    reading.cancel();
    accepting.cancel();
    closing.cancel();
    acknowledging.cancel();
    EXPECT_EQ((co_await reading.end()).error().kind(), ErrorKind::Cancelled);
    EXPECT_EQ((co_await accepting.end()).error().kind(), ErrorKind::Cancelled);
    EXPECT_EQ((co_await closing.end()).error().kind(), ErrorKind::Cancelled);
    EXPECT_EQ((co_await acknowledging.end()).error().kind(), ErrorKind::Cancelled);
    // Nothing was broken by it.
    need(co_await mirror.send.write(SendBuffer(pattern(3))));
    auto source = need(co_await pair.source.accept_bidi_stream());
    need(co_await source.send.write(SendBuffer(pattern(4))));
    EXPECT_EQ(need(co_await mirror.recv.read()).total_bytes, 4u);
  }(*this));
}

TEST_F(QuicStreams, opening_waits_for_credit_and_goes_on_when_the_source_allows_more) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto config = test.server_config();
    config.streams_before_acceptance = 1;
    auto narrow = need(test.endpoint.listen(loopback(), config));
    auto pair = co_await test.connected(narrow);
    auto first = need(co_await pair.mirror.open_bidi_stream());
    auto second = Background<Result<Stream>>(test.context.get_executor(), pair.mirror.open_bidi_stream());
    auto given_up = Background<Result<Stream>>(test.context.get_executor(), pair.mirror.open_bidi_stream());
    need(co_await first.send.write(SendBuffer(pattern(1))));
    auto source = need(co_await pair.source.accept_bidi_stream());
    EXPECT_FALSE(second.ended());
    given_up.cancel();
    EXPECT_EQ((co_await given_up.end()).error().kind(), ErrorKind::Cancelled);
    EXPECT_FALSE(second.ended());
    pair.source.set_streams_allowed(5);
    auto opened = need(co_await second.end());
    need(co_await opened.send.write(SendBuffer(pattern(2))));
    opened.send.finish();
    auto accepted = need(co_await pair.source.accept_bidi_stream());
    EXPECT_EQ((co_await read_all(accepted.recv)).size(), 2u);
  }(*this));
}

TEST_F(QuicStreams, streams_reset_before_they_are_accepted_do_not_pile_up) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    for (int i = 0; i < 100; ++i) {
      auto stream = need(co_await pair.mirror.open_bidi_stream());
      need(co_await stream.send.write(SendBuffer(pattern(1))));
      stream.send.reset(1);
      stream.recv.stop(1);
    }
    auto last = need(co_await pair.mirror.open_bidi_stream());
    need(co_await last.send.write(SendBuffer(pattern(9))));
    last.send.finish();
    std::size_t seen = 0;
    for (;;) {
      auto stream = need(co_await pair.source.accept_bidi_stream());
      ++seen;
      auto view = co_await stream.recv.read();
      if (view && view->total_bytes == 9) break;
    }
    EXPECT_LE(seen, 9u) << "no more than the streams allowed at once can wait";
  }(*this));
}

TEST_F(QuicStreams, unidirectional_streams_carry_bytes_one_way) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto pair = co_await test.connected(test.listener);
    auto sending = need(co_await pair.mirror.open_uni_stream());
    need(sending.set_priority(quic::priority_control));
    need(co_await sending.write(SendBuffer(pattern(100'000))));
    sending.finish();
    auto receiving = need(co_await pair.source.accept_uni_stream());
    EXPECT_EQ(co_await read_all(receiving), pattern(100'000));
    need(co_await sending.wait_acknowledged());
  }(*this));
}

TEST_F(QuicStreams, a_rate_cap_holds_the_writer_to_the_rate) {
  run(context, [](QuicStreams& test) -> awaitable<void> {
    auto config = test.client_config();
    config.transport.rate_cap_bits_per_s = 80'000'000;  // 10 MB/s
    auto pair = co_await test.connected(test.listener, config);
    auto mirror = need(co_await pair.mirror.open_bidi_stream());
    const auto begin = std::chrono::steady_clock::now();
    auto sending =
        Background<Result<void>>(test.context.get_executor(), mirror.send.write(SendBuffer(pattern(4'000'000))));
    auto source = need(co_await pair.source.accept_bidi_stream());
    auto reading = Background<std::vector<std::byte>>(test.context.get_executor(), read_all(source.recv));
    need(co_await sending.end());
    mirror.send.finish();
    EXPECT_EQ(co_await reading.end(), pattern(4'000'000));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(390));
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
