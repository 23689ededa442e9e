#include "cli/connection_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <charconv>
#include <exception>
#include <optional>
#include <utility>

#include "tls/credentials.hpp"

namespace crosslink::cli {

void add_tls_options(CLI::App& verb, TlsOptions& options, bool required) {
  auto* ca = verb.add_option("--ca", options.ca, "PEM file: who may sign the peer's certificate");
  auto* cert = verb.add_option("--cert", options.cert, "PEM file: our certificate");
  auto* key = verb.add_option("--key", options.key, "PEM file: our private key");
  for (auto* one : {ca, cert, key}) {
    one->type_name("FILE")->required(required);
    for (auto* other : {ca, cert, key}) {
      if (other != one) one->needs(other);
    }
  }
}

void add_alpn_option(CLI::App& verb, std::string& alpn) {
  const auto check = [](const std::string& text) {
    return text.empty() || text.size() > 255 ? std::string("an ALPN has 1 to 255 bytes") : std::string();
  };
  verb.add_option("--alpn", alpn, "Application protocol both sides must name")->check(check, "")->capture_default_str();
}

void add_congestion_option(CLI::App& verb, quic::CongestionControl& congestion) {
  const auto set = [&congestion](const std::string& text) {
    congestion = text == "cubic" ? quic::CongestionControl::cubic : quic::CongestionControl::bbr;
  };
  verb.add_option_function<std::string>("--congestion", set, "Congestion control")
      ->check(CLI::IsMember({"bbr", "cubic"}))
      ->default_str("bbr");
}

CLI::Option* add_number_option(CLI::App& verb, const std::string& name, std::uint64_t& number,
                               const std::string& description, NumberRange range) {
  const auto read = [](const std::string& text) -> std::optional<std::uint64_t> {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
  };
  const auto check = [read, range](const std::string& text) {
    const auto value = read(text);
    if (value && *value >= range.min && *value <= range.max) return std::string();
    return fmt::format("'{}' is not a whole decimal number from {} to {}", text, range.min, range.max);
  };
  const auto store = [read, &number](const CLI::results_t& results) {
    const auto value = read(results.back());
    if (value) number = *value;
    return value.has_value();
  };
  return verb.add_option(name, store, description)->check(check, "")->type_name("N");
}

CLI::Option* add_seconds_option(CLI::App& verb, const std::string& name, std::optional<double>& seconds,
                                const std::string& description) {
  static constexpr double min = 0.001, max = 1e6;
  // Compared the other way round, "nan" would pass.
  const auto check = [](const std::string& text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool good = error == std::errc() && end == text.data() + text.size() && value >= min && value <= max;
    return good ? std::string() : fmt::format("'{}' is not from {} to {:.0f}", text, min, max);
  };
  return verb.add_option(name, seconds, description)->check(check, "")->type_name("S");
}

std::optional<std::chrono::steady_clock::duration> seconds_of(std::optional<double> seconds) {
  if (!seconds) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(*seconds));
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
