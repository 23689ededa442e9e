#include "cli/admin_client.hpp"

#include <fmt/format.h>
#include <openssl/ssl.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/json.hpp>
#include <exception>
#include <utility>

#include "crosslink/types.hpp"
#include "node/admin/byte_stream.hpp"
#include "node/admin/http.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using node::ByteStream;

constexpr node::HttpLimits answer_limits{8 * 1024, admin_answer_bytes_max};

std::string where(const AdminTarget& target) { return escape(target.host); }

MirrorError not_reached(const AdminTarget& target, const ByteStream& stream, const error_code& error) {
  if (stream.timed_out()) {
    return MirrorError::timeout(
        fmt::format("{} did not answer a connection within {} s: check the address, and that the node runs",
                    where(target), admin_connect_timeout.count()));
  }
  const auto* const what = error == asio::error::connection_refused ? "nothing listens there" : "it cannot be reached";
  return MirrorError::transport(
      TransportCause::unreachable,
      fmt::format("no node at {}: {}; it may not run: start it with `crosslink serve`, or correct the address",
                  where(target), what));
}

MirrorError lost(const AdminTarget& target, const ByteStream& stream, const error_code& error) {
  if (stream.timed_out())
    return MirrorError::timeout(fmt::format("the node at {} did not answer in time", where(target)));
  if (node::is_too_large(error)) {
    return MirrorError::protocol_violation(
        fmt::format("the answer of {} is larger than {} MiB", where(target), admin_answer_bytes_max / 1024 / 1024));
  }
  if (node::is_cut_short(error)) {
    return MirrorError::transport(
        TransportCause::stream_ended_early,
        fmt::format("the node at {} closed the connection before its answer was complete: it may be stopping, or speak "
                    "TLS (--ca) where we do not",
                    where(target)));
  }
  return MirrorError::protocol_violation(fmt::format(
      "what answers at {} is not a node's admin port ({}): correct the address", where(target), error.message()));
}

std::string text_of(const AdminTarget& target, const AdminRequest& asked) {
  const auto* const method = asked.method == AdminMethod::get    ? "GET"
                             : asked.method == AdminMethod::post ? "POST"
                                                                 : "DELETE";
  // A node's admin port with TLS answers to the names in its certificate.
  auto text = fmt::format(
      "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: crosslink\r\nAccept: application/json\r\n"
      "Authorization: Bearer {}\r\nConnection: close\r\n",
      method, asked.path, target.tls ? target.tls->name : target.host, target.token);
  std::string body;
  if (asked.method == AdminMethod::post) {
    body = boost::json::serialize(asked.body);
    text += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  }
  return text + "\r\n" + body;
}

Result<AdminAnswer> answer_of(const AdminTarget& target, const node::HttpAnswer& response) {
  error_code error;
  auto value = boost::json::parse(response.body, error);
  if (error || !value.is_object()) {
    return MirrorError::protocol_violation(
        fmt::format("what answers at {} is not a node's admin port (HTTP status {}, no JSON object): correct the "
                    "address",
                    where(target), response.status));
  }
  AdminAnswer answer{std::move(value.get_object()), std::nullopt};
  if (response.status / 100 == 2) return answer;
  const auto* code = answer.body.if_contains("exit_code");
  const auto number = code != nullptr && code->is_int64() ? code->get_int64() : exit_failed;
  // Never 0: an error is none that worked.
  answer.exit_code = number >= 1 && number <= 125 ? static_cast<int>(number) : exit_failed;
  return answer;
}

Task<AdminAnswer> exchange(ByteStream& stream, const AdminTarget& target, const AdminRequest& asked) {
  const auto text = text_of(target, asked);
  stream.expires_after(asked.timeout);
  const auto write_error = co_await stream.write(text);
  if (write_error) co_return lost(target, stream, write_error);
  node::HttpReader reader(stream, answer_limits);
  node::HttpAnswer answer;
  const auto read_error = co_await reader.read(answer);
  if (read_error) co_return lost(target, stream, read_error);
  co_return answer_of(target, answer);
}

