#include "regress.hpp"

namespace crosslink::test {
namespace {

// Symptom: under a rate cap a cancelled write had sent a part of its bytes; the next write followed in the middle of a
// frame. Method: a write that the cap holds up for seconds is cancelled once a part has gone.
TEST_F(Regress, a_cancelled_paced_write_left_half_a_frame) {
  run(context, [](Regress& test) -> awaitable<void> {
    auto listening = test.server_config();
    auto listener = need(test.endpoint.listen(loopback(), listening));
    auto config = test.client_config();
    config.transport.rate_cap_bits_per_s = 1'000'000;
    auto pair = co_await test.connected(listener, config);
    auto sending = need(co_await pair.mirror.open_bidi_stream());
    quic::SendBuffer frame(pattern(1'000'000));
    auto writing = test.begin(sending.send.write(std::move(frame)));
    EXPECT_TRUE(co_await eventually([&] { return sending.send.bytes_in_flight() > 0; }));
    auto receiving = need(co_await pair.source.accept_bidi_stream());
    writing.cancel();
    EXPECT_EQ(kind_of(co_await writing.end()), ErrorKind::Cancelled);
    quic::SendBuffer next(pattern(10));
    const auto later = co_await sending.send.write(std::move(next));
    EXPECT_EQ(later.ok() ? std::nullopt : cause(later.error()), TransportCause::stream_reset_locally);
    Result<quic::ReadView> view = co_await receiving.recv.read();
    while (view.ok() && !view->end) {
      receiving.recv.consume(view->total_bytes);
      view = co_await receiving.recv.read();
    }
    EXPECT_EQ(view.ok() ? std::nullopt : cause(view.error()), TransportCause::stream_reset_by_peer);
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
