#include "node/resp_reply.hpp"

#include <fmt/format.h>

#include <iterator>

namespace crosslink::node {

void RespReply::header(char kind, std::int64_t number) {
  fmt::format_to(std::back_inserter(bytes_), "{}{}\r\n", kind, number);
}

void RespReply::simple(std::string_view text) {
  bytes_ += '+';
  bytes_ += text;
  bytes_ += "\r\n";
}

void RespReply::error(std::string_view text) {
  bytes_ += '-';
  for (const char c : text)
    bytes_ += c == '\r' || c == '\n' ? ' ' : c;
  bytes_ += "\r\n";
}

void RespReply::integer(std::int64_t number) { header(':', number); }

void RespReply::bulk(std::string_view bytes) {
  header('$', static_cast<std::int64_t>(bytes.size()));
  bytes_ += bytes;
  bytes_ += "\r\n";
}

void RespReply::null() { bytes_ += version_ == RespVersion::resp3 ? "_\r\n" : "$-1\r\n"; }

void RespReply::bulk_or_null(const std::optional<std::string>& bytes) {
  if (bytes) return bulk(*bytes);
  null();
}

void RespReply::null_array() { bytes_ += version_ == RespVersion::resp3 ? "_\r\n" : "*-1\r\n"; }

void RespReply::array(std::size_t count) { header('*', static_cast<std::int64_t>(count)); }

void RespReply::map(std::size_t pairs) {
  if (version_ == RespVersion::resp3) return header('%', static_cast<std::int64_t>(pairs));
  array(2 * pairs);
}

}  // namespace crosslink::node
