// A node: databases of this machine, offered to clients and to the mirrors of other clusters.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "crosslink/quic/endpoint.hpp"
#include "node/config.hpp"
#include "node/hosting/step_listener.hpp"

namespace crosslink::node {

class Node {
 public:
  /// Opens every database and both ports. Errors: Configuration, Storage; Transport when the transport cannot start.
  static Result<std::unique_ptr<Node>> open(const NodeConfig& config, quic::Endpoint endpoint, quic::Address mirrors,
                                            boost::asio::any_io_executor executor, StepListener on_step = {});
  ~Node();
  /// Serves until stop() or cancellation, then ends sessions and connections, and closes the databases. Call once, on
  /// a single thread. Errors: Cancelled, by cancellation only.
  Task<void> run();
  /// From any thread.
  void stop();
  quic::Address mirrors_address() const;
  std::string clients_address() const;
  std::string admin_address() const;
  /// How many databases take longer to open than open() waited: they are opened while the others are served.
  std::size_t opening() const;
  /// Lists of names, denied serials, the clients' password and certificates from a config that was read again. Mirrors
  /// that no longer pass are cut. The result is what else is in it and takes a restart (needs_restart). On run()'s
  /// thread. Errors: Configuration when the certificate files cannot be used: the old ones stay in use, and the lists
  /// hold all the same. Files that change at their paths are taken up without it.
  Result<std::vector<std::string>> reload(const NodeConfig& config);
  /// How reading the config again ended, reload() included: for the status and the metrics. On run()'s thread.
  void note_reload(const Result<std::vector<std::string>>& reloaded);

 private:
  struct Impl;
  explicit Node(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace crosslink::node
