#include <fmt/format.h>

#include <boost/asio/ip/udp.hpp>
#include <charconv>
#include <cstring>

#include "crosslink/quic/endpoint.hpp"
#include "quic/connection_state.hpp"

namespace crosslink::quic {
namespace detail {

QUIC_ADDR to_transport(const Address& address) {
  QUIC_ADDR transport{};
  std::memcpy(&transport, address.data(), std::min(address.size(), sizeof(transport)));
  return transport;
}

Address from_transport(const QUIC_ADDR& address) {
  Address result;
  // The transport's sockets take both families and show IPv4 peers mapped into IPv6.
  if (address.Ip.sa_family == AF_INET6) {
    result.resize(sizeof(sockaddr_in6));
    std::memcpy(result.data(), &address.Ipv6, sizeof(sockaddr_in6));
    if (result.address().is_v6() && result.address().to_v6().is_v4_mapped()) {
      const auto v4 = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, result.address().to_v6());
      return Address(v4, result.port());
    }
    return result;
  }
  result.resize(sizeof(sockaddr_in));
  std::memcpy(result.data(), &address.Ipv4, sizeof(sockaddr_in));
  return result;
}

}  // namespace detail

std::string to_text(const Address& address) {
  const auto host = address.address().to_string();
  return address.address().is_v6() ? fmt::format("[{}]:{}", host, address.port())
                                   : fmt::format("{}:{}", host, address.port());
}

Result<HostPort> parse_host_port(std::string_view text) {
  const auto refuse = [&] {
    return MirrorError::configuration(fmt::format(
        "'{}' is no address: write HOST:PORT, 1.2.3.4:PORT or [IPV6]:PORT with a port from 0 to 65535", escape(text)));
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size()) return refuse();
  auto host = text.substr(0, colon);
  const auto port_text = text.substr(colon + 1);
  if (host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return refuse();
    host = host.substr(1, host.size() - 2);
    boost::system::error_code error;
    boost::asio::ip::make_address_v6(std::string(host), error);
    if (error) return refuse();
  } else if (host.find_first_of(":[] \t") != std::string_view::npos || host.size() > 253) {
    return refuse();
  }
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc{} || end != port_text.data() + port_text.size()) return refuse();
  return HostPort{std::string(host), port};
}

}  // namespace crosslink::quic
