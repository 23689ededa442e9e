// Carries out what a session's machine decides, at either end: the strand, the wake timer, frames in, the calls of the
// engine, the questions about a view. What one end alone does stands in mirror.cpp and served_mirror.cpp.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "async/engine_call.hpp"
#include "async/signal.hpp"
#include "async/task_group.hpp"
#include "crosslink/engine.hpp"
#include "replication/range_digest.hpp"
#include "replication/session_clock.hpp"
#include "replication/session_stream.hpp"
#include "replication/session_streams.hpp"
#include "session/lag_tracker.hpp"
#include "session/session_tokens.hpp"
#include "session/verify_compare.hpp"

namespace crosslink::replication {

/// The guard of a machine that is used on its session's strand alone.
struct StrandOnly {
  void lock() {}
  void unlock() {}
};

/// Used on the session's strand only; with a mutex as its guard, the machine is other threads', too. The guard is held
/// while the machine is told something or asked what to do, never while that is done.
template <class Machine, class Guard>
class SessionDriver : public std::enable_shared_from_this<SessionDriver<Machine, Guard>> {
 public:
  virtual ~SessionDriver() = default;
  SessionDriver(const SessionDriver&) = delete;
  SessionDriver& operator=(const SessionDriver&) = delete;

 protected:
  using Action = typename decltype(std::declval<Machine&>().take_actions())::value_type;
  using View = std::shared_ptr<const DataView>;
  using StreamPointer = std::shared_ptr<SessionStream>;
  using StreamsPointer = std::shared_ptr<SessionStreams>;

  explicit SessionDriver(boost::asio::any_io_executor scan_executor) : scan_executor_(std::move(scan_executor)) {}

  // What the owner does.
  virtual void carry_out(Action& request) = 0;
  virtual void on_frame(core::StreamToken token, Frame frame) = 0;
  /// Absent error: the peer has ended it.
  virtual void on_stream_end(core::StreamToken token, const std::optional<MirrorError>& error) = 0;
  /// The machine was told something, and what it then wanted is under way.
  virtual void on_told() {}

  /// `machine` must outlive what runs on the strand.
  void drive(Machine& machine) { machine_ = &machine; }
  void start(boost::asio::any_io_executor strand);
  /// Cancels what runs beside its owner, and awaits it.
  awaitable<void> wind_up();

  /// Tells the machine something, then does what it says.
  template <class Tell>
  void tell(Tell&& what);
  void pump();
  /// Tells it what `work`, on an engine's thread, came to: take(machine, answer, now).
  template <class Work, class Take>
  void call(boost::asio::any_io_executor executor, Work work, Take take);
  void wake_at(core::Instant at);

  /// Frames of `stream`, until it ends, is dropped, or `streams` is no longer the session's.
  static awaitable<void> read_frames(std::shared_ptr<SessionDriver> self, StreamsPointer streams, StreamPointer stream);

  // Questions about `view_`: without one the machine does not wait for their answers any more.
  void ask_digest(core::Question question, core::KeyRange range);
  void ask_keys(core::Question question, core::KeyRange range);

  Guard guard_;
  const boost::asio::any_io_executor scan_executor_;
  std::optional<async::TaskGroup> group_;
  StreamsPointer streams_;  ///< of the session; null: there is none
  View view_;

 private:
  template <class Work, class Take>
  static awaitable<void> make_call(std::shared_ptr<SessionDriver> self, boost::asio::any_io_executor executor,
                                   Work work, Take take);
  static awaitable<void> find_digest(std::shared_ptr<SessionDriver> self, core::Question question, core::KeyRange range,
                                     View seen);

