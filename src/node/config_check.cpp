#include "node/config_check.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "node/admin/admin_port.hpp"
#include "node/certificate_watch.hpp"
#include "node/hosting/catalog.hpp"
#include "node/hosting/private_files.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

MirrorError no_folder(const fs::path& folder, std::string_view why) {
  return MirrorError::configuration(fmt::format("data_dir {} cannot be used: {}", folder.string(), why));
}

/// It, or what it would be made in.
Result<void> check_folder(const fs::path& folder) {
  auto at = folder;
  std::error_code error;
  while (!fs::exists(at, error) && !error && at.has_relative_path())
    at = at.parent_path();
  if (error) return no_folder(folder, fmt::format("{}: {}", at.string(), error.message()));
  if (!fs::is_directory(at, error)) return no_folder(folder, fmt::format("{} is no folder", at.string()));
  if (::access(at.c_str(), W_OK | X_OK) != 0)
    return no_folder(folder, fmt::format("{}: {}", at.string(), std::strerror(errno)));
  return at == folder ? check_kept_private(folder) : Result<void>{};
}

Result<void> check_address(std::string_view key, int kind, const sockaddr* address, std::size_t bytes,
                           const std::string& text) {
  const int probe = ::socket(address->sa_family, kind | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (probe >= 0 && kind == SOCK_STREAM) ::setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool bound = probe >= 0 && ::bind(probe, address, static_cast<socklen_t>(bytes)) == 0;
  const int why = bound ? 0 : errno;
  if (probe >= 0) ::close(probe);
  if (bound || why == EADDRINUSE) return {};
  return MirrorError::configuration(
      fmt::format("listen.{}: cannot listen on {} ({}): give an address of this machine and a port this user may take",
                  key, text, std::strerror(why)));
}

Result<void> check_tcp(std::string_view key, const quic::HostPort& where) {
  boost::system::error_code error;  // the config was checked: it is an address
  const boost::asio::ip::tcp::endpoint address(boost::asio::ip::make_address(where.host, error), where.port);
  return check_address(key, SOCK_STREAM, address.data(), address.size(), fmt::format("{}:{}", where.host, where.port));
}

}  // namespace

Result<void> check_config(const NodeConfig& config, const quic::Address& mirrors) {
  if (auto good = check_certificates(certificate_set_of(config.tls, config.cluster_id)); !good) return good;
  if (auto good = check_folder(config.data_dir); !good) return good;
  if (auto catalog = Catalog::load(config.data_dir / "catalog.json"); !catalog) return catalog.error();
  if (auto token = read_token(config.data_dir / "admin.token"); !token) return token.error();
  if (auto good = check_address("mirrors", SOCK_DGRAM, mirrors.data(), mirrors.size(), quic::to_text(mirrors)); !good)
    return good;
  if (auto good = check_tcp("clients", config.clients); !good) return good;
  return check_tcp("admin", config.admin);
}

Result<void> check_databases(const NodeConfig& config) {
  for (const auto& database : config.databases) {
    if (!database.etcd) continue;
    const auto good = check_certificates(certificate_set_of(database.name, database.etcd->cluster));
    if (!good) return good.error().with_context(fmt::format("database {}", database.name));
  }
  return {};
}

}  // namespace crosslink::node
