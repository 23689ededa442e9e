#include "regress.hpp"

namespace crosslink::test {
namespace {

/// Bytes on and on, until the peer takes them no more.
Task<void> flood(quic::SendStream& stream, std::uint64_t& written) {
  const auto block = std::make_shared<const std::vector<std::byte>>(pattern(64 * 1024));
  for (;;) {
    auto done = co_await stream.write(quic::SendBuffer(block, *block));
    if (!done) co_return done;
    written += block->size();
  }
}

awaitable<void> read_bytes(quic::RecvStream& stream, std::uint64_t bytes) {
  for (std::uint64_t got = 0; got < bytes;) {
    const auto view = need(co_await stream.read());
    stream.consume(view.total_bytes);
    got += view.total_bytes;
  }
}

/// Until `written` stays as it is.
awaitable<void> settled(const std::uint64_t& written) {
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer timer(executor);
  for (std::uint64_t before = UINT64_MAX; written != before;) {
    before = written;
    timer.expires_after(std::chrono::milliseconds(300));
    co_await timer.async_wait(boost::asio::use_awaitable);
  }
}

// Goal: streams that are not read take their own windows and no more, so that there is room for others for ever.
// Method: four streams first flow as fast as they can, which is what makes the transport want larger windows for them;
// then their reader stops, and a fifth stream must come through.
awaitable<void> four_unread_streams_and_a_fifth(Regress& test, bool from_source, quic::ClientConfig config) {
  auto listener = need(test.endpoint.listen(loopback(), test.server_config()));
  auto pair = co_await test.connected(listener, std::move(config));
  std::vector<quic::BidiStream> at_mirror;
  std::vector<quic::BidiStream> at_source;
  std::uint64_t written = 0;
  for (int i = 0; i < 5; ++i) {
    at_mirror.push_back(need(co_await pair.mirror.open_bidi_stream()));
    need(co_await at_mirror.back().send.write(quic::SendBuffer(pattern(1))));
    at_source.push_back(need(co_await pair.source.accept_bidi_stream()));
    co_await read_bytes(at_source.back().recv, 1);
  }
  auto& senders = from_source ? at_source : at_mirror;
  auto& readers = from_source ? at_mirror : at_source;
  std::vector<Background<Result<void>>> flooding;
  std::vector<Background<void>> reading;
  for (std::size_t i = 0; i < 4; ++i) {
    flooding.emplace_back(test.context.get_executor(), flood(senders[i].send, written));
    reading.emplace_back(test.context.get_executor(), read_bytes(readers[i].recv, 16 * 1024 * 1024));
  }
  for (auto& one : reading)
    co_await one.end();
  co_await settled(written);
  const auto last = pattern(100'000);
  auto sending = Background<Result<void>>(test.context.get_executor(), senders[4].send.write(quic::SendBuffer(last)));
  std::vector<std::byte> got(last.size());
  need(co_await readers[4].recv.read_exactly(got));
  EXPECT_EQ(got, last);
  need(co_await sending.end());
  for (auto& one : flooding) {
    one.cancel();
    const auto ended = co_await one.end();
    EXPECT_EQ(kind_of(ended), ErrorKind::Cancelled);
  }
}

// Symptom: a mirror that stopped reading its bulk streams, being over its cap, got nothing on control any more and
// counted as disconnected: the transport had made the bulk streams' windows so large, because they were fast, that they
// held all of the connection's.
TEST_F(Regress, fast_streams_that_were_read_no_more_starved_every_other) {
  auto config = client_config();
  config.stream_window_bytes = 64 * 1024;
  config.bulk_streams = 4;
  run(context, four_unread_streams_and_a_fifth(*this, true, config));
}

TEST_F(Regress, fast_streams_that_a_source_read_no_more_starved_every_other) {
  run(context, four_unread_streams_and_a_fifth(*this, false, client_config()));
}

}  // namespace
}  // namespace crosslink::test
