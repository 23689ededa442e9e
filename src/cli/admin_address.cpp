#include "cli/admin_address.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "crosslink/types.hpp"
#include "node/config.hpp"

namespace crosslink::cli {
namespace {

constexpr std::size_t token_digits = 64;

Result<std::string> read_token(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    const auto missing = errno == ENOENT;
    return MirrorError(ErrorKind::Storage, CausedBy::us,
                       missing ? fmt::format("the token file '{}' is not there: a node writes it when it starts; start "
                                             "it with `crosslink serve`, or correct --config or --token-file",
                                             escape(file.string()))
                               : fmt::format("the token file '{}' cannot be read: run this as the user that the node "
                                             "runs as",
                                             escape(file.string())));
  }
  std::array<char, token_digits + 2> read{};
  stream.read(read.data(), read.size());
  std::string_view text(read.data(), static_cast<std::size_t>(stream.gcount()));
  while (text.ends_with('\n') || text.ends_with('\r'))
    text.remove_suffix(1);
  const auto is_digit = [](char one) { return std::isxdigit(static_cast<unsigned char>(one)) != 0; };
  if (text.size() != token_digits || !std::ranges::all_of(text, is_digit)) {
    return MirrorError(ErrorKind::Storage, CausedBy::us,
                       fmt::format("the token file '{}' does not hold {} hex digits: give the file admin.token in the "
                                   "node's data_dir",
                                   escape(file.string()), token_digits));
  }
  return std::string(text);
}

std::string bracketed(const std::string& host) { return host.find(':') == std::string::npos ? host : "[" + host + "]"; }

AdminTarget target_at(const quic::HostPort& address) {
  return {address, fmt::format("{}:{}", bracketed(address.host), address.port), {}, {}};
}

Result<AdminTarget> with_tls(AdminTarget target, const std::string& ca, const std::string& cluster_id) {
  if (ca.empty()) {
    return MirrorError::configuration(
        fmt::format("the admin port at {} is not on loopback and speaks TLS: give --ca and --cluster-id, or --config",
                    escape(target.host)));
  }
  if (!is_dns_name(cluster_id)) {
    return MirrorError::configuration("with TLS the node's own name is demanded: give --cluster-id, such as prod-us");
  }
  target.tls = {ca, cluster_id};
  return target;
}

/// What would be demanded of a certificate is not dropped in silence.
Result<AdminTarget> without_tls(AdminTarget target, const AdminOptions& options) {
  if (options.ca.empty() && options.cluster_id.empty()) return target;
  return MirrorError::configuration(fmt::format(
      "--ca and --cluster-id are for an admin port that speaks TLS; the one at {} is on loopback and does not",
      escape(target.host)));
}

Result<AdminTarget> from_config(const AdminOptions& options) {
  const auto config = node::load_config(options.config);
  if (!config) return config.error();
  auto target = target_at(config->admin);
  auto token = read_token(options.token_file.empty() ? config->data_dir / "admin.token"
                                                     : std::filesystem::path(options.token_file));
  if (!token) return token.error();
  target.token = *std::move(token);
  if (is_loopback(config->admin.host)) return without_tls(std::move(target), options);
  return with_tls(std::move(target), options.ca.empty() ? config->tls.ca.string() : options.ca,
                  options.cluster_id.empty() ? config->cluster_id : options.cluster_id);
}

}  // namespace

bool is_loopback(std::string_view host) {
  if (equal_ignoring_case(host, "localhost")) return true;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(host, error);
  return !error && address.is_loopback();
}

Result<AdminTarget> find_admin(const AdminOptions& options) {
  if (!options.config.empty()) return from_config(options);
  auto address = options.admin;
  const char* const from_environment = std::getenv("CROSSLINK_ADMIN");
  if (address.empty() && from_environment != nullptr) address = from_environment;
  if (address.empty()) {
    return MirrorError::configuration(
        "which node? give --config with its config file, or --admin (or CROSSLINK_ADMIN) and --token-file");
  }
  const auto host_port = quic::parse_host_port(address);
  if (!host_port) return host_port.error().with_context("the admin address");
  if (options.token_file.empty()) {
    return MirrorError::configuration("--token-file is missing: give the file admin.token of the node's data_dir");
  }
  auto token = read_token(options.token_file);
  if (!token) return token.error();
  auto target = target_at(*host_port);
  target.token = *std::move(token);
  if (is_loopback(host_port->host) && options.ca.empty()) return without_tls(std::move(target), options);
  return with_tls(std::move(target), options.ca, options.cluster_id);
}

}  // namespace crosslink::cli
