#include "sim/connection.hpp"

#include <algorithm>
#include <utility>

#include "sim/events.hpp"
#include "sim/future.hpp"

namespace crosslink::sim {
namespace {

Connection::End other(Connection::End end) {
  return end == Connection::mirror ? Connection::source : Connection::mirror;
}

}  // namespace

Connection::Connection(World& world, Weather weather, EndCallbacks of_mirror, EndCallbacks of_source)
    : world_(&world), weather_(weather), ends_{std::move(of_mirror), std::move(of_source)} {}

Time Connection::arrival(Pipe& pipe) {
  auto delay = world_->between(weather_.delay_min, weather_.delay_max);
  if (world_->chance(weather_.slow_piece)) delay *= 50;
  pipe.last_arrival = std::max(pipe.last_arrival, world_->now() + delay);
  return pipe.last_arrival - world_->now();
}

bool Connection::hears(End end, Token stream) const { return !deaf_[end] && !dropped_[end].contains(stream); }

void Connection::send(End from, Token stream, std::vector<std::byte> bytes) {
  if (!standing_ || deaf_[from]) return;
  const auto to = other(from);
  auto& pipe = pipes_[to][stream];
  // In up to three pieces, so that frames arrive in parts.
  const auto pieces = 1 + world_->below(std::min<std::uint64_t>(3, bytes.size()));
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < pieces; ++i) {
    const auto rest = bytes.size() - at;
    const auto size = i + 1 == pieces ? rest : static_cast<std::size_t>(world_->below(rest + 1));
    std::vector<std::byte> piece(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                 bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
    at += size;
    world_->after(arrival(pipe), [self = shared_from_this(), to, stream, piece = std::move(piece)]() mutable {
      self->arrive(to, stream, std::move(piece));
    });
  }
}

void Connection::arrive(End to, Token stream, std::vector<std::byte> bytes) {
  if (!standing_ || !hears(to, stream)) return;
  if (cutting_) {
    // Of what was under way a part still arrives; then nothing.
    const auto whole = bytes.size();
    bytes.resize(static_cast<std::size_t>(world_->below(bytes.size() + 1)));
    if (bytes.size() < whole) world_->happened(event::cut_in_a_frame);
    if (pipes_[to][stream].held.empty() && (!holding_[to] || stream == control_)) take(to, stream, bytes);
    deaf_[to] = true;
    return;
  }
  auto& pipe = pipes_[to][stream];
  if ((holding_[to] && stream != control_) || !pipe.held.empty()) {
    pipe.held.push_back(std::move(bytes));
    return;
  }
  take(to, stream, bytes);
}

void Connection::take(End to, Token stream, std::span<const std::byte> bytes) {
  auto& pipe = pipes_[to][stream];
  while (!bytes.empty() && hears(to, stream)) {
    auto progress = pipe.assembler.feed(bytes);
    if (!progress) throw Violation("a frame on the wire is larger than any may be: " + progress.error().message());
    bytes = bytes.subspan(progress->consumed_bytes);
    if (!progress->frame) continue;
    if (future_ && world_->chance(0.05)) {
      ends_[to].on_frame(stream, skippable_kind(*world_), unreadable_payload(*world_));
      if (!hears(to, stream)) return;
    }
    auto frame = std::move(*progress->frame);
    if (future_) frame.payload = as_a_later_version(frame.kind, std::move(frame.payload));
    ends_[to].on_frame(stream, frame.kind, std::make_shared<const std::vector<std::byte>>(std::move(frame.payload)));
  }
}

void Connection::finish(End from, Token stream) {
  if (!standing_ || deaf_[from]) return;
  const auto to = other(from);
  world_->after(arrival(pipes_[to][stream]), [self = shared_from_this(), to, stream] {
    if (!self->standing_ || !self->hears(to, stream) || self->cutting_) return;
    if (!self->pipes_[to][stream].held.empty() || (self->holding_[to] && stream != self->control_)) {
      self->pipes_[to][stream].held_end = true;
      return;
    }
    self->ends_[to].on_stream_end(stream);
  });
}

void Connection::drop(End end, Token stream) {
  finish(end, stream);
  ignore(end, stream);
}

void Connection::ignore(End end, Token stream) { dropped_[end][stream] = true; }

void Connection::hold_bulk(End end, bool hold, Token control) {
  control_ = control;
  holding_[end] = hold;
  if (hold) return;
  world_->after(Time(0), [self = shared_from_this(), end] { self->let_go(end); });
}

void Connection::let_go(End end) {
  if (holding_[end] || !standing_) return;
  std::vector<Token> tokens;
  for (const auto& [stream, pipe] : pipes_[end])
    tokens.push_back(stream);
  for (const auto stream : tokens) {
    auto& pipe = pipes_[end][stream];
    while (!pipe.held.empty() && !holding_[end] && hears(end, stream)) {
      const auto bytes = std::move(pipe.held.front());
      pipe.held.erase(pipe.held.begin());
      take(end, stream, bytes);
    }
    if (pipe.held.empty() && !holding_[end] && std::exchange(pipe.held_end, false) && hears(end, stream)) {
      ends_[end].on_stream_end(stream);
    }
  }
}

void Connection::cut(Time notice_max) {
  if (!standing_ || cutting_) return;
  cutting_ = true;
  for (const auto end : {mirror, source}) {
    world_->after(world_->between(Time(1), notice_max), [self = shared_from_this(), end] {
      self->deaf_[end] = true;
      if (self->standing_) self->ends_[end].on_lost();
    });
  }
}

void Connection::close(End by) {
  if (!standing_ || deaf_[by]) return;
  deaf_[by] = true;
  const auto to = other(by);
  Time last{0};
  for (auto& [stream, pipe] : pipes_[to])
    last = std::max(last, pipe.last_arrival - world_->now());
  world_->after(std::max(last, world_->between(weather_.delay_min, weather_.delay_max)),
                [self = shared_from_this(), to] {
                  if (self->deaf_[to]) return;
                  self->deaf_[to] = true;
                  self->ends_[to].on_lost();
                });
}

void Connection::vanish(End end, Time idle_timeout) {
  if (deaf_[end]) return;
  deaf_[end] = true;
  const auto to = other(end);
  world_->after(idle_timeout, [self = shared_from_this(), to] {
    if (self->deaf_[to]) return;
    self->deaf_[to] = true;
    self->ends_[to].on_lost();
  });
}

}  // namespace crosslink::sim
