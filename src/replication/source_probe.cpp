#include "replication/source_probe.hpp"

#include <chrono>
#include <utility>

#include "async/with_timeout.hpp"
#include "link/software.hpp"
#include "replication/session_stream.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::replication {
namespace {

constexpr auto begin_deadline = std::chrono::seconds(5);

std::vector<std::byte> own_begin(bool sync) {
  core::SessionBegin begin;
  begin.sync = sync;
  begin.software = link::software;
  begin.bulk_data_bytes_max = bulk_data_bytes_max;
  begin.entry_bytes_max = entry_bytes_max_default;
  begin.in_flight_bytes_max = core::in_flight_bytes_min;
  return core::encode_message(begin);
}

Task<core::SessionBegin> begin_session(CrossClusterLink& link, bool sync) {
  auto opened = co_await link.open_bidi_stream();
  if (!opened) co_return opened.error();
  auto stream = *std::move(opened);
  std::vector<quic::SendBuffer> buffers;
  buffers.emplace_back(own_begin(sync));
  auto writing = stream.send.write(std::move(buffers));
  const auto written = co_await std::move(writing);
  if (!written) co_return written.error();
  link::FrameReader reader(control_payload_bytes_max,
                           [](FrameHeader) -> std::optional<MirrorError> { return std::nullopt; });
  for (;;) {
    auto reading = reader.read(stream.recv);
    const auto frame = co_await std::move(reading);
    if (!frame) co_return frame.error();
    if (is_skippable(frame->kind)) continue;
    auto decoded = core::decode_message(frame->kind, frame->payload);
    if (!decoded) co_return decoded.error();
    if (const auto* failure = std::get_if<core::SessionFailure>(&decoded->message)) co_return core::to_error(*failure);
    auto* begin = std::get_if<core::SessionBegin>(&decoded->message);
    if (begin == nullptr || !begin->source)
      co_return MirrorError::protocol_violation("the source did not begin the session with its SessionBegin");
    co_return std::move(*begin);
  }
}

}  // namespace

Task<SourceFacts> probe_source(CrossClusterLink& link, bool sync) {
  auto connecting = link.connect(Lsn{0});
  auto ack = co_await std::move(connecting);
  if (!ack) co_return ack.error();
  auto beginning = begin_session(link, sync);
  auto late = MirrorError::timeout("the source did not begin a session in time");
  auto begin = co_await async::with_timeout(std::move(beginning), begin_deadline, std::move(late));
  link.close();
  if (!begin) co_return begin.error();
  auto& source = *begin->source;
  SourceFacts facts;
  facts.ack = *std::move(ack);
  facts.software = escape(begin->software, 64);
  facts.chain = std::move(source.chain);
  facts.origin = source.origin;
  facts.history = std::move(source.history);
  facts.promoted_from = source.promoted_from;
  facts.sync_named = begin->sync;
  facts.key_prefix = std::move(source.key_prefix);
  co_return facts;
}

}  // namespace crosslink::replication
