// The port that operators' commands come to: HTTP with JSON, guarded by a token.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "crosslink/awaitable.hpp"
#include "crosslink/quic/config.hpp"
#include "node/admin/admin_routes.hpp"

namespace crosslink::node {

struct AdminPortOptions {
  boost::asio::ip::tcp::endpoint address;
  std::string token;
  std::optional<quic::TlsFiles> tls;  ///< absent: plain HTTP, which only loopback may have
};

/// The token in `file`, 64 hex digits; empty when there is no file yet. Errors: Storage; Configuration when others may
/// read it, or it is no token.
Result<std::string> read_token(const std::filesystem::path& file, const base::Files& files = base::Files());
/// The same, but kept private, and made with mode 0600 when there is none.
Result<std::string> read_or_make_token(const std::filesystem::path& file, const base::Files& files = base::Files());

class AdminPort {
 public:
  static constexpr std::size_t connections_max = 64;
  static constexpr std::size_t header_bytes_max = 16 * 1024, body_bytes_max = 256 * 1024;
  static constexpr auto request_timeout = std::chrono::seconds(30);

  /// Binds. Errors: Configuration.
  static Result<std::unique_ptr<AdminPort>> open(const boost::asio::any_io_executor& executor,
                                                 const AdminPortOptions& options);
  ~AdminPort();
  boost::asio::ip::tcp::endpoint address() const;
  /// Reads a certificate; what is returned shows it to connections from then on, and cannot fail. It does nothing where
  /// no TLS is spoken. Both on run()'s thread. Errors: Configuration.
  Result<std::function<void()>> prepare_reload(const quic::TlsFiles& files);
  /// Serves until stop() or cancellation; what commands are doing is awaited. Call once, on a single thread. `routes`
  /// must outlive it. Errors: Cancelled, by cancellation only.
  Task<void> run(AdminRoutes& routes);
  /// From any thread.
  void stop();

 private:
  struct Impl;
  explicit AdminPort(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace crosslink::node
