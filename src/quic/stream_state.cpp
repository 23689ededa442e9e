#include "quic/stream_state.hpp"

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>

#include "quic/connection_state.hpp"
#include "quic/transport_error.hpp"

namespace crosslink::quic::detail {
namespace {

// Code of a stream that its owner dropped without a word.
constexpr QUIC_UINT62 dropped_code = normal_close_code;

MirrorError busy(const char* what) {
  return {ErrorKind::Busy, CausedBy::us, std::string(what) + " of this stream is already running"};
}

}  // namespace

// --- opening

Task<void> StreamState::start(HandlePointer connection_handle) {
  auto keep = shared_from_this();
  const Api api = connection_handle->api();
  HQUIC raw = nullptr;
  const auto flags =
      directions_ == Directions::both ? QUIC_STREAM_OPEN_FLAG_NONE : QUIC_STREAM_OPEN_FLAG_UNIDIRECTIONAL;
  if (const auto status = api->StreamOpen(connection_handle->raw(), flags, &StreamState::callback, this, &raw);
      QUIC_FAILED(status)) {
    co_return co_await not_opened(status);
  }
  HandlePointer handle = stream_handle(api, raw, std::move(connection_handle));
  {
    const std::scoped_lock lock(mutex_);
    handle_ = handle;
    self_ = keep;
  }
  const auto status =
      api->StreamStart(raw, QUIC_STREAM_START_FLAG_INDICATE_PEER_ACCEPT | QUIC_STREAM_START_FLAG_SHUTDOWN_ON_FAIL);
  if (QUIC_FAILED(status)) {
    {
      const std::scoped_lock lock(mutex_);
      handle_.reset();
      self_.reset();
      shut_down_ = true;
    }
    co_return co_await not_opened(status);
  }
  for (;;) {
    std::unique_lock lock(mutex_);
    if (start_ == Start::started) co_return Result<void>{};
    if (start_ == Start::failed || shut_down_) {
      lock.unlock();
      co_return connection_end();
    }
    const bool woken = co_await start_waiters_.wait(std::move(lock));
    if (!woken) {
      api->StreamShutdown(raw, QUIC_STREAM_SHUTDOWN_FLAG_ABORT | QUIC_STREAM_SHUTDOWN_FLAG_IMMEDIATE, dropped_code);
      co_return MirrorError::cancelled("opening a stream");
    }
  }
}

Task<void> StreamState::not_opened(QUIC_STATUS status) {
  // The transport refuses streams of a connection that has ended a moment before it tells us how it ended.
  if (status == QUIC_STATUS_ABORTED || status == QUIC_STATUS_INVALID_STATE) {
    const auto ended = co_await connection_->closed();
    if (!ended) co_return ended.error();
  }
  if (auto reason = connection_->end_reason()) co_return *reason;
  co_return local_failure("cannot open a stream", status);
}

void StreamState::adopt(HandlePointer connection_handle, HQUIC raw) {
  const Api api = connection_handle->api();
  const std::scoped_lock lock(mutex_);
  handle_ = stream_handle(api, raw, std::move(connection_handle));
  self_ = shared_from_this();
  start_ = Start::started;
  api->SetCallbackHandler(raw, reinterpret_cast<void*>(&StreamState::callback), this);
}

// --- sending

std::optional<MirrorError> StreamState::send_obstacle() const {
  if (reset_) return MirrorError::transport(TransportCause::stream_reset_locally, "this side gave the stream up");
  if (finished_)
    return MirrorError::transport(TransportCause::stream_finished_locally, "this side has already finished sending");
  if (stopped_by_peer_) {
    return MirrorError::transport(TransportCause::stream_stopped_by_peer, "the peer no longer reads this stream",
                                  stopped_by_peer_);
  }
  if (shut_down_ || !handle_) return connection_end();
  return std::nullopt;
}

MirrorError StreamState::connection_end() const {
  if (auto reason = connection_->end_reason()) return *reason;
  return MirrorError::transport(TransportCause::stream_reset_locally, "the stream has ended");
}

std::uint64_t StreamState::in_flight_limit() const {
  const auto& pacer = connection_->pacer();
  return pacer.active() ? std::max(ideal_bytes_, pacer.in_flight_bytes()) : ideal_bytes_;
}

Task<void> StreamState::wait_for_room() {
  for (;;) {
    std::unique_lock lock(mutex_);
    if (auto obstacle = send_obstacle()) co_return *obstacle;
    if (in_flight_bytes_ < in_flight_limit()) co_return Result<void>{};
    const bool woken = co_await send_waiters_.wait(std::move(lock));
    if (!woken) co_return MirrorError::cancelled("writing to a stream");
  }
}

Result<void> StreamState::queue(std::unique_ptr<SendRequest> request) {
  const std::scoped_lock lock(mutex_);
  if (auto obstacle = send_obstacle()) return *obstacle;
  in_flight_bytes_ += request->bytes;
  const auto status = handle_->api()->StreamSend(handle_->raw(), request->buffers.data(),
                                                 static_cast<std::uint32_t>(request->buffers.size()),
                                                 QUIC_SEND_FLAG_NONE, request.get());
  if (QUIC_FAILED(status)) {
    in_flight_bytes_ -= request->bytes;
    if (auto reason = connection_->end_reason()) return *reason;
    // The event that says so is on its way.
    if (status == QUIC_STATUS_ABORTED) {
      return MirrorError::transport(TransportCause::stream_stopped_by_peer, "the peer no longer reads this stream");
    }
    return local_failure("cannot send", status);
  }
  // From here on the request belongs to the transport, until SEND_COMPLETE.
  (void)request.release();
  return {};
}

Task<void> StreamState::write(std::vector<SendBuffer> buffers) {
  auto keep = shared_from_this();
  {
    const std::scoped_lock lock(mutex_);
    if (writing_) co_return busy("a write");
    writing_ = true;
  }
  const RunningGuard running{mutex_, writing_};
  auto& pacer = connection_->pacer();
  const std::size_t piece_max = pacer.active() ? pacer.piece_bytes() : SIZE_MAX;
  std::size_t buffer = 0;
  std::size_t offset = 0;
  bool begun = false;
  // A part of what was to be one piece is worse than nothing: who is cancelled in the middle has given the stream up.
  const auto given_up = [&] {
    if (begun) reset(dropped_code);
    return MirrorError::cancelled("writing to a stream");
  };
  // Without a rate cap this is one round with everything in it.
  do {
    if (auto room = co_await wait_for_room(); !room) {
      if (room.error().kind() == ErrorKind::Cancelled) co_return given_up();
      co_return room;
    }
    auto request = std::make_unique<SendRequest>();
    while (buffer < buffers.size() && request->bytes < piece_max) {
      const auto bytes = buffers[buffer].bytes().subspan(offset);
      const auto taken = std::min({bytes.size(), piece_max - request->bytes, std::size_t{UINT32_MAX}});
      request->buffers.push_back({static_cast<std::uint32_t>(taken),
                                  const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(bytes.data()))});
      request->owned.push_back(buffers[buffer]);
      request->bytes += taken;
      offset += taken;
      if (taken == bytes.size()) {
        ++buffer;
        offset = 0;
      }
    }
    if (pacer.active()) {
      auto executor = co_await boost::asio::this_coro::executor;
      boost::asio::steady_timer timer(executor);
      timer.expires_at(pacer.reserve(request->bytes, Pacer::Clock::now()));
      boost::system::error_code error;
      co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, error));
      if (error) co_return given_up();
    }
    if (request->bytes == 0) co_return Result<void>{};
    if (auto queued = queue(std::move(request)); !queued) co_return queued;
    begun = true;
  } while (buffer < buffers.size());
  co_return Result<void>{};
}

