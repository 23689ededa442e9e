// Options of every verb that makes QUIC connections, and how such a verb runs.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <string>

#include "cli/command_line.hpp"
#include "crosslink/quic/config.hpp"
#include "crosslink/quic/connection.hpp"

namespace crosslink::cli {

struct TlsOptions {
  std::string ca, cert, key;
  quic::TlsFiles files() const { return {ca, cert, key}; }
};
/// --ca, --cert and --key: all three or, if not `required`, none.
void add_tls_options(const Command& verb, TlsOptions& options, bool required);
void add_alpn_option(const Command& verb, std::string& alpn);
void add_congestion_option(const Command& verb, quic::CongestionControl& congestion);

/// Checks the three files and, if `own_name` is given, that our certificate has that DNS name. Errors: Configuration.
Result<void> check_files(const TlsOptions& options, const std::string& own_name = {});

/// "127.0.0.1:4433" or "[::1]:4433"; an IPv4 address mapped into IPv6 is shown as IPv4.
std::string to_text(const quic::Address& address);

/// Runs one coroutine to its end on this thread and returns what it returned. A cancellation shows in it as the kind
/// Cancelled, not as an exception.
int run_to_end(boost::asio::io_context& context, boost::asio::awaitable<int> work);

}  // namespace crosslink::cli
