#include "cli/admin_client.hpp"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include "crosslink/types.hpp"

namespace crosslink::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Request = http::request<http::string_body>;
using Parser = http::response_parser<http::string_body>;

/// Beast keeps deadlines for asynchronous operations only, so each step is one that is run to its end.
template <class Start>
error_code run_step(asio::io_context& context, Start start) {
  error_code result = asio::error::operation_aborted;
  start([&result](error_code error, auto&&...) { result = error; });
  context.restart();
  context.run();
  return result;
}

std::string where(const AdminTarget& target) { return escape(target.host); }

MirrorError not_reached(const AdminTarget& target, const error_code& error) {
  if (error == beast::error::timeout) {
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

MirrorError lost(const AdminTarget& target, const error_code& error) {
  if (error == beast::error::timeout)
    return MirrorError::timeout(fmt::format("the node at {} did not answer in time", where(target)));
  if (error == http::error::body_limit || error == http::error::header_limit) {
    return MirrorError::protocol_violation(
        fmt::format("the answer of {} is larger than {} MiB", where(target), admin_answer_bytes_max / 1024 / 1024));
  }
  if (error == http::error::end_of_stream || error == http::error::partial_message || error == asio::error::eof ||
      error == asio::error::connection_reset || error == asio::error::broken_pipe ||
      error == asio::ssl::error::stream_truncated) {
    return MirrorError::transport(
        TransportCause::stream_ended_early,
        fmt::format("the node at {} closed the connection before its answer was complete: it may be stopping, or speak "
                    "TLS (--ca) where we do not",
                    where(target)));
  }
  return MirrorError::protocol_violation(fmt::format(
      "what answers at {} is not a node's admin port ({}): correct the address", where(target), error.message()));
}

Request request_of(const AdminTarget& target, const AdminRequest& asked) {
  const auto verb = asked.method == AdminMethod::get    ? http::verb::get
                    : asked.method == AdminMethod::post ? http::verb::post
                                                        : http::verb::delete_;
  Request request(verb, asked.path, 11);
  // A node's admin port with TLS answers to the names in its certificate.
  request.set(http::field::host, target.tls ? target.tls->name : target.host);
  request.set(http::field::user_agent, "crosslink");
  request.set(http::field::accept, "application/json");
  request.set(http::field::authorization, "Bearer " + target.token);
  request.keep_alive(false);
  if (asked.method == AdminMethod::post) {
    request.set(http::field::content_type, "application/json");
    request.body() = boost::json::serialize(asked.body);
  }
  request.prepare_payload();
  return request;
}

Result<AdminAnswer> answer_of(const AdminTarget& target, const http::response<http::string_body>& response) {
  error_code error;
  auto value = boost::json::parse(response.body(), error);
  if (error || !value.is_object()) {
    return MirrorError::protocol_violation(
        fmt::format("what answers at {} is not a node's admin port (HTTP status {}, no JSON object): correct the "
                    "address",
                    where(target), response.result_int()));
  }
  AdminAnswer answer{std::move(value.get_object()), std::nullopt};
  if (response.result_int() / 100 == 2) return answer;
  const auto* code = answer.body.if_contains("exit_code");
  const auto number = code != nullptr && code->is_int64() ? code->get_int64() : 1;
  // Never 0: an error is none that worked.
  answer.exit_code = number >= 1 && number <= 125 ? static_cast<int>(number) : 1;
  return answer;
}

template <class Stream>
Result<AdminAnswer> exchange(asio::io_context& context, Stream& stream, const AdminTarget& target,
                             const AdminRequest& asked) {
  const auto request = request_of(target, asked);
  auto& lowest = beast::get_lowest_layer(stream);
  lowest.expires_after(asked.timeout);
  if (auto error = run_step(context, [&](auto done) { http::async_write(stream, request, done); }); error) {
    return lost(target, error);
  }
  Parser parser;
  parser.body_limit(admin_answer_bytes_max);
  beast::flat_buffer buffer;
  const auto error = run_step(context, [&](auto done) { http::async_read(stream, buffer, parser, done); });
  if (error) return lost(target, error);
  return answer_of(target, parser.get());
}

Result<AdminAnswer> exchange_with_tls(asio::io_context& context, beast::tcp_stream stream, const AdminTarget& target,
                                      const AdminRequest& asked) {
  error_code error;  // only a file that cannot be read: the others cannot fail
  asio::ssl::context tls(asio::ssl::context::tls_client);
  static_cast<void>(tls.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1));
  static_cast<void>(tls.set_verify_mode(asio::ssl::verify_peer, error));
  static_cast<void>(tls.load_verify_file(target.tls->ca, error));
  if (error) {
    return MirrorError::configuration(
        fmt::format("'{}' holds no PEM certificate that can be read: correct --ca", escape(target.tls->ca)));
  }
  beast::ssl_stream<beast::tcp_stream> secured(std::move(stream), tls);
  // Names of the certificate only: OpenSSL would otherwise take its common name, too.
  X509_VERIFY_PARAM_set_hostflags(SSL_get0_param(secured.native_handle()),
                                  X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS);
  const auto& name = target.tls->name;
  if (X509_VERIFY_PARAM_set1_host(SSL_get0_param(secured.native_handle()), name.c_str(), name.size()) != 1 ||
      SSL_set_tlsext_host_name(secured.native_handle(), name.c_str()) != 1) {
    return MirrorError::configuration(fmt::format("TLS does not take the name '{}'", escape(name)));
  }
  beast::get_lowest_layer(secured).expires_after(admin_connect_timeout);
  error = run_step(context, [&](auto done) { secured.async_handshake(asio::ssl::stream_base::client, done); });
  if (error == beast::error::timeout) return not_reached(target, error);
  if (error) {
    const auto verdict = SSL_get_verify_result(secured.native_handle());
    const std::string why = verdict == X509_V_OK ? error.message() : X509_verify_cert_error_string(verdict);
    return MirrorError::tls_refused(
        CausedBy::peer, fmt::format("TLS with {} failed ({}): check that --ca signed its certificate and that it "
                                    "names the cluster id {}",
                                    where(target), why, name));
  }
  return exchange(context, secured, target, asked);
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
  beast::tcp_stream stream(context);
  stream.expires_after(admin_connect_timeout);
  error = run_step(context, [&](auto done) { stream.async_connect(addresses, done); });
  if (error) return not_reached(target, error);
  if (target.tls) return exchange_with_tls(context, std::move(stream), target, request);
  return exchange(context, stream, target, request);
}

Result<AdminAnswer> ask_node(const AdminOptions& options, const AdminRequest& request) {
  const auto target = find_admin(options);
  if (!target) return target.error();
  return ask(*target, request);
}

}  // namespace crosslink::cli
