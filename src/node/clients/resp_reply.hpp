// Replies in RESP2 or RESP3, one after another in one buffer, which counts against a budget while it grows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "crosslink/error.hpp"
#include "node/clients/held_bytes.hpp"

namespace crosslink::node {

enum class RespVersion : std::uint8_t { resp2 = 2, resp3 = 3 };

class RespReply {
 public:
  explicit RespReply(RespVersion version, ByteBudget* budget = nullptr) : version_(version), held_(budget) {}
  RespVersion version() const { return version_; }

  /// Fixed text of ours, without line ends.
  void simple(std::string_view text);
  void ok() { simple("OK"); }
  /// `text` begins with its code ("ERR ..."); line ends in it become spaces.
  void error(std::string_view text);
  /// "ERR" and what the error says.
  void error(const MirrorError& error);
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

  const std::string& bytes() const { return bytes_; }
  /// What was put after the first `bytes` is taken back.
  void cut(std::size_t bytes);
  /// A value or a key found no room in the budget since the last time that this was asked; it is not there.
  bool take_overflow() { return std::exchange(overflowed_, false); }
  bool overflowed() const { return overflowed_; }
  /// Replies of another, as they are.
  void append(std::string_view replies) { grow(replies); }
  void insert(std::size_t begin, std::string_view replies) { bytes_.insert(begin, replies); }
  /// Appends all to `out`, or swaps with it where that is empty, and holds nothing then.
  void move_to(std::string& out);

 private:
  void header(char kind, std::int64_t number);
  bool grow(std::string_view bytes);
  void put_line(std::string_view line);
  void release_room();
  RespVersion version_;
  std::string bytes_;
  HeldBytes held_;
  bool overflowed_ = false;
};

}  // namespace crosslink::node
