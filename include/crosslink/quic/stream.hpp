// QUIC streams as coroutines. Made by Connection (connection.hpp).
//
// A stream handle may outlive its Connection handle; every operation then returns how the connection ended. Thread
// safe: one coroutine may read while another writes. Two reads, or two writes, of one stream at once are a bug of the
// caller: the second gets Busy (us). An operation keeps what it needs of the stream: a handle that goes while it runs
// ends it with stream_reset_locally.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "crosslink/awaitable.hpp"

namespace crosslink::quic {

namespace detail {
class StreamState;
}

/// Bytes to send, and the owner that keeps them alive: the transport reads them until the peer has acknowledged them.
class SendBuffer {
 public:
  explicit SendBuffer(std::vector<std::byte> bytes);
  /// Shared bytes, for instance an entry encoded once for many mirrors. Precondition: unchanged while any copy lives.
  SendBuffer(std::shared_ptr<const void> owner, std::span<const std::byte> bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}
  std::span<const std::byte> bytes() const { return bytes_; }
  const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
};

/// Priorities; a stream with a higher one is sent first. The default of msquic is the middle.
inline constexpr std::uint16_t priority_bulk = 0x7fff;
inline constexpr std::uint16_t priority_control = 0xffff;

/// The sending half. Move-only. Dropping it before finish() resets the stream with code 0x00, see reset().
class SendStream {
 public:
  SendStream(SendStream&&) noexcept = default;
  SendStream& operator=(SendStream&&) noexcept;
  ~SendStream();

  /// Queues the buffers, in order, as one piece. Waits first while the bytes queued but not acknowledged are at or
  /// above the transport's ideal amount for this path, so that the pipe stays full and memory stays bounded by that
  /// plus one call; under a rate cap 0.4 s of that rate, at most 64 MiB, if that is more. Empty buffers are allowed.
  /// Returning means queued, not arrived: see wait_acknowledged(). Errors: stream_stopped_by_peer (peer);
  /// stream_finished_locally, stream_reset_locally and Busy (us); what ended the connection; Cancelled. Cancelled: all
  /// of its bytes are queued or none, and the stream can be written to again; or, when a rate cap had let only a part
  /// go, the stream is reset with 0x00: no peer sees half of a piece followed by another.
  Task<void> write(std::vector<SendBuffer> buffers);
  Task<void> write(SendBuffer buffer);
  /// Says that no more will be sent. Idempotent; does not wait.
  void finish();
  /// Waits until the peer's transport has acknowledged everything including the end; whether the peer's program read it
  /// is for an answer of the peer's to say. Requires finish(). Errors: as write. Cancelled: nothing is lost.
  Task<void> wait_acknowledged();
  /// Gives the stream up: unsent bytes are dropped, the peer reads stream_reset_by_peer with this code. Idempotent.
  void reset(std::uint64_t code);
  /// Between 0 and 65535. Errors: any end of the connection.
  Result<void> set_priority(std::uint16_t priority);
  /// Bytes queued and not yet acknowledged.
  std::uint64_t bytes_in_flight() const;

 private:
  friend class detail::StreamState;
  explicit SendStream(std::shared_ptr<detail::StreamState> state) : state_(std::move(state)) {}
  std::shared_ptr<detail::StreamState> state_;
};

/// What read() hands out: the transport's own memory, valid until consume(), stop() or the end of the RecvStream
/// handle.
struct ReadView {
  static constexpr std::size_t pieces_max = 3;
  std::span<const std::byte> pieces[pieces_max];
  std::size_t piece_count = 0;
  std::size_t total_bytes = 0;
  bool end = false;  ///< nothing follows these bytes; set together with the last ones or alone
};

/// The receiving half. Move-only. Dropping it before the end asks the peer to stop sending, see stop().
class RecvStream {
 public:
  RecvStream(RecvStream&&) noexcept = default;
  RecvStream& operator=(RecvStream&&) noexcept;
  ~RecvStream();

  /// Waits for bytes or the end and shows them where the transport holds them: no copy. Until consume() lets go of them
  /// they count against the stream's receive window, which is what holds the sender back. read() again without
  /// consume() shows the same bytes. At the end: total_bytes 0, end true, every time. Errors: stream_reset_by_peer
  /// (peer); stream_reset_locally and Busy (us); what ended the connection; Cancelled. A view that was shown stays
  /// readable through all of them until consume(). Bytes not shown yet are lost when the peer resets the stream or
  /// closes the connection, even if its transport was told that they arrived: a sender that needs them read must wait
  /// for an answer. An end that is shown comes after every byte. Cancelled: nothing is lost.
  Task<ReadView> read();
  /// Lets go of the first `bytes` bytes of the last view. Precondition: not more than it showed.
  void consume(std::size_t bytes);
  /// Copies exactly `out.size()` bytes out; `out` must stay until it has ended. Errors: as read; stream_ended_early
  /// (peer) when the stream ends before. Cancelled, and after any other error: the bytes taken so far are gone from the
  /// stream, so do not read on. Use read() where a read may be cancelled and gone on with.
  Task<void> read_exactly(std::span<std::byte> out);
  /// Tells the peer that we read no more; it sees stream_stopped_by_peer with this code. A view that was shown ends
  /// here. Idempotent.
  void stop(std::uint64_t code);

 private:
  friend class detail::StreamState;
  explicit RecvStream(std::shared_ptr<detail::StreamState> state) : state_(std::move(state)) {}
  std::shared_ptr<detail::StreamState> state_;
};

/// Both halves of one stream; each can be moved away and used on its own.
struct BidiStream {
  SendStream send;
  RecvStream recv;
};

}  // namespace crosslink::quic
