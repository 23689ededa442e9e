// Commands as a Redis client sends them: arrays of bulk strings, or a line of words ("inline").
// https://redis.io/docs/latest/develop/reference/protocol-spec/
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink::node {

struct RespLimits {
  std::size_t bulk_bytes_max = 64ull * 1024 * 1024;      ///< of one word
  std::size_t command_bytes_max = 128ull * 1024 * 1024;  ///< of all words of a command
  std::size_t words_max = 1024 * 1024;
  std::size_t line_bytes_max = 64 * 1024;  ///< of a line of words
};

/// The words of one command, the command's name first; never empty. They stand in the parser's buffer.
using Words = std::vector<std::string_view>;

/// Takes bytes, gives commands. What is not whole yet is looked at once, however small the pieces are.
class RespParser {
 public:
  explicit RespParser(RespLimits limits = {}) : limits_(limits) {}

  void set_limits(RespLimits limits) { limits_ = limits; }
  /// Where the next bytes from the client go: `bytes` of room at the end of what came before. Words given before are no
  /// longer valid.
  char* prepare(std::size_t bytes);
  /// So many of them came.
  void commit(std::size_t bytes) { filled_ += bytes; }
  /// The next whole command; absent: more bytes are needed. Its words hold until prepare(). Errors:
  /// Configuration (peer): no command, or over a limit, with what to tell the client; nothing can be read after it.
  Result<std::optional<Words>> next();
  /// How many bytes are worth asking for: what is missing of a word that is announced, within reason.
  std::size_t wanted_bytes() const;
  /// Bytes held: of what came, and of the places of its words.
  std::size_t held_bytes() const { return buffer_.capacity() + words_.capacity() * sizeof(Range); }

 private:
  struct Range {
    std::size_t begin, bytes;
  };
  Result<std::optional<std::string_view>> line();
  Result<std::optional<Words>> inline_command(std::string_view line);
  Result<bool> read_words();
  std::string_view filled() const { return std::string_view(buffer_).substr(0, filled_); }

  RespLimits limits_;
  std::string buffer_;
  std::size_t filled_ = 0;      ///< bytes that came
  std::size_t at_ = 0;          ///< what is before was read
  std::size_t taken_ = 0;       ///< what is before belongs to commands that were given
  std::size_t searched_ = 0;    ///< no end of a line stands before, at_ or later
  std::size_t words_left_ = 0;  ///< of the command being read
  std::size_t command_bytes_ = 0;
  std::optional<std::size_t> bulk_bytes_;  ///< of the word being read
  std::vector<Range> words_;
};

}  // namespace crosslink::node
