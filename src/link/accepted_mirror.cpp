#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "async/task_group.hpp"
#include "async/with_timeout.hpp"
#include "link/accepted_streams.hpp"
#include "link/refuse.hpp"

namespace crosslink {
namespace {

std::optional<MirrorError> check_request_header(FrameHeader header) {
  if (is_voter_class(header.kind)) return link::voter_class_error(header.kind);
  if (header.payload_bytes > control_payload_bytes_max) {
    return MirrorError::protocol_violation(fmt::format("a request of {} bytes was announced, more than {}",
                                                       header.payload_bytes, control_payload_bytes_max));
  }
  return std::nullopt;
}

}  // namespace

AcceptedMirror::Streams::Streams(const SourcePolicy& policy)
    : cluster_id(policy.cluster_id),
      pending_max(std::max<std::size_t>(policy.streams_after_acceptance, 1)),
      request_deadline(policy.hello_deadline) {}

AcceptedMirror::Streams::Pending::Pending(quic::BidiStream arrived, std::chrono::steady_clock::time_point due)
    : stream(std::move(arrived)), reader(control_payload_bytes_max, &check_request_header), deadline(due) {}

namespace {

using Streams = AcceptedMirror::Streams;
using PendingIterator = std::list<Streams::Pending>::iterator;

// Each of the two below runs beside the others of its kind, on one strand. Being cancelled loses nothing: the stream
// stays pending, with what it has already got, for the next round.

awaitable<void> take_stream(Streams& streams, quic::Connection connection) {
  auto stream = co_await connection.accept_bidi_stream();
  if (stream) {
    streams.pending.emplace_back(*std::move(stream), std::chrono::steady_clock::now() + streams.request_deadline);
  } else if (stream.error().kind() != ErrorKind::Cancelled) {
    streams.end = stream.error();
  }
}

Task<Frame> read_request(Streams::Pending& pending) {
  for (;;) {
    auto frame = co_await pending.reader.read(pending.stream.recv);
    if (!frame || !is_skippable(frame->kind)) co_return frame;
    if (async::is_cancelled(co_await boost::asio::this_coro::cancellation_state)) {
      co_return MirrorError::cancelled("reading a request");
    }
  }
}

awaitable<void> take_request(Streams& streams, PendingIterator pending) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(pending->deadline - std::chrono::steady_clock::now());
  auto late = MirrorError::timeout(fmt::format("no request came within {} ms", streams.request_deadline.count()));
  auto reading = read_request(*pending);
  auto request = co_await async::with_timeout(std::move(reading), std::max(left, std::chrono::milliseconds{0}), late);
  if (!request && request.error().kind() == ErrorKind::Cancelled) co_return;
  auto stream = std::move(pending->stream);
  streams.pending.erase(pending);
  if (request) {
    streams.ready.push_back({*std::move(request), std::move(stream)});
    co_return;
  }
  const auto& error = request.error();
  if (error.kind() == ErrorKind::ObserverRoleViolation) {
    streams.violation = Streams::Broken{std::move(stream), error};
  } else if (error.kind() != ErrorKind::Transport || error.transport_cause() == TransportCause::stream_ended_early) {
    streams.broken.push_back({std::move(stream), error});
  }
}

/// One round: waits until any stream, or its request, has come. False when cancelled.
awaitable<bool> wait_for_one(Streams& streams, const quic::Connection& connection) {
  auto executor = co_await boost::asio::this_coro::executor;
  async::TaskGroup group(executor);
  for (auto pending = streams.pending.begin(); pending != streams.pending.end();) {
    const auto current = pending++;
    group.spawn(take_request(streams, current));
  }
  if (streams.pending.size() < streams.pending_max) group.spawn(take_stream(streams, connection));
  const bool uncancelled = co_await group.wait_below(group.running());
  group.cancel();
  co_await group.drain();
  co_return uncancelled;
}

Task<void> answer_failure(quic::SendStream& stream, std::string_view kind, const std::string& detail) {
  const Failure failure{std::string(kind), detail};
  quic::SendBuffer answer(encode_failure(failure));
  auto written = co_await stream.write(std::move(answer));
  if (written) stream.finish();
  co_return written;
}

/// Tells each mirror's broken stream why it is dropped. A stream that cannot take the answer is gone already.
awaitable<void> answer_broken(Streams& streams) {
  while (!streams.broken.empty()) {
    auto broken = std::move(streams.broken.front());
    streams.broken.pop_front();
    const auto& error = broken.error;
    const auto answered = co_await answer_failure(broken.stream.send, to_string(error.kind()), error.message());
    if (!answered) broken.stream.send.reset(link::close_code_of(error));
  }
}

Task<IncomingStream> next_stream(std::shared_ptr<Streams> streams, quic::Connection connection) {
  if (streams->accepting) {
    co_return MirrorError(ErrorKind::Busy, CausedBy::us, "another accept_stream of this mirror is running");
  }
  streams->accepting = true;
  const std::shared_ptr<void> running(nullptr, [streams](void*) { streams->accepting = false; });
  for (;;) {
    if (streams->violation) {
      auto violation = std::move(*streams->violation);
      streams->end = violation.error;
      streams->violation.reset();
      co_await link::send_refusal(violation.stream.send, violation.error, streams->cluster_id);
      connection.close(link::close_code_of(violation.error));
    }
    co_await answer_broken(*streams);
    if (!streams->end && !streams->ready.empty()) {
      auto ready = std::move(streams->ready.front());
      streams->ready.pop_front();
      co_return ready;
    }
    if (!streams->end) streams->end = connection.end_reason();
    if (streams->end) co_return *streams->end;
    const bool uncancelled = co_await wait_for_one(*streams, connection);
    if (!uncancelled && streams->ready.empty() && !streams->violation) {
      co_return MirrorError::cancelled("waiting for a mirror's next stream");
    }
  }
}

Task<void> refuse_request(IncomingStream incoming) {
  const auto detail = fmt::format("requests of kind {:#04x} are not served here", incoming.request.kind);
  co_return co_await answer_failure(incoming.stream.send, to_string(ErrorKind::ProtocolViolation), detail);
}

}  // namespace

Task<IncomingStream> AcceptedMirror::accept_stream() { return async::on_own_strand(next_stream(streams, connection)); }

Task<void> AcceptedMirror::refuse_kind(IncomingStream incoming) { return refuse_request(std::move(incoming)); }

Task<void> refuse_all_requests(AcceptedMirror& mirror) {
  for (;;) {
    auto incoming = co_await mirror.accept_stream();
    if (!incoming) {
      const bool left = mirror.connection.close_code() == normal_close_code;
      if (left && incoming.error().transport_cause() == TransportCause::closed_by_peer) co_return Result<void>{};
      co_return incoming.error();
    }
    const auto refused = co_await AcceptedMirror::refuse_kind(*std::move(incoming));
    // The mirror may have given up that stream meanwhile; the session goes on.
    if (!refused && refused.error().kind() == ErrorKind::Cancelled) co_return refused.error();
  }
}

}  // namespace crosslink
