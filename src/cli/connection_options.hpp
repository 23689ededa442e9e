// Options of every verb that makes QUIC connections, and how such a verb runs.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "crosslink/quic/config.hpp"
#include "crosslink/quic/connection.hpp"

namespace crosslink::cli {

struct TlsOptions {
  std::string ca, cert, key;
  quic::TlsFiles files() const { return {ca, cert, key}; }
};
/// --ca, --cert and --key: all three or, if not `required`, none.
void add_tls_options(CLI::App& verb, TlsOptions& options, bool required);
void add_alpn_option(CLI::App& verb, std::string& alpn);
void add_congestion_option(CLI::App& verb, quic::CongestionControl& congestion);
/// What a number may be, both ends included.
struct NumberRange {
  std::uint64_t min = 0;
  std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
};
/// A number without sign, decimal only: CLI11 by itself reads 010 as 8.
CLI::Option* add_number_option(CLI::App& verb, const std::string& name, std::uint64_t& number,
                               const std::string& description, NumberRange range = {});

/// A time in seconds, from 0.001 to a million.
CLI::Option* add_seconds_option(CLI::App& verb, const std::string& name, std::optional<double>& seconds,
                                const std::string& description);
std::optional<std::chrono::steady_clock::duration> seconds_of(std::optional<double> seconds);

/// Checks the three files and, if `own_name` is given, that our certificate has that DNS name. Errors: Configuration.
Result<void> check_files(const TlsOptions& options, const std::string& own_name = {});

/// "127.0.0.1:4433" or "[::1]:4433"; an IPv4 address mapped into IPv6 is shown as IPv4.
std::string to_text(const quic::Address& address);

/// Runs one coroutine to its end on this thread and returns what it returned. A cancellation shows in it as the kind
/// Cancelled, not as an exception.
int run_to_end(boost::asio::io_context& context, boost::asio::awaitable<int> work);

}  // namespace crosslink::cli