void StreamState::finish() {
  const std::scoped_lock lock(mutex_);
  if (send_obstacle()) return;
  finished_ = true;
  handle_->api()->StreamShutdown(handle_->raw(), QUIC_STREAM_SHUTDOWN_FLAG_GRACEFUL, 0);
}

Task<void> StreamState::wait_acknowledged() {
  auto keep = shared_from_this();
  for (;;) {
    std::unique_lock lock(mutex_);
    if (acknowledged_) co_return Result<void>{};
    if (stopped_by_peer_) {
      co_return MirrorError::transport(TransportCause::stream_stopped_by_peer, "the peer no longer reads this stream",
                                       stopped_by_peer_);
    }
    if (reset_) co_return MirrorError::transport(TransportCause::stream_reset_locally, "this side gave the stream up");
    if (shut_down_ || !handle_) co_return connection_end();
    const bool woken = co_await send_waiters_.wait(std::move(lock));
    if (!woken) co_return MirrorError::cancelled("waiting for an acknowledgement");
  }
}

void StreamState::reset(std::uint64_t code) {
  const std::scoped_lock lock(mutex_);
  if (reset_ || acknowledged_) return;
  reset_ = true;
  send_waiters_.notify_all();
  if (handle_) handle_->api()->StreamShutdown(handle_->raw(), QUIC_STREAM_SHUTDOWN_FLAG_ABORT_SEND, code);
}