  Machine* machine_ = nullptr;
  std::optional<boost::asio::steady_timer> timer_;
  std::optional<core::Instant> timer_at_;
};

template <class Machine, class Guard>
void SessionDriver<Machine, Guard>::start(boost::asio::any_io_executor strand) {
  group_.emplace(strand);
  timer_.emplace(std::move(strand));
}

template <class Machine, class Guard>
awaitable<void> SessionDriver<Machine, Guard>::wind_up() {
  timer_->cancel();
  if (streams_) streams_->drop_all();
  group_->cancel();
  co_await group_->drain();
}

template <class Machine, class Guard>
template <class Tell>
void SessionDriver<Machine, Guard>::tell(Tell&& what) {
  {
    const std::scoped_lock lock(guard_);
    what(*machine_, session_now());
  }
  pump();
}

template <class Machine, class Guard>
void SessionDriver<Machine, Guard>::pump() {
  for (;;) {
    std::vector<Action> actions;
    {
      const std::scoped_lock lock(guard_);
      actions = machine_->take_actions();
    }
    if (actions.empty()) break;
    for (auto& request : actions)
      carry_out(request);
  }
  on_told();
}

template <class Machine, class Guard>
template <class Work, class Take>
void SessionDriver<Machine, Guard>::call(boost::asio::any_io_executor executor, Work work, Take take) {
  group_->spawn(make_call(this->shared_from_this(), std::move(executor), std::move(work), std::move(take)));
}

template <class Machine, class Guard>
template <class Work, class Take>
awaitable<void> SessionDriver<Machine, Guard>::make_call(std::shared_ptr<SessionDriver> self,
                                                         boost::asio::any_io_executor executor, Work work, Take take) {
  auto calling = async::call_engine(std::move(executor), std::move(work));
  auto answer = co_await std::move(calling);
  self->tell([&](Machine& machine, core::Instant now) { take(machine, std::move(answer), now); });
}

template <class Machine, class Guard>
void SessionDriver<Machine, Guard>::wake_at(core::Instant at) {
  if (timer_at_ && *timer_at_ <= at) return;
  timer_at_ = at;
  timer_->expires_after(at - session_now());
  timer_->async_wait([weak = this->weak_from_this(), at](boost::system::error_code error) {
    const auto self = weak.lock();
    if (error || !self || self->timer_at_ != at) return;
    self->timer_at_.reset();
    self->tell([](Machine& machine, core::Instant now) { machine.on_time(now); });
  });
}

template <class Machine, class Guard>
awaitable<void> SessionDriver<Machine, Guard>::read_frames(std::shared_ptr<SessionDriver> self, StreamsPointer streams,
                                                           StreamPointer stream) {
  const auto token = stream->token();
  const std::shared_ptr<void> gone(nullptr, [streams, token](void*) { streams->forget_reader(token); });
  async::Signal::Heard heard = 0;
  for (;;) {
    auto waiting = streams->may_read(stream, heard);
    const bool may = co_await std::move(waiting);
    if (!may) co_return;
    auto frame = co_await stream->read();
    if (self->streams_ != streams || stream->dropped()) co_return;
    if (!frame) {
      if (streams->connection().end_reason() || frame.error().kind() == ErrorKind::Cancelled) co_return;
      const bool clean = frame.error().transport_cause() == TransportCause::stream_ended_early;
      const auto error = clean ? std::nullopt : std::optional(frame.error());
      streams->ended(stream);
      self->on_stream_end(token, error);
      co_return;
    }
    self->on_frame(token, *std::move(frame));
  }
}

template <class Machine, class Guard>
void SessionDriver<Machine, Guard>::ask_digest(core::Question question, core::KeyRange range) {
  if (view_) group_->spawn(find_digest(this->shared_from_this(), question, std::move(range), view_));
}

template <class Machine, class Guard>
awaitable<void> SessionDriver<Machine, Guard>::find_digest(std::shared_ptr<SessionDriver> self, core::Question question,
                                                           core::KeyRange range, View seen) {
  auto view_now = [self] { return self->view_; };
  auto digesting = digest_in_slices(self->scan_executor_, std::move(seen), std::move(range), std::move(view_now));
  auto answer = co_await std::move(digesting);
  self->tell([&](Machine& machine, core::Instant now) { machine.on_digest(question, std::move(answer), now); });
}

template <class Machine, class Guard>
void SessionDriver<Machine, Guard>::ask_keys(core::Question question, core::KeyRange range) {
  if (!view_) return;
  auto work = [seen = view_, range = std::move(range)] { return core::list_keys(*seen, range); };
  call(scan_executor_, std::move(work), [question](Machine& machine, auto answer, core::Instant now) {
    machine.on_keys(question, std::move(answer), now);
  });
}

}  // namespace crosslink::replication
