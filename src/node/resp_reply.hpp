// Replies in RESP2 or RESP3, one after another in one buffer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace crosslink::node {

enum class RespVersion : std::uint8_t { resp2 = 2, resp3 = 3 };

class RespReply {
 public:
  explicit RespReply(RespVersion version) : version_(version) {}
  RespVersion version() const { return version_; }

  /// Fixed text of ours, without line ends.
  void simple(std::string_view text);
  void ok() { simple("OK"); }
  /// `text` begins with its code ("ERR ..."); line ends in it become spaces.
  void error(std::string_view text);
  void integer(std::int64_t number);
  void bulk(std::string_view bytes);
  void null();
  void bulk_or_null(const std::optional<std::string>& bytes);
  /// What EXEC answers when it does nothing.
  void null_array();
  /// `count` replies follow.
  void array(std::size_t count);
  /// The `count` replies that were put from byte `begin` on become an array.
  void array_at(std::size_t begin, std::size_t count);
  /// `pairs` times two replies follow: in RESP2 an array.
  void map(std::size_t pairs);

  std::string& bytes() { return bytes_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void header(char kind, std::int64_t number);
  RespVersion version_;
  std::string bytes_;
};

}  // namespace crosslink::node
