// One stream between the transport's callbacks and our coroutines.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "async/waiter.hpp"
#include "crosslink/quic/stream.hpp"
#include "quic/library.hpp"

namespace crosslink::quic::detail {

class ConnectionState;

class StreamState : public std::enable_shared_from_this<StreamState> {
 public:
  enum class Directions : std::uint8_t { both, send_only, receive_only };
  StreamState(std::shared_ptr<ConnectionState> connection, Directions directions)
      : connection_(std::move(connection)), directions_(directions) {}
  ~StreamState() = default;
  StreamState(const StreamState&) = delete;
  StreamState& operator=(const StreamState&) = delete;

  /// A stream of ours: opens it and waits until the peer allows it.
  Task<void> start(HandlePointer connection_handle);
  /// A stream of the peer's, inside the callback that announces it.
  void adopt(HandlePointer connection_handle, HQUIC raw);

  static SendStream make_send(std::shared_ptr<StreamState> state) { return SendStream(std::move(state)); }
  static RecvStream make_recv(std::shared_ptr<StreamState> state) { return RecvStream(std::move(state)); }

  Task<void> write(std::vector<SendBuffer> buffers);
  void finish();
  Task<void> wait_acknowledged();
  void reset(std::uint64_t code);
  Result<void> set_priority(std::uint16_t priority);
  std::uint64_t bytes_in_flight() const;
  Task<ReadView> read();
  void consume(std::size_t bytes);
  void stop(std::uint64_t code);
  /// What the public handles do when they go.
  void drop_send();
  void drop_recv();

 private:
  struct SendRequest {
    std::vector<SendBuffer> owned;
    std::vector<QUIC_BUFFER> buffers;
    std::uint64_t bytes = 0;
  };

  /// One read and one write at a time.
  struct RunningGuard {
    std::mutex& mutex;
    bool& running;
    ~RunningGuard() {
      const std::scoped_lock lock(mutex);
      running = false;
    }
  };

  static QUIC_STATUS callback(HQUIC raw, void* context, QUIC_STREAM_EVENT* event);
  QUIC_STATUS on_event(QUIC_STREAM_EVENT& event);
  QUIC_STATUS on_receive(QUIC_STREAM_EVENT& event);
  void on_send_complete(SendRequest* request);
  void on_shutdown_complete();
  MirrorError connection_end() const;
  /// Why sending / receiving is impossible now, if it is. With the mutex held.
  std::optional<MirrorError> send_obstacle() const;
  Task<void> not_opened(QUIC_STATUS status);
  /// Unacknowledged bytes at which a writer waits. With the mutex held.
  std::uint64_t in_flight_limit() const;
  Task<void> wait_for_room();
  Result<void> queue(std::unique_ptr<SendRequest> request);
  /// Lets the transport have the bytes of the shown view back. Takes the lock over.
  void complete_view(std::unique_lock<std::mutex> lock);

  const std::shared_ptr<ConnectionState> connection_;
  const Directions directions_;
  mutable std::mutex mutex_;
  HandlePointer handle_;
  std::shared_ptr<StreamState> self_;  ///< while the transport may call back

  enum class Start : std::uint8_t { waiting, started, failed };
  Start start_ = Start::waiting;
  async::WaitList start_waiters_;

  std::uint64_t in_flight_bytes_ = 0;
  std::uint64_t ideal_bytes_ = 128 * 1024;  // msquic's initial value
  bool writing_ = false;
  bool finished_ = false;
  bool acknowledged_ = false;
  bool reset_ = false;
  std::optional<std::uint64_t> stopped_by_peer_;
  async::WaitList send_waiters_;

  std::array<std::span<const std::byte>, ReadView::pieces_max> pieces_;
  std::size_t piece_count_ = 0;
  std::size_t view_bytes_ = 0;      ///< bytes the transport handed over and has not got back
  std::size_t consumed_bytes_ = 0;  ///< of those, already consumed by the reader
  bool view_shown_ = false;
  HandlePointer view_handle_;  ///< keeps the view's memory valid after the end of the connection
  bool ends_after_view_ = false;
  bool reading_ = false;
  bool stopped_ = false;
  std::optional<std::uint64_t> reset_by_peer_;
  async::WaitList recv_waiters_;

  bool shut_down_ = false;
};

}  // namespace crosslink::quic::detail
