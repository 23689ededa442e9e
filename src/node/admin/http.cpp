#include "node/admin/http.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <utility>

namespace crosslink::node {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::size_t read_bytes_max = 64 * 1024;

/// As Beast's async_read does it; that one would be compiled for each kind of stream. `came` keeps what comes after the
/// message.
template <bool is_request>
awaitable<error_code> read_whole(ByteStream& stream, std::string& came, std::size_t came_bytes_max,
                                 http::basic_parser<is_request>& parser) {
  parser.eager(true);
  error_code error;
  while (!parser.is_done()) {
    if (came.empty() || error == http::error::need_more) {
      if (came.size() >= came_bytes_max) co_return http::error::buffer_overflow;
      auto reading = stream.read_some(came, std::min(read_bytes_max, came_bytes_max - came.size()));
      error = co_await std::move(reading);
      if (error == asio::error::eof) {
        if (!parser.got_some()) co_return http::error::end_of_stream;
        error = {};
        parser.put_eof(error);
        co_return error;
      }
      if (error) co_return error;
    }
    came.erase(0, parser.put(asio::const_buffer(came.data(), came.size()), error));
    if (error && error != http::error::need_more) co_return error;
  }
  co_return error_code();
}

std::optional<std::string> field_of(const http::fields& fields, http::field name) {
  const auto found = fields.find(name);
  if (found == fields.end()) return std::nullopt;
  return std::string(found->value());
}

}  // namespace

awaitable<error_code> HttpReader::read(HttpRequest& request) {
  http::request_parser<http::string_body> parser;
  parser.header_limit(limits_.header_bytes);
  parser.body_limit(limits_.body_bytes);
  auto reading = read_whole(*stream_, came_, limits_.header_bytes + limits_.body_bytes, parser);
  const auto error = co_await std::move(reading);
  if (error) co_return error;
  auto message = parser.release();
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.version = message.version();
  request.keep_alive = message.keep_alive();
  request.host = field_of(message, http::field::host);
  request.authorization = field_of(message, http::field::authorization);
  request.content_type = field_of(message, http::field::content_type);
  request.body = std::move(message.body());
  co_return error;
}

awaitable<error_code> HttpReader::read(HttpAnswer& answer) {
  http::response_parser<http::string_body> parser;
  parser.header_limit(limits_.header_bytes);
  parser.body_limit(limits_.body_bytes);
  auto reading = read_whole(*stream_, came_, limits_.header_bytes + limits_.body_bytes, parser);
  const auto error = co_await std::move(reading);
  if (error) co_return error;
  answer.status = parser.get().result_int();
  answer.body = std::move(parser.get().body());
  co_return error;
}

std::optional<unsigned> HttpReader::status_of(const error_code& error) const {
  constexpr unsigned bad_request = 400, body_too_large = 413, target_too_long = 414, headers_too_large = 431;
  if (error.category() != make_error_code(http::error::end_of_stream).category()) return std::nullopt;
  if (error == http::error::end_of_stream) return std::nullopt;
  if (error == http::error::body_limit) return body_too_large;
  if (error != http::error::header_limit && error != http::error::buffer_overflow) return bad_request;
  // Of what does not fit nothing was taken out yet: is it the first line alone?
  return came_.find('\n') == std::string::npos ? target_too_long : headers_too_large;
}

bool is_too_large(const error_code& error) {
  return error == http::error::body_limit || error == http::error::header_limit;
}

bool is_cut_short(const error_code& error) {
  return error == http::error::end_of_stream || error == http::error::partial_message || error == asio::error::eof ||
         error == asio::error::connection_reset || error == asio::error::broken_pipe ||
         error == asio::ssl::error::stream_truncated;
}

std::string to_text(const HttpResponse& response) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
  auto text = fmt::format("HTTP/{}.{} {} {}\r\nContent-Type: {}\r\nCache-Control: no-store\r\n", response.version / 10,
                          response.version % 10, response.status, std::string_view(reason.data(), reason.size()),
                          response.content_type);
  if (response.version < 11 && response.keep_alive) text += "Connection: keep-alive\r\n";
  if (response.version >= 11 && !response.keep_alive) text += "Connection: close\r\n";
  text += fmt::format("Content-Length: {}\r\n\r\n{}", response.body.size(), response.body);
  return text;
}

}  // namespace crosslink::node
