#include "replication/mirror_streams.hpp"

#include <cstddef>
#include <utility>

namespace crosslink::replication {

MirrorStreams::StreamPointer MirrorStreams::send(core::mirror_action::Send& frame) {
  auto& stream = streams_[frame.stream];
  const bool fresh = !stream;
  if (fresh) {
    stream = std::make_shared<SessionStream>(frame.stream);
    if (frame.opens_bulk) readers_[frame.stream] = std::make_shared<async::Signal>();
  }
  SessionStream::Outgoing outgoing;
  outgoing.buffers.emplace_back(std::move(frame.frame));
  stream->send(std::move(outgoing));
  return fresh ? stream : nullptr;
}

void MirrorStreams::drop(core::StreamToken token) {
  const auto found = streams_.find(token);
  if (found == streams_.end()) return;
  found->second->drop();
  streams_.erase(found);
  if (const auto reader = readers_.find(token); reader != readers_.end()) reader->second->notify();
}

void MirrorStreams::drop_all() {
  for (const auto& [token, stream] : streams_)
    stream->drop();
  for (const auto& [token, reader] : readers_)
    reader->notify();
}

void MirrorStreams::ended(const StreamPointer& stream) {
  streams_.erase(stream->token());
  stream->finish();
}

void MirrorStreams::allow_bulk(bool allowed) {
  bulk_allowed_ = allowed;
  if (!allowed) return;
  for (const auto& [token, reader] : readers_)
    reader->notify();
}

awaitable<bool> MirrorStreams::may_read(StreamPointer stream, async::Signal::Heard& heard) {
  const auto found = readers_.find(stream->token());
  if (found == readers_.end()) co_return true;
  const auto resumed = found->second;
  while (!bulk_allowed_ && !stream->dropped()) {
    const bool woken = co_await resumed->wait(heard);
    if (!woken) co_return false;
  }
  co_return true;
}

void MirrorStreams::forget_reader(core::StreamToken token) { readers_.erase(token); }

std::optional<std::chrono::microseconds> MirrorStreams::round_trip(core::Instant now) {
  constexpr core::Duration every{1'000'000};
  if (round_trip_read_at_ && now - *round_trip_read_at_ < every) return std::nullopt;
  round_trip_read_at_ = now;
  return connection_.facts().round_trip;
}

}  // namespace crosslink::replication
