#include "node/clients/resp_reply.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace crosslink::node {

void RespReply::header(char kind, std::int64_t number) {
  std::array<char, 1 + std::numeric_limits<std::int64_t>::digits10 + 2 + 2> digits{};  // a sign, and the line's end
  digits.front() = kind;
  const auto [end, error] = std::to_chars(digits.data() + 1, digits.data() + digits.size() - 2, number);
  *end = '\r';
  *(end + 1) = '\n';
  grow(std::string_view(digits.data(), end + 2));
}

/// Always finds room, and takes no more than it needs.
void RespReply::put_line(std::string_view line) {
  const bool overflowed = overflowed_;
  if (grow(line)) return;
  overflowed_ = overflowed;
  bytes_.reserve(bytes_.size() + line.size());
  bytes_ += line;
}

void RespReply::simple(std::string_view text) {
  std::string line = "+";
  line += text;
  put_line(line += "\r\n");
}

void RespReply::error(std::string_view text) {
  std::string line = "-";
  line += text;
  std::ranges::replace_if(line, [](char c) { return c == '\r' || c == '\n'; }, ' ');
  put_line(line += "\r\n");
}

void RespReply::error(const MirrorError& error) { this->error(fmt::format("ERR {}", error.message())); }

void RespReply::integer(std::int64_t number) { header(':', number); }

/// Room is counted before it is there. Only what comes from keys and values can be large.
bool RespReply::grow(std::string_view bytes) {
  const auto wanted = bytes_.size() + bytes.size();
  if (wanted > bytes_.capacity()) {
    auto room = std::max(wanted, bytes_.capacity() + bytes_.capacity() / 2);
    if (!held_.set(room)) room = wanted;
    if (!held_.set(room)) {
      overflowed_ = true;
      return false;
    }
    bytes_.reserve(room);
  }
  bytes_ += bytes;
  return true;
}

void RespReply::bulk(std::string_view bytes) {
  header('$', static_cast<std::int64_t>(bytes.size()));
  if (grow(bytes)) grow("\r\n");
}

void RespReply::cut(std::size_t bytes) {
  bytes_.resize(bytes);
  if (bytes_.capacity() > HeldBytes::uncounted_max + 2 * bytes) release_room();
}

void RespReply::release_room() {
  bytes_.shrink_to_fit();
  static_cast<void>(held_.set(bytes_.capacity()));
}

void RespReply::move_to(std::string& out) {
  if (out.empty()) {
    std::swap(out, bytes_);
  } else {
    out += bytes_;
  }
  bytes_.clear();
  if (bytes_.capacity() > HeldBytes::uncounted_max) return release_room();
  static_cast<void>(held_.set(bytes_.capacity()));
}

void RespReply::null() { put_line(version_ == RespVersion::resp3 ? "_\r\n" : "$-1\r\n"); }

void RespReply::bulk_or_null(const std::optional<std::string>& bytes) {
  if (bytes) return bulk(*bytes);
  null();
}

void RespReply::null_array() { put_line(version_ == RespVersion::resp3 ? "_\r\n" : "*-1\r\n"); }

void RespReply::array(std::size_t count) { header('*', static_cast<std::int64_t>(count)); }

void RespReply::array_at(std::size_t begin, std::size_t count) {
  RespReply head(version_);
  head.array(count);
  insert(begin, head.bytes_);
}

void RespReply::map(std::size_t pairs) {
  if (version_ == RespVersion::resp3) return header('%', static_cast<std::int64_t>(pairs));
  array(2 * pairs);
}

}  // namespace crosslink::node
