// The commands on strings. What they answer is Redis's, word for word where clients compare it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "node/clients/command_table.hpp"

namespace crosslink::node {
namespace {

constexpr std::string_view not_an_integer = "ERR value is not an integer or out of range";
constexpr std::string_view too_long = "ERR string exceeds maximum allowed size (64 MiB)";
constexpr std::string_view syntax_error = "ERR syntax error";

// --- reading -------------------------------------------------------------------------------------------------------

void get(KeyReader& keys, const Words& words, RespReply& reply) { reply.bulk_or_null(keys.get(words[1])); }

void mget(KeyReader& keys, const Words& words, RespReply& reply) {
  reply.array(words.size() - 1);
  const auto begin = reply.bytes().size();
  for (std::size_t i = 1; i < words.size(); ++i) {
    reply.bulk_or_null(keys.get(words[i]));
    if (keys.failed() || reply.bytes().size() - begin > reply_bytes_max) return;
  }
}

void exists(KeyReader& keys, const Words& words, RespReply& reply) {
  std::int64_t found = 0;
  for (std::size_t i = 1; i < words.size(); ++i)
    found += keys.get(words[i]).has_value() ? 1 : 0;
  reply.integer(found);
}

void strlen(KeyReader& keys, const Words& words, RespReply& reply) {
  reply.integer(static_cast<std::int64_t>(keys.get(words[1]).value_or(std::string()).size()));
}

void type(KeyReader& keys, const Words& words, RespReply& reply) {
  reply.simple(keys.get(words[1]) ? "string" : "none");
}

void getrange(KeyReader& keys, const Words& words, RespReply& reply) {
  auto first = parse_integer(words[2]);
  auto last = parse_integer(words[3]);
  if (!first || !last) return reply.error(not_an_integer);
  const auto value = keys.get(words[1]).value_or(std::string());
  const auto size = static_cast<std::int64_t>(value.size());
  const auto from_end = [size](std::int64_t at) { return at < 0 ? std::max<std::int64_t>(size + at, 0) : at; };
  if (*first < 0 && *last < 0 && *first > *last) return reply.bulk("");
  const auto begin = from_end(*first);
  const auto end = std::min(from_end(*last), size - 1);
  if (size == 0 || begin > end) return reply.bulk("");
  reply.bulk(
      std::string_view(value).substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin + 1)));
}

// --- writing -------------------------------------------------------------------------------------------------------

struct SetOptions {
  bool only_new = false, only_existing = false, get = false;
  std::string error;
};

SetOptions set_options(const Words& words) {
  SetOptions options;
  for (std::size_t i = 3; i < words.size(); ++i) {
    const auto word = words[i];
    const auto is = [word](std::string_view name) { return equal_words(word, name); };
    if (is("NX") && !options.only_existing) {
      options.only_new = true;
    } else if (is("XX") && !options.only_new) {
      options.only_existing = true;
    } else if (is("GET")) {
      options.get = true;
    } else if (is("EX") || is("PX") || is("EXAT") || is("PXAT") || is("KEEPTTL")) {
      options.error = fmt::format("ERR keys do not expire here: option {} is not supported", word);
      return options;
    } else {
      options.error = syntax_error;
      return options;
    }
  }
  return options;
}

void set(PendingWrites& pending, const Words& words, RespReply& reply) {
  const auto options = set_options(words);
  if (!options.error.empty()) return reply.error(options.error);
  std::optional<std::string> old;
  bool write = true;
  if (options.get || options.only_new || options.only_existing) {
    old = pending.get(words[1]);
    if (pending.failed()) return;
    write = (!options.only_new || !old) && (!options.only_existing || old);
  }
  if (write) pending.put(words[1], words[2]);
  if (options.get) return reply.bulk_or_null(old);
  if (write) return reply.ok();
  reply.null();
}

void setnx(PendingWrites& pending, const Words& words, RespReply& reply) {
  const bool is_new = !pending.get(words[1]);
  if (pending.failed()) return;
  if (is_new) pending.put(words[1], words[2]);
  reply.integer(is_new ? 1 : 0);
}

void getdel(PendingWrites& pending, const Words& words, RespReply& reply) {
  const auto old = pending.get(words[1]);
  if (old) pending.erase(words[1]);
  reply.bulk_or_null(old);
}

void getset(PendingWrites& pending, const Words& words, RespReply& reply) {
  const auto old = pending.get(words[1]);
  if (pending.failed()) return;
  pending.put(words[1], words[2]);
  reply.bulk_or_null(old);
}

void put_pairs(PendingWrites& pending, const Words& words) {
  for (std::size_t i = 1; i < words.size(); i += 2)
    pending.put(words[i], words[i + 1]);
}

void mset(PendingWrites& pending, const Words& words, RespReply& reply) {
  if (words.size() % 2 == 0) return reply.error("ERR wrong number of arguments for 'mset' command");
  put_pairs(pending, words);
  reply.ok();
}

void msetnx(PendingWrites& pending, const Words& words, RespReply& reply) {
  if (words.size() % 2 == 0) return reply.error("ERR wrong number of arguments for 'msetnx' command");
  for (std::size_t i = 1; i < words.size(); i += 2) {
    if (pending.get(words[i])) return reply.integer(0);
    if (pending.failed()) return;
  }
  put_pairs(pending, words);
  reply.integer(1);
}

void del(PendingWrites& pending, const Words& words, RespReply& reply) {
  std::vector<bool> there;
  there.reserve(words.size());
  for (std::size_t i = 1; i < words.size(); ++i) {
    there.push_back(pending.get(words[i]).has_value());
    if (pending.failed()) return;
  }
  std::int64_t erased = 0;
  for (std::size_t i = 1; i < words.size(); ++i) {
    // A key may be named twice: it is erased once.
    if (!there[i - 1] || !pending.get(words[i])) continue;
    pending.erase(words[i]);
    ++erased;
  }
  reply.integer(erased);
}

