#include "node/clients/resp_parser.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace crosslink::node {
namespace {

constexpr std::size_t read_bytes = 16 * 1024, number_line_bytes_max = 32;
/// Places for so many words stay for the next command.
constexpr std::size_t kept_words_max = 256;

MirrorError broken(std::string what) { return {ErrorKind::Configuration, CausedBy::peer, std::move(what)}; }

/// A number as the protocol writes lengths.
std::optional<std::int64_t> number_in(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return number;
}

/// A browser or a script that was led here: its lines must never be read as commands.
bool is_http(std::string_view line) {
  static constexpr std::array<std::string_view, 8> verbs{"POST",    "PUT",   "HEAD",    "DELETE",
                                                         "OPTIONS", "PATCH", "CONNECT", "TRACE"};
  const auto first = line.substr(0, line.find(' '));
  return std::ranges::find(verbs, first) != verbs.end() || first.ends_with(':') ||
         line.find(" HTTP/") != std::string_view::npos;
}

}  // namespace

char* RespParser::prepare(std::size_t bytes) {
  if (taken_ > 0) {
    const auto rest = filled_ - taken_;
    std::memmove(buffer_.data(), buffer_.data() + taken_, rest);
    for (auto& word : words_)
      word.begin -= taken_;
    at_ -= taken_;
    searched_ -= std::min(searched_, taken_);
    filled_ = rest;
    taken_ = 0;
    // A large command's room is not kept for the small ones after it.
    if (buffer_.capacity() > 16 * read_bytes && rest + bytes <= read_bytes) {
      buffer_.resize(rest);
      buffer_.shrink_to_fit();
    }
  }
  if (buffer_.size() < filled_ + bytes) buffer_.resize(filled_ + bytes);
  return buffer_.data() + filled_;
}

std::size_t RespParser::wanted_bytes() const {
  if (!bulk_bytes_) return read_bytes;
  // Not more than came already: an announced length alone takes no memory.
  const auto missing = at_ + *bulk_bytes_ + 2 - std::min(filled_, at_ + *bulk_bytes_ + 2);
  return std::clamp(missing, read_bytes, std::max(read_bytes, filled_));
}

/// The line at at_, without its end; at_ is behind it then.
Result<std::optional<std::string_view>> RespParser::line() {
  const auto from = std::max(at_, searched_);
  const auto end = filled().find('\n', from);
  if (end == std::string_view::npos) {
    searched_ = filled_;
    if (filled_ - at_ > limits_.line_bytes_max) return broken("Protocol error: too big inline request");
    return std::optional<std::string_view>{};
  }
  auto found = filled().substr(at_, end - at_);
  if (found.size() > limits_.line_bytes_max) return broken("Protocol error: too big inline request");
  at_ = end + 1;
  if (found.ends_with('\r')) found.remove_suffix(1);
  return std::optional(found);
}

Result<std::optional<Words>> RespParser::inline_command(std::string_view line) {
  if (is_http(line)) return broken("Protocol error: this port does not speak HTTP");
  Words words;
  while (!line.empty()) {
    const auto begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) break;
    const auto end = std::min(line.find_first_of(" \t", begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    line.remove_prefix(end);
  }
  taken_ = at_;
  return std::optional(std::move(words));
}

/// True when all words of the command are there.
Result<bool> RespParser::read_words() {
  while (words_left_ > 0) {
    if (!bulk_bytes_) {
      auto header = line();
      if (!header) return header.error();
      if (!*header) {
        if (filled_ - at_ > number_line_bytes_max) return broken("Protocol error: invalid bulk length");
        return false;
      }
      if (!(*header)->starts_with('$'))
        return broken(fmt::format("Protocol error: expected '$', got '{}'", escape((*header)->substr(0, 1))));
      const auto bytes = number_in((*header)->substr(1));
      if (!bytes || *bytes < 0 || static_cast<std::uint64_t>(*bytes) > limits_.bulk_bytes_max)
        return broken("Protocol error: invalid bulk length");
      command_bytes_ += static_cast<std::size_t>(*bytes);
      if (command_bytes_ > limits_.command_bytes_max) return broken("Protocol error: too big command");
      bulk_bytes_ = static_cast<std::size_t>(*bytes);
    }
    if (filled_ - at_ < *bulk_bytes_ + 2) return false;
    if (filled().substr(at_ + *bulk_bytes_, 2) != "\r\n")
      return broken("Protocol error: a word does not end as announced");
    words_.push_back({at_, *bulk_bytes_});
    at_ += *bulk_bytes_ + 2;
    bulk_bytes_.reset();
    --words_left_;
  }
  return true;
}

Result<std::optional<Words>> RespParser::next() {
  for (;;) {
    if (words_left_ == 0) {
      auto header = line();
      if (!header) return header.error();
      if (!*header) return std::optional<Words>{};
      const auto text = **header;
      if (!text.starts_with('*')) {
        auto words = inline_command(text);
        if (words && (*words)->empty()) continue;
        return words;
      }
      const auto count = number_in(text.substr(1));
      if (!count || *count > static_cast<std::int64_t>(limits_.words_max))
        return broken("Protocol error: invalid multibulk length");
      if (*count <= 0) {
        taken_ = at_;
        continue;
      }
      words_left_ = static_cast<std::size_t>(*count);
      command_bytes_ = 0;
      words_.clear();
    }
    const auto whole = read_words();
    if (!whole) return whole.error();
    if (!*whole) return std::optional<Words>{};
    Words words;
    words.reserve(words_.size());
    for (const auto& word : words_)
      words.push_back(filled().substr(word.begin, word.bytes));
    words_.clear();
    if (words_.capacity() > kept_words_max) words_.shrink_to_fit();
    taken_ = at_;
    return std::optional(std::move(words));
  }
}

}  // namespace crosslink::node
