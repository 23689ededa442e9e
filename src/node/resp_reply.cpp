#include "node/resp_reply.hpp"

#include <array>
#include <charconv>
#include <limits>

namespace crosslink::node {

void RespReply::header(char kind, std::int64_t number) {
  std::array<char, std::numeric_limits<std::int64_t>::digits10 + 2> digits{};  // and a sign
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  bytes_ += kind;
  bytes_.append(digits.data(), end);
  bytes_ += "\r\n";
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

void RespReply::array_at(std::size_t begin, std::size_t count) {
  RespReply head(version_);
  head.array(count);
  bytes_.insert(begin, head.bytes_);
}

void RespReply::map(std::size_t pairs) {
  if (version_ == RespVersion::resp3) return header('%', static_cast<std::int64_t>(pairs));
  array(2 * pairs);
}

}  // namespace crosslink::node
