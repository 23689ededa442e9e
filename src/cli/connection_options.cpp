#include "cli/connection_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <exception>
#include <utility>

#include "tls/credentials.hpp"

namespace crosslink::cli {

void add_tls_options(const Command& verb, TlsOptions& options, bool required) {
  const std::array all{verb.option("--ca", options.ca, "PEM file: who may sign the peer's certificate"),
                       verb.option("--cert", options.cert, "PEM file: our certificate"),
                       verb.option("--key", options.key, "PEM file: our private key")};
  for (const auto& one : all) {
    one.type("FILE").required(required);
    for (const auto& other : all) {
      if (other != one) one.needs(other);
    }
  }
}

void add_alpn_option(const Command& verb, std::string& alpn) {
  const auto check = [](const std::string& text) {
    return text.empty() || text.size() > 255 ? std::string("an ALPN has 1 to 255 bytes") : std::string();
  };
  verb.option("--alpn", alpn, "Application protocol both sides must name").check(check).shows_default();
}

void add_congestion_option(const Command& verb, quic::CongestionControl& congestion) {
  const auto set = [&congestion](const std::string& text) {
    congestion = text == "cubic" ? quic::CongestionControl::cubic : quic::CongestionControl::bbr;
  };
  verb.choice("--congestion", set, {"bbr", "cubic"}, "bbr", "Congestion control");
}

Result<void> check_files(const TlsOptions& options, const std::string& own_name) {
  if (auto good = tls::check_credentials(options.ca, options.cert, options.key); !good) return good;
  if (own_name.empty()) return {};
  auto names = tls::dns_names_of_file(options.cert);
  if (!names) return names.error();
  if (std::ranges::any_of(*names, [&](const auto& name) { return equal_ignoring_case(name, own_name); })) return {};
  return MirrorError::configuration(fmt::format(
      "the certificate in '{}' is for {}, not for the cluster id '{}': give the one made for it, or make one with "
      "`crosslink certs issue --name {}`",
      escape(options.cert), fmt::join(*names, ", "), own_name, own_name));
}

std::string to_text(const quic::Address& address) {
  auto ip = address.address();
  if (ip.is_v6() && ip.to_v6().is_v4_mapped()) {
    ip = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, ip.to_v6());
  }
  return quic::to_text({ip, address.port()});
}

namespace {

boost::asio::awaitable<int> without_throw_on_cancel(boost::asio::awaitable<int> work) {
  co_await boost::asio::this_coro::throw_if_cancelled(false);
  co_return co_await std::move(work);
}

}  // namespace

int run_to_end(boost::asio::io_context& context, boost::asio::awaitable<int> work) {
  int result = 1;
  const auto finish = [&result](std::exception_ptr thrown, int value) {
    if (thrown) std::rethrow_exception(thrown);
    result = value;
  };
  boost::asio::co_spawn(context, without_throw_on_cancel(std::move(work)), finish);
  context.run();
  return result;
}

}  // namespace crosslink::cli
