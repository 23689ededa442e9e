// Bytes over a TCP connection, plain or in TLS, within a time. One coroutine at a time uses one.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "crosslink/awaitable.hpp"

struct ssl_st;  // OpenSSL's SSL
namespace boost::asio::ssl {
class context;  // NOLINT(readability-identifier-naming): their name
}

namespace crosslink::node {

enum class TlsSide : std::uint8_t { client, server };

class ByteStream {
 public:
  /// Plain, unless use_tls comes before the first byte.
  explicit ByteStream(boost::asio::ip::tcp::socket socket);
  ~ByteStream();
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  /// OpenSSL's object, for what is to be set before the handshake.
  ssl_st* use_tls(std::shared_ptr<boost::asio::ssl::context> context);
  /// The connection is closed when this much time has passed, unless the time is set anew before.
  void expires_after(std::chrono::steady_clock::duration time);
  void expires_never();
  bool timed_out() const;
  /// Ends what waits now.
  void cancel();
  /// The other side has closed the connection, or sends no more. Looks, and does not wait.
  bool peer_left() const;

  /// To the first address that takes it.
  awaitable<boost::system::error_code> connect(boost::asio::ip::tcp::resolver::results_type addresses);
  awaitable<boost::system::error_code> handshake(TlsSide side);
  /// Appends at least a byte, and `bytes_max` at most.
  awaitable<boost::system::error_code> read_some(std::string& into, std::size_t bytes_max);
  /// All of `bytes`, which must stay until then.
  awaitable<boost::system::error_code> write(std::string_view bytes);
  /// Says that no more is sent; in TLS waits for the other side to say so, too.
  awaitable<boost::system::error_code> shutdown();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace crosslink::node