Result<void> StreamState::set_priority(std::uint16_t priority) {
  HandlePointer handle;
  {
    const std::scoped_lock lock(mutex_);
    handle = handle_;
  }
  if (!handle) return connection_end();
  const auto status = handle->api()->SetParam(handle->raw(), QUIC_PARAM_STREAM_PRIORITY, sizeof(priority), &priority);
  if (QUIC_FAILED(status)) return local_failure("cannot set a stream's priority", status);
  return {};
}

std::uint64_t StreamState::bytes_in_flight() const {
  const std::scoped_lock lock(mutex_);
  return in_flight_bytes_;
}

void StreamState::drop_send() {
  {
    const std::scoped_lock lock(mutex_);
    if (finished_) return;
  }
  reset(dropped_code);
}

// --- receiving

Task<ReadView> StreamState::read() {
  auto keep = shared_from_this();
  {
    const std::scoped_lock lock(mutex_);
    if (reading_) co_return busy("a read");
    reading_ = true;
  }
  const RunningGuard running{mutex_, reading_};
  for (;;) {
    std::unique_lock lock(mutex_);
    if (stopped_)
      co_return MirrorError::transport(TransportCause::stream_reset_locally, "this side gave the stream up");
    if (view_bytes_ > consumed_bytes_ || ends_after_view_) {
      ReadView view;
      std::size_t skip = consumed_bytes_;
      for (std::size_t piece = 0; piece < piece_count_; ++piece) {
        const auto skipped = std::min(skip, pieces_[piece].size());
        skip -= skipped;
        if (skipped < pieces_[piece].size()) view.pieces[view.piece_count++] = pieces_[piece].subspan(skipped);
      }
      view.total_bytes = view_bytes_ - consumed_bytes_;
      view.end = ends_after_view_;
      view_shown_ = true;
      co_return view;
    }
    if (reset_by_peer_) {
      co_return MirrorError::transport(TransportCause::stream_reset_by_peer, "the peer gave the stream up",
                                       reset_by_peer_);
    }
    if (shut_down_ || !handle_) {
      lock.unlock();
      co_return connection_end();
    }
    const bool woken = co_await recv_waiters_.wait(std::move(lock));
    if (!woken) co_return MirrorError::cancelled("reading from a stream");
  }
}

void StreamState::consume(std::size_t bytes) {
  std::unique_lock lock(mutex_);
  if (stopped_) return;
  if (consumed_bytes_ + bytes > view_bytes_) std::abort();  // precondition broken by the caller
  consumed_bytes_ += bytes;
  if (consumed_bytes_ == view_bytes_ && view_bytes_ > 0) complete_view(std::move(lock));
}

void StreamState::complete_view(std::unique_lock<std::mutex> lock) {
  const auto bytes = std::exchange(view_bytes_, 0);
  consumed_bytes_ = 0;
  piece_count_ = 0;
  view_shown_ = false;
  const auto handle = std::exchange(view_handle_, nullptr);
  const bool alive = !shut_down_;
  lock.unlock();
  if (handle && alive) handle->api()->StreamReceiveComplete(handle->raw(), bytes);
}

void StreamState::stop(std::uint64_t code) {
  std::unique_lock lock(mutex_);
  if (stopped_) return;
  stopped_ = true;
  recv_waiters_.notify_all();
  const auto handle = handle_;
  const bool whole = ends_after_view_ && view_bytes_ == 0;
  // A pending receive is not completed: that would give the peer credit for what is never read.
  view_bytes_ = consumed_bytes_ = piece_count_ = 0;
  const auto view_handle = std::exchange(view_handle_, nullptr);  // let go of outside the lock
  lock.unlock();
  if (handle && !whole) handle->api()->StreamShutdown(handle->raw(), QUIC_STREAM_SHUTDOWN_FLAG_ABORT_RECEIVE, code);
}

void StreamState::drop_recv() { stop(dropped_code); }

// --- callbacks: copy facts and post, nothing more

QUIC_STATUS StreamState::callback(HQUIC, void* context, QUIC_STREAM_EVENT* event) {
  // A copy, because SHUTDOWN_COMPLETE lets go of the state's own reference.
  const auto self = static_cast<StreamState*>(context)->shared_from_this();
  return self->on_event(*event);
}