Result<SSL*> start_tls(ByteStream& stream, const AdminTarget& target) {
  error_code error;  // only a file that cannot be read: the others cannot fail
  auto tls = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  static_cast<void>(tls->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1));
  static_cast<void>(tls->set_verify_mode(asio::ssl::verify_peer, error));
  static_cast<void>(tls->load_verify_file(target.tls->ca, error));
  if (error) {
    return MirrorError::configuration(
        fmt::format("'{}' holds no PEM certificate that can be read: correct --ca", escape(target.tls->ca)));
  }
  auto* const session = stream.use_tls(std::move(tls));
  // Names of the certificate only: OpenSSL would otherwise take its common name, too.
  X509_VERIFY_PARAM_set_hostflags(SSL_get0_param(session),
                                  X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS);
  const auto& name = target.tls->name;
  if (X509_VERIFY_PARAM_set1_host(SSL_get0_param(session), name.c_str(), name.size()) != 1 ||
      SSL_set_tlsext_host_name(session, name.c_str()) != 1) {
    return MirrorError::configuration(fmt::format("TLS does not take the name '{}'", escape(name)));
  }
  return session;
}

Task<void> shake_hands(ByteStream& stream, const AdminTarget& target) {
  const auto session = start_tls(stream, target);
  if (!session) co_return session.error();
  stream.expires_after(admin_connect_timeout);
  const auto error = co_await stream.handshake(node::TlsSide::client);
  if (!error) co_return Result<void>{};
  if (stream.timed_out()) co_return not_reached(target, stream, error);
  const auto verdict = SSL_get_verify_result(*session);
  const std::string why = verdict == X509_V_OK ? error.message() : X509_verify_cert_error_string(verdict);
  co_return MirrorError::tls_refused(
      CausedBy::peer, fmt::format("TLS with {} failed ({}): check that --ca signed its certificate and that it "
                                  "names the cluster id {}",
                                  where(target), why, target.tls->name));
}

Task<AdminAnswer> connect_and_ask(asio::ip::tcp::socket socket, asio::ip::tcp::resolver::results_type addresses,
                                  const AdminTarget& target, const AdminRequest& request) {
  ByteStream stream(std::move(socket));
  stream.expires_after(admin_connect_timeout);
  auto connecting = stream.connect(std::move(addresses));
  const auto error = co_await std::move(connecting);
  if (error) co_return not_reached(target, stream, error);
  if (target.tls) {
    const auto shaken = co_await shake_hands(stream, target);
    if (!shaken) co_return shaken.error();
  }
  auto exchanging = exchange(stream, target, request);
  co_return co_await std::move(exchanging);
}

}  // namespace

Result<AdminAnswer> ask(const AdminTarget& target, const AdminRequest& request) {
  asio::io_context context(1);
  error_code error;
  asio::ip::tcp::resolver resolver(context);
  const auto addresses = resolver.resolve(target.connect.host, fmt::format("{}", target.connect.port), error);
  if (error) {
    return MirrorError::transport(TransportCause::unresolved,
                                  fmt::format("the name '{}' has no address: correct the address of the admin port",
                                              escape(target.connect.host)));
  }
  std::optional<Result<AdminAnswer>> answer;
  std::exception_ptr failure;
  auto keep = [](Task<AdminAnswer> asking, std::optional<Result<AdminAnswer>>& kept) -> awaitable<void> {
    auto said = co_await std::move(asking);
    kept.emplace(std::move(said));
  };
  auto asking = connect_and_ask(asio::ip::tcp::socket(context), addresses, target, request);
  asio::co_spawn(context.get_executor(), keep(std::move(asking), answer),
                 [&failure](std::exception_ptr thrown) { failure = std::move(thrown); });
  context.run();
  if (failure) std::rethrow_exception(failure);
  return *std::move(answer);
}

Result<AdminAnswer> ask_node(const AdminOptions& options, const AdminRequest& request) {
  const auto target = find_admin(options);
  if (!target) return target.error();
  return ask(*target, request);
}

}  // namespace crosslink::cli