/// `change` gets the value, empty where there is none, and says whether it changed it. A value that is changed again
/// and again before it is committed is changed where it is: a copy for each time would take minutes of a large one.
template <class Change>
void change_value(PendingWrites& pending, std::string_view key, Change&& change) {
  if (auto* const kept = pending.text(key)) {
    if (change(*kept)) pending.note_changed(key);
    return;
  }
  auto value = pending.get(key).value_or(std::string());
  if (!pending.failed() && change(value)) pending.put_text(key, std::move(value));
}

void append(PendingWrites& pending, const Words& words, RespReply& reply) {
  change_value(pending, words[1], [&](std::string& value) {
    if (value.size() + words[2].size() > value_bytes_max) {
      reply.error(too_long);
      return false;
    }
    value += words[2];
    reply.integer(static_cast<std::int64_t>(value.size()));
    return true;
  });
}

void setrange(PendingWrites& pending, const Words& words, RespReply& reply) {
  const auto offset = parse_integer(words[2]);
  if (!offset) return reply.error(not_an_integer);
  if (*offset < 0) return reply.error("ERR offset is out of range");
  const auto at = static_cast<std::uint64_t>(*offset);
  change_value(pending, words[1], [&](std::string& value) {
    if (words[3].empty()) {
      reply.integer(static_cast<std::int64_t>(value.size()));
      return false;
    }
    if (at > value_bytes_max || at + words[3].size() > value_bytes_max) {
      reply.error(too_long);
      return false;
    }
    if (value.size() < at + words[3].size()) value.resize(static_cast<std::size_t>(at) + words[3].size(), '\0');
    value.replace(static_cast<std::size_t>(at), words[3].size(), words[3]);
    reply.integer(static_cast<std::int64_t>(value.size()));
    return true;
  });
}

void add(PendingWrites& pending, std::string_view key, std::int64_t amount, RespReply& reply) {
  const auto old = pending.get(key);
  if (pending.failed()) return;
  const auto number = old ? parse_integer(*old) : std::optional<std::int64_t>(0);
  if (!number) return reply.error(not_an_integer);
  std::int64_t sum = 0;
  if (__builtin_add_overflow(*number, amount, &sum)) return reply.error("ERR increment or decrement would overflow");
  pending.put_text(key, fmt::format("{}", sum));
  reply.integer(sum);
}

void incr(PendingWrites& pending, const Words& words, RespReply& reply) { add(pending, words[1], 1, reply); }
void decr(PendingWrites& pending, const Words& words, RespReply& reply) { add(pending, words[1], -1, reply); }

void incrby(PendingWrites& pending, const Words& words, RespReply& reply) {
  const auto amount = parse_integer(words[2]);
  if (!amount) return reply.error(not_an_integer);
  add(pending, words[1], *amount, reply);
}

void decrby(PendingWrites& pending, const Words& words, RespReply& reply) {
  const auto amount = parse_integer(words[2]);
  if (!amount) return reply.error(not_an_integer);
  if (*amount == std::numeric_limits<std::int64_t>::min()) return reply.error("ERR decrement would overflow");
  add(pending, words[1], -*amount, reply);
}

void flushdb(PendingWrites& pending, const Words& words, RespReply& reply) {
  if (words.size() > 2 || (words.size() == 2 && !equal_words(words[1], "SYNC") && !equal_words(words[1], "ASYNC")))
    return reply.error(syntax_error);
  pending.clear();
  reply.ok();
}

constexpr std::array<Command, 6> reads{{{"EXISTS", -2, 1, -1, 1, &exists},
                                        {"GET", 2, 1, 1, 1, &get},
                                        {"GETRANGE", 4, 1, 1, 1, &getrange},
                                        {"MGET", -2, 1, -1, 1, &mget},
                                        {"STRLEN", 2, 1, 1, 1, &strlen},
                                        {"TYPE", 2, 1, 1, 1, &type}}};
constexpr std::array<Command, 15> writes{{{"APPEND", 3, 1, 1, 1, &append, true},
                                          {"DECR", 2, 1, 1, 1, &decr},
                                          {"DECRBY", 3, 1, 1, 1, &decrby},
                                          {"DEL", -2, 1, -1, 1, &del},
                                          {"FLUSHDB", -1, 0, 0, 0, &flushdb},
                                          {"GETDEL", 2, 1, 1, 1, &getdel},
                                          {"GETSET", 3, 1, 1, 1, &getset},
                                          {"INCR", 2, 1, 1, 1, &incr},
                                          {"INCRBY", 3, 1, 1, 1, &incrby},
                                          {"MSET", -3, 1, -1, 2, &mset},
                                          {"MSETNX", -3, 1, -1, 2, &msetnx},
                                          {"SET", -3, 1, 1, 1, &set},
                                          {"SETNX", 3, 1, 1, 1, &setnx},
                                          {"SETRANGE", 4, 1, 1, 1, &setrange, true},
                                          {"UNLINK", -2, 1, -1, 1, &del}}};

}  // namespace

std::span<const Command> string_read_commands() { return reads; }
std::span<const Command> string_write_commands() { return writes; }

bool equal_words(std::string_view one, std::string_view other) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(one, other, {}, lower, lower);
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  // One spelling for each number: no leading zeros, no minus before zero.
  const auto digits = text.substr(text.front() == '-' ? 1 : 0);
  if (digits.front() == '0' && text.size() > 1) return std::nullopt;
  return number;
}

}  // namespace crosslink::node
