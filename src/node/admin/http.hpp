// HTTP/1.1 as the admin port and its clients speak it: whole messages, one after another.
#pragma once

#include <boost/system/error_code.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crosslink/awaitable.hpp"
#include "node/admin/byte_stream.hpp"

namespace crosslink::node {

/// As it was read.
struct HttpRequest {
  std::string method, target;
  unsigned version = 11;
  bool keep_alive = false;
  std::optional<std::string> host, authorization, content_type;
  std::string body;
};
struct HttpAnswer {
  unsigned status = 0;
  std::string body;
};

/// Of a message; nothing larger is read.
struct HttpLimits {
  std::uint32_t header_bytes = 0;
  std::uint64_t body_bytes = 0;
};

/// The messages that come over a connection.
class HttpReader {
 public:
  HttpReader(ByteStream& stream, HttpLimits limits) : stream_(&stream), limits_(limits) {}
  /// What it filled in is whole only if there is no error.
  awaitable<boost::system::error_code> read(HttpRequest& request);
  awaitable<boost::system::error_code> read(HttpAnswer& answer);
  /// What a request is answered with that read(HttpRequest&) could not read, just now: 400, 413, 414, 431. Absent: the
  /// connection ended or failed, and there is no caller to answer.
  std::optional<unsigned> status_of(const boost::system::error_code& error) const;

 private:
  ByteStream* const stream_;
  const HttpLimits limits_;
  std::string came_;
};

/// Why read failed: the message is larger than the limits.
bool is_too_large(const boost::system::error_code& error);
/// Why read or write failed: the connection ended before the message did.
bool is_cut_short(const boost::system::error_code& error);

struct HttpResponse {
  unsigned version = 11;  ///< the request's
  bool keep_alive = false;
  unsigned status = 200;
  std::string_view content_type, body;
};
std::string to_text(const HttpResponse& response);

}  // namespace crosslink::node
