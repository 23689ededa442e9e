#include "replication/session_streams.hpp"

#include <utility>

namespace crosslink::replication {

void SessionStreams::add(StreamPointer stream, bool bulk) {
  const auto token = stream->token();
  if (bulk) readers_[token] = std::make_shared<async::Signal>();
  streams_[token] = std::move(stream);
}

SessionStreams::StreamPointer SessionStreams::find(core::StreamToken token) const {
  const auto found = streams_.find(token);
  return found == streams_.end() ? nullptr : found->second;
}

void SessionStreams::drop(core::StreamToken token) {
  const auto found = streams_.find(token);
  if (found == streams_.end()) return;
  found->second->drop();
  streams_.erase(found);
  if (const auto reader = readers_.find(token); reader != readers_.end()) reader->second->notify();
}

void SessionStreams::drop_all() {
  for (const auto& [token, stream] : streams_)
    stream->drop();
  for (const auto& [token, reader] : readers_)
    reader->notify();
}

void SessionStreams::ended(const StreamPointer& stream) {
  streams_.erase(stream->token());
  stream->finish();
}

void SessionStreams::allow_bulk(bool allowed) {
  bulk_allowed_ = allowed;
  if (!allowed) return;
  for (const auto& [token, reader] : readers_)
    reader->notify();
}

awaitable<bool> SessionStreams::may_read(StreamPointer stream, async::Signal::Heard& heard) {
  const auto found = readers_.find(stream->token());
  if (found == readers_.end()) co_return true;
  const auto resumed = found->second;
  while (!bulk_allowed_ && !stream->dropped()) {
    const bool woken = co_await resumed->wait(heard);
    if (!woken) co_return false;
  }
  co_return true;
}

void SessionStreams::forget_reader(core::StreamToken token) { readers_.erase(token); }

std::optional<std::chrono::microseconds> SessionStreams::round_trip(core::Instant now) {
  constexpr core::Duration every{1'000'000};
  if (round_trip_read_at_ && now - *round_trip_read_at_ < every) return std::nullopt;
  round_trip_read_at_ = now;
  return connection_.facts().round_trip;
}

}  // namespace crosslink::replication
