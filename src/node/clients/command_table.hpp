// Every command of the client port: what it is called, how many words it takes, which of them are keys, who runs it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "node/clients/pending_writes.hpp"
#include "node/clients/resp_parser.hpp"
#include "node/clients/resp_reply.hpp"

namespace crosslink::node {

inline constexpr std::size_t key_bytes_max = 32 * 1024;               ///< verify tells longer ones apart by no name
inline constexpr std::size_t value_bytes_max = 64ull * 1024 * 1024;   ///< as a word of a command
inline constexpr std::size_t reply_bytes_max = 256ull * 1024 * 1024;  ///< of one command

inline constexpr std::string_view answers_hold_too_much =
    "the connections of this node hold too much: try again later, or ask for less at once";
std::string answers_too_large();

/// Looks at keys only; may run while other commands do.
using ReadCommand = void (*)(KeyReader& keys, const Words& words, RespReply& reply);
/// Run by the committing thread, one at a time. Reads all it needs before it writes.
using WriteCommand = void (*)(PendingWrites& pending, const Words& words, RespReply& reply);
/// About the connection, answered where the bytes came in.
enum class ConnectionCommand : std::uint8_t {
  auth,
  client,
  command,
  config,
  discard,
  echo,
  exec,
  hello,
  max_lag,
  multi,
  ping,
  quit,
  select,
  unwatch,
  wait,
  watch,
};
/// About the database as a whole.
enum class DatabaseCommand : std::uint8_t { dbsize, info, keys, scan };

struct Command {
  std::string_view name;              ///< upper case
  int arity;                          ///< number of words, the name counted; negative: at least so many
  int first_key, last_key, key_step;  ///< as COMMAND tells them; first 0: none
  std::variant<ReadCommand, WriteCommand, ConnectionCommand, DatabaseCommand> run;
  bool grows_values = false;  ///< what it writes can be larger than its words

  bool writes() const { return std::holds_alternative<WriteCommand>(run); }
  bool takes(std::size_t words) const {
    return arity >= 0 ? words == static_cast<std::size_t>(arity) : words >= static_cast<std::size_t>(-arity);
  }
};

/// By name, in any case; null: there is none.
const Command* find_command(std::string_view name);
std::span<const Command> all_commands();
/// Redis commands that are left out on purpose, and why; empty: none such.
std::string_view why_left_out(std::string_view name);
/// What is wrong with the words, as an error reply's text; empty: nothing.
std::string check_words(const Command& command, const Words& words);

bool equal_words(std::string_view one, std::string_view other);  ///< without regard to case
/// As Redis reads integers: no sign but minus, no leading zeros.
std::optional<std::int64_t> parse_integer(std::string_view text);

std::span<const Command> string_read_commands();
std::span<const Command> string_write_commands();

}  // namespace crosslink::node
