#include "node/admin/byte_stream.hpp"

#include <poll.h>

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/impl/src.hpp>  // Asio's code for TLS, compiled here and nowhere else
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <optional>
#include <utility>

#include "node/tuple_of.hpp"

namespace crosslink::node {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t receive_bytes_max = 64 * 1024;

/// What TLS reads from and writes to in place of a socket, so that none of it waits: Asio's own way, each operation of
/// TLS over each of the socket's, takes the compiler many times as long.
class Memory {
 public:
  using executor_type = asio::any_io_executor;
  using lowest_layer_type = Memory;
  explicit Memory(executor_type executor) : executor_(std::move(executor)) {}
  executor_type get_executor() const { return executor_; }
  lowest_layer_type& lowest_layer() { return *this; }

  std::size_t read_some(const asio::mutable_buffer& into, error_code& error) {
    error = {};
    if (received.empty()) error = ended ? error_code(asio::error::eof) : asio::error::would_block;
    const auto bytes = asio::buffer_copy(into, asio::buffer(received));
    received.erase(0, bytes);
    return bytes;
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& buffers, error_code& error) {
    error = {};
    const auto before = to_send.size();
    for (auto one = asio::buffer_sequence_begin(buffers); one != asio::buffer_sequence_end(buffers); ++one) {
      const asio::const_buffer piece(*one);
      to_send.append(static_cast<const char*>(piece.data()), piece.size());
    }
    return to_send.size() - before;
  }

  std::string received, to_send;
  bool ended = false;  ///< nothing comes after `received`

 private:
  executor_type executor_;
};

struct Tls {
  Tls(const asio::any_io_executor& executor, std::shared_ptr<asio::ssl::context> chosen)
      : context(std::move(chosen)), stream(executor, *context) {}
  Memory& memory() { return stream.next_layer(); }

  const std::shared_ptr<asio::ssl::context> context;
  asio::ssl::stream<Memory> stream;
};

}  // namespace

struct ByteStream::Impl {
  explicit Impl(tcp::socket chosen) : socket(std::move(chosen)), timer(socket.get_executor()) {}

  awaitable<error_code> receive(std::string& into, std::size_t bytes_max);
  awaitable<error_code> send(std::string_view bytes);
  awaitable<error_code> end_sending();
  awaitable<error_code> run_tls(std::function<void(error_code&)> step);
  void close() {
    error_code ignored;  // it is closed then
    static_cast<void>(socket.close(ignored));
  }

  tcp::socket socket;
  asio::steady_timer timer;
  bool timed_out = false;
  std::optional<Tls> tls;
};

awaitable<error_code> ByteStream::Impl::receive(std::string& into, std::size_t bytes_max) {
  const auto before = into.size();
  into.resize(before + bytes_max);
  const auto [error, bytes] = co_await socket.async_read_some(asio::buffer(into.data() + before, bytes_max), tuple_of);
  into.resize(before + bytes);
  co_return error;
}

awaitable<error_code> ByteStream::Impl::send(std::string_view bytes) {
  const auto [error, sent] = co_await asio::async_write(socket, asio::buffer(bytes), tuple_of);
  co_return error;
}

awaitable<error_code> ByteStream::Impl::end_sending() {
  error_code error;
  static_cast<void>(socket.shutdown(tcp::socket::shutdown_send, error));
  co_return error;
}

/// Repeats `step` until it does not want to read more; what it wrote is sent.
awaitable<error_code> ByteStream::Impl::run_tls(std::function<void(error_code&)> step) {
  auto& memory = tls->memory();
  for (;;) {
    error_code error;
    step(error);
    const bool waits = error == asio::error::would_block;
    if (!memory.to_send.empty()) {
      const auto bytes = std::exchange(memory.to_send, {});
      const auto failed = co_await send(bytes);
      if (failed && (waits || !error)) co_return failed;
    }
    if (!waits) co_return error;
    const auto failed = co_await receive(memory.received, receive_bytes_max);
    if (failed == asio::error::eof) {
      memory.ended = true;  // TLS knows whether it may end here
    } else if (failed) {
      co_return failed;
    }
  }
}

ByteStream::ByteStream(tcp::socket socket) : impl_(std::make_shared<Impl>(std::move(socket))) {}

ByteStream::~ByteStream() {
  expires_never();
  impl_->close();
}

ssl_st* ByteStream::use_tls(std::shared_ptr<asio::ssl::context> context) {
  impl_->tls.emplace(impl_->socket.get_executor(), std::move(context));
  return impl_->tls->stream.native_handle();
}

void ByteStream::expires_after(std::chrono::steady_clock::duration time) {
  impl_->timer.expires_after(time);
  impl_->timer.async_wait([weak = std::weak_ptr(impl_)](const error_code& error) {
    const auto self = weak.lock();
    // The time may have been set anew when this was on its way.
    if (error || !self || self->timer.expiry() > std::chrono::steady_clock::now()) return;
    self->timed_out = true;
    self->close();
  });
}

void ByteStream::expires_never() { impl_->timer.expires_at(std::chrono::steady_clock::time_point::max()); }
bool ByteStream::timed_out() const { return impl_->timed_out; }

bool ByteStream::peer_left() const {
  pollfd watched{impl_->socket.native_handle(), POLLRDHUP, 0};
  return ::poll(&watched, 1, 0) > 0;
}

void ByteStream::cancel() {
  error_code ignored;  // it is closed then
  static_cast<void>(impl_->socket.cancel(ignored));
}

awaitable<error_code> ByteStream::connect(tcp::resolver::results_type addresses) {
  error_code result = asio::error::not_found;
  for (const auto& address : addresses) {
    impl_->close();
    const auto [error] = co_await impl_->socket.async_connect(address.endpoint(), tuple_of);
    result = error;
    if (!error || impl_->timed_out) break;
  }
  co_return result;
}

awaitable<error_code> ByteStream::handshake(TlsSide side) {
  return impl_->run_tls([&stream = impl_->tls->stream, side](error_code& error) {
    const auto role = side == TlsSide::client ? asio::ssl::stream_base::client : asio::ssl::stream_base::server;
    static_cast<void>(stream.handshake(role, error));
  });
}

awaitable<error_code> ByteStream::read_some(std::string& into, std::size_t bytes_max) {
  if (!impl_->tls) return impl_->receive(into, bytes_max);
  return impl_->run_tls([&stream = impl_->tls->stream, &into, bytes_max](error_code& error) {
    const auto before = into.size();
    into.resize(before + bytes_max);
    const auto bytes = stream.read_some(asio::buffer(into.data() + before, bytes_max), error);
    into.resize(before + bytes);
  });
}

awaitable<error_code> ByteStream::write(std::string_view bytes) {
  if (!impl_->tls) return impl_->send(bytes);
  return impl_->run_tls([&stream = impl_->tls->stream, left = bytes](error_code& error) mutable {
    while (!left.empty() && !error)
      left.remove_prefix(stream.write_some(asio::buffer(left), error));
  });
}

awaitable<error_code> ByteStream::shutdown() {
  if (impl_->tls) {
    return impl_->run_tls(
        [&stream = impl_->tls->stream](error_code& error) { static_cast<void>(stream.shutdown(error)); });
  }
  return impl_->end_sending();
}

}  // namespace crosslink::node