QUIC_STATUS StreamState::on_event(QUIC_STREAM_EVENT& event) {
  switch (event.Type) {
    case QUIC_STREAM_EVENT_START_COMPLETE: {
      const std::scoped_lock lock(mutex_);
      if (QUIC_FAILED(event.START_COMPLETE.Status)) {
        start_ = Start::failed;
      } else if (event.START_COMPLETE.PeerAccepted) {
        start_ = Start::started;
      }
      if (start_ != Start::waiting) start_waiters_.notify_all();
      return QUIC_STATUS_SUCCESS;
    }
    case QUIC_STREAM_EVENT_PEER_ACCEPTED: {
      const std::scoped_lock lock(mutex_);
      start_ = Start::started;
      start_waiters_.notify_all();
      return QUIC_STATUS_SUCCESS;
    }
    case QUIC_STREAM_EVENT_RECEIVE: return on_receive(event);
    case QUIC_STREAM_EVENT_SEND_COMPLETE:
      on_send_complete(static_cast<SendRequest*>(event.SEND_COMPLETE.ClientContext));
      return QUIC_STATUS_SUCCESS;
    case QUIC_STREAM_EVENT_PEER_SEND_SHUTDOWN: {
      const std::scoped_lock lock(mutex_);
      ends_after_view_ = true;
      recv_waiters_.notify_all();
      return QUIC_STATUS_SUCCESS;
    }
    case QUIC_STREAM_EVENT_PEER_SEND_ABORTED: {
      const std::scoped_lock lock(mutex_);
      reset_by_peer_ = event.PEER_SEND_ABORTED.ErrorCode;
      recv_waiters_.notify_all();
      return QUIC_STATUS_SUCCESS;
    }
    case QUIC_STREAM_EVENT_PEER_RECEIVE_ABORTED: {
      const std::scoped_lock lock(mutex_);
      stopped_by_peer_ = event.PEER_RECEIVE_ABORTED.ErrorCode;
      send_waiters_.notify_all();
      return QUIC_STATUS_SUCCESS;
    }
    case QUIC_STREAM_EVENT_SEND_SHUTDOWN_COMPLETE: {
      const std::scoped_lock lock(mutex_);
      acknowledged_ = acknowledged_ || event.SEND_SHUTDOWN_COMPLETE.Graceful != 0;
      send_waiters_.notify_all();
      return QUIC_STATUS_SUCCESS;
    }
    case QUIC_STREAM_EVENT_IDEAL_SEND_BUFFER_SIZE: {
      const std::scoped_lock lock(mutex_);
      ideal_bytes_ = event.IDEAL_SEND_BUFFER_SIZE.ByteCount;
      send_waiters_.notify_all();
      return QUIC_STATUS_SUCCESS;
    }
    case QUIC_STREAM_EVENT_SHUTDOWN_COMPLETE: on_shutdown_complete(); return QUIC_STATUS_SUCCESS;
    case QUIC_STREAM_EVENT_CANCEL_ON_LOSS: return QUIC_STATUS_SUCCESS;
  }
  return QUIC_STATUS_NOT_SUPPORTED;
}

QUIC_STATUS StreamState::on_receive(QUIC_STREAM_EVENT& event) {
  const auto& receive = event.RECEIVE;
  const std::scoped_lock lock(mutex_);
  if (receive.Flags & QUIC_RECEIVE_FLAG_FIN) ends_after_view_ = true;
  if (receive.TotalBufferLength == 0) {
    recv_waiters_.notify_all();
    return QUIC_STATUS_SUCCESS;
  }
  if (stopped_) return QUIC_STATUS_SUCCESS;  // it will not be read
  // One receive is pending at a time and the transport's ring has at most two pieces.
  if (view_bytes_ != 0 || receive.BufferCount > pieces_.size()) std::abort();
  for (std::uint32_t i = 0; i < receive.BufferCount; ++i) {
    pieces_[i] = std::as_bytes(std::span(receive.Buffers[i].Buffer, receive.Buffers[i].Length));
  }
  piece_count_ = receive.BufferCount;
  view_bytes_ = receive.TotalBufferLength;
  consumed_bytes_ = 0;
  view_handle_ = handle_;
  recv_waiters_.notify_all();
  return QUIC_STATUS_PENDING;
}

void StreamState::on_send_complete(SendRequest* raw_request) {
  const std::unique_ptr<SendRequest> request(raw_request);
  const std::scoped_lock lock(mutex_);
  in_flight_bytes_ -= request->bytes;
  if (in_flight_bytes_ < in_flight_limit()) send_waiters_.notify_all();
}

void StreamState::on_shutdown_complete() {
  HandlePointer handle;
  std::shared_ptr<StreamState> self;
  {
    const std::scoped_lock lock(mutex_);
    shut_down_ = true;
    handle = std::move(handle_);
    self = std::move(self_);
    start_waiters_.notify_all();
    send_waiters_.notify_all();
    recv_waiters_.notify_all();
  }
  connection_->forget(this);
}

}  // namespace crosslink::quic::detail
