#include "link/source_handshake.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "async/with_timeout.hpp"
#include "link/accepted_streams.hpp"
#include "link/frame_reader.hpp"
#include "link/refuse.hpp"

namespace crosslink {
namespace link {
namespace {

std::optional<MirrorError> check_hello_header(FrameHeader header) {
  if (is_voter_class(header.kind)) return voter_class_error(header.kind);
  if (header.kind != frame_kind::mirror_hello) {
    return MirrorError::codec(fmt::format("the first frame was of kind {:#04x}, not a hello", header.kind));
  }
  if (header.payload_bytes > handshake_payload_bytes_max) {
    return MirrorError::codec(fmt::format("a hello of {} bytes was announced, more than {}", header.payload_bytes,
                                          handshake_payload_bytes_max));
  }
  return std::nullopt;
}

/// True for what can still be answered with an ack on the hello's stream.
bool is_answerable(const MirrorError& error) {
  return error.kind() == ErrorKind::HandshakeCodec || error.kind() == ErrorKind::ObserverRoleViolation;
}

Task<MirrorHello> read_hello(quic::Connection connection, std::optional<quic::BidiStream>& stream) {
  auto accepted = co_await connection.accept_bidi_stream();
  if (!accepted) co_return accepted.error();
  stream = *std::move(accepted);
  if (async::is_cancelled(co_await boost::asio::this_coro::cancellation_state))
    co_return MirrorError::cancelled("reading a hello");
  FrameReader reader(handshake_payload_bytes_max, &check_hello_header);
  const auto frame = co_await reader.read(stream->recv);
  if (!frame) {
    const auto cause = frame.error().transport_cause();
    if (cause == TransportCause::stream_ended_early && !connection.end_reason()) {
      co_return MirrorError::codec("the mirror ended the handshake's stream before a whole hello");
    }
    co_return frame.error();
  }
  co_return decode_hello(frame->payload);
}

Lsn first_lsn_to_stream(const MirrorHello& hello, const MirrorHelloAck& ack) {
  const auto after = ack.snapshot_lsn == no_snapshot ? hello.last_applied_lsn : ack.snapshot_lsn;
  if (after.value == std::numeric_limits<std::uint64_t>::max()) return after;
  return Lsn{after.value + 1};
}

MirrorHelloAck acceptance(const MirrorHello& hello, const SourcePolicy& policy) {
  const auto decision = policy.decide_snapshot ? policy.decide_snapshot(hello) : SnapshotDecision{};
  MirrorHelloAck ack;
  ack.accepted = true;
  ack.source_cluster_id = policy.cluster_id;
  ack.snapshot_lsn = decision.snapshot_lsn;
  ack.snapshot_bytes_total = decision.snapshot_bytes_total;
  return ack;
}

Task<AcceptedMirror> accept(quic::Connection connection, quic::BidiStream stream, MirrorHello hello,
                            const SourcePolicy& policy) {
  auto ack = acceptance(hello, policy);
  auto bytes = encode_frame(ack);
  if (!bytes) co_return bytes.error();
  connection.set_streams_allowed(policy.streams_after_acceptance);
  auto writing = stream.send.write(quic::SendBuffer(*std::move(bytes)));
  auto late = MirrorError::timeout("the mirror did not take the ack in time");
  const auto written = co_await async::with_timeout(std::move(writing), policy.hello_deadline, std::move(late));
  if (!written) co_return written.error();
  stream.send.finish();
  auto names = connection.peer_names();
  const auto stream_from = first_lsn_to_stream(hello, ack);
  auto streams = std::make_shared<AcceptedMirror::Streams>(policy);
  co_return AcceptedMirror{std::move(connection), std::move(hello), std::move(ack),
                           stream_from,           std::move(names), std::move(streams)};
}

}  // namespace

Task<AcceptedMirror> serve_hello(quic::Connection connection, const SourcePolicy& policy,
                                 std::optional<MirrorHello>& seen) {
  std::optional<quic::BidiStream> stream;
  auto late = MirrorError::timeout(fmt::format("no hello came within {} ms", policy.hello_deadline.count()));
  auto reading = read_hello(connection, stream);
  // Time spent waiting for us counts; a hello that has come meanwhile is read all the same.
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(connection.established_at() + policy.hello_deadline -
                                                                 std::chrono::steady_clock::now());
  auto hello =
      co_await async::with_timeout(std::move(reading), std::max(left, std::chrono::milliseconds{0}), std::move(late));
  std::optional<MirrorError> refused_with;
  if (hello) {
    seen = *hello;
    refused_with = judge_hello(*hello, connection.peer_names(), policy);
  } else {
    refused_with = hello.error();
  }
  if (!refused_with) {
    auto accepted = co_await accept(connection, *std::move(stream), *std::move(hello), policy);
    if (!accepted) connection.close(close_code_of(accepted.error()));
    co_return accepted;
  }
  if (stream && (hello.ok() || is_answerable(*refused_with))) {
    co_await send_refusal(stream->send, *refused_with, policy.cluster_id);
  }
  connection.close(close_code_of(*refused_with));
  co_return *std::move(refused_with);
}

namespace {

Task<AcceptedMirror> serve_unseen(quic::Connection connection, const SourcePolicy& policy) {
  std::optional<MirrorHello> seen;
  co_return co_await serve_hello(std::move(connection), policy, seen);
}

}  // namespace
}  // namespace link

Task<AcceptedMirror> handle_mirror_connection(quic::Connection connection, const SourcePolicy& policy) {
  return async::on_own_strand(link::serve_unseen(std::move(connection), policy));
}

}  // namespace crosslink
