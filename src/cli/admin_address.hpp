// Where a node's admin port is, and how to prove that we may use it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "crosslink/quic/endpoint.hpp"
#include "crosslink/result.hpp"

namespace crosslink::cli {

struct AdminOptions {
  std::string config, admin, token_file, ca, cluster_id;
};

struct AdminTarget {
  quic::HostPort connect;
  std::string host;  ///< the Host header
  std::string token;
  struct Tls {
    std::string ca;
    std::string name;  ///< the DNS name demanded of the node's certificate: its cluster id
  };
  std::optional<Tls> tls;
};

/// Reads the config, or takes CROSSLINK_ADMIN where neither it nor --admin is given, and reads the token. Errors:
/// Configuration, naming the option; Storage: no token where the node should have written it.
Result<AdminTarget> find_admin(const AdminOptions& options);

/// True for `localhost` and literal loopback addresses: no TLS is spoken there.
bool is_loopback(std::string_view host);

}  // namespace crosslink::cli
