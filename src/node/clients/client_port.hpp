// The port that clients write and read at: the Redis protocol over TCP.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "node/client_facts.hpp"
#include "node/config.hpp"
#include "node/engine_threads.hpp"
#include "node/hosting/database_list.hpp"

namespace crosslink::node {

struct ClientPortOptions {
  boost::asio::ip::tcp::endpoint address;
  std::optional<std::string> password;  ///< absent: none is asked for
  std::uint32_t connections_max = NodeConfig().clients_max;
  /// What all connections together may hold of commands, transactions, watched keys and answers beyond 64 KiB each.
  std::uint64_t buffers_bytes_max = NodeConfig().clients_buffers_bytes;
};

class ClientPort {
 public:
  /// Binds. `databases` must outlive run(); `executors` make the calls that block. Errors:
  /// Configuration.
  static Result<std::unique_ptr<ClientPort>> open(boost::asio::any_io_executor executor, ClientPortOptions options,
                                                  const DatabaseList& databases, EngineExecutors executors);
  ~ClientPort();
  boost::asio::ip::tcp::endpoint address() const;
  /// Serves until stop() or cancellation; then ends every connection, awaiting what the engines are doing. Call once,
  /// on a single thread or a strand. Errors: Cancelled, by cancellation only.
  Task<void> run();
  /// From any thread.
  void stop();
  /// On run()'s thread.
  ClientFacts facts() const;
  /// For connections that say it from now on; those that have said it stay. On run()'s thread.
  void set_password(std::optional<std::string> password);

 private:
  struct Impl;
  explicit ClientPort(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace crosslink::node
