#include "node/clients/command_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace crosslink::node {
namespace {

constexpr std::array<Command, 20> others{{{"AUTH", -2, 0, 0, 0, ConnectionCommand::auth},
                                          {"CLIENT", -2, 0, 0, 0, ConnectionCommand::client},
                                          {"COMMAND", -1, 0, 0, 0, ConnectionCommand::command},
                                          {"CONFIG", -2, 0, 0, 0, ConnectionCommand::config},
                                          {"CROSSLINK.MAXLAG", 2, 0, 0, 0, ConnectionCommand::max_lag},
                                          {"DBSIZE", 1, 0, 0, 0, DatabaseCommand::dbsize},
                                          {"DISCARD", 1, 0, 0, 0, ConnectionCommand::discard},
                                          {"ECHO", 2, 0, 0, 0, ConnectionCommand::echo},
                                          {"EXEC", 1, 0, 0, 0, ConnectionCommand::exec},
                                          {"HELLO", -1, 0, 0, 0, ConnectionCommand::hello},
                                          {"INFO", -1, 0, 0, 0, DatabaseCommand::info},
                                          {"KEYS", 2, 0, 0, 0, DatabaseCommand::keys},
                                          {"MULTI", 1, 0, 0, 0, ConnectionCommand::multi},
                                          {"PING", -1, 0, 0, 0, ConnectionCommand::ping},
                                          {"QUIT", -1, 0, 0, 0, ConnectionCommand::quit},
                                          {"SCAN", -2, 0, 0, 0, DatabaseCommand::scan},
                                          {"SELECT", 2, 0, 0, 0, ConnectionCommand::select},
                                          {"UNWATCH", 1, 0, 0, 0, ConnectionCommand::unwatch},
                                          {"WAIT", 3, 0, 0, 0, ConnectionCommand::wait},
                                          {"WATCH", -2, 1, -1, 1, ConnectionCommand::watch}}};

/// All, by name.
const std::vector<Command>& table() {
  static const std::vector<Command> all = [] {
    std::vector<Command> commands(others.begin(), others.end());
    for (const auto some : {string_read_commands(), string_write_commands()})
      commands.insert(commands.end(), some.begin(), some.end());
    std::ranges::sort(commands, {}, &Command::name);
    return commands;
  }();
  return all;
}

constexpr std::size_t name_bytes_max = 16;

}  // namespace

std::span<const Command> all_commands() { return table(); }

const Command* find_command(std::string_view name) {
  std::array<char, name_bytes_max> upper{};
  if (name.size() > upper.size()) return nullptr;
  std::ranges::transform(name, upper.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  const std::string_view wanted(upper.data(), name.size());
  const auto found = std::ranges::lower_bound(table(), wanted, {}, &Command::name);
  return found != table().end() && found->name == wanted ? &*found : nullptr;
}

std::string_view why_left_out(std::string_view name) {
  for (const auto expiry : {"EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "EXPIRETIME", "PEXPIRETIME", "SETEX",
                            "PSETEX", "GETEX", "PERSIST", "TTL", "PTTL"}) {
    if (equal_words(name, expiry)) return "keys do not expire here";
  }
  return {};
}

std::string answers_too_large() { return fmt::format("the answers are larger than {} bytes", reply_bytes_max); }

std::string check_words(const Command& command, const Words& words) {
  if (!command.takes(words.size())) {
    std::string lower(command.name);
    std::ranges::transform(lower, lower.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return fmt::format("ERR wrong number of arguments for '{}' command", lower);
  }
  if (command.first_key == 0) return {};
  const auto last = command.last_key < 0 ? words.size() - 1 : static_cast<std::size_t>(command.last_key);
  for (auto i = static_cast<std::size_t>(command.first_key); i <= last;
       i += static_cast<std::size_t>(command.key_step)) {
    if (words[i].size() > key_bytes_max) return fmt::format("ERR a key is longer than {} bytes", key_bytes_max);
  }
  return {};
}

}  // namespace crosslink::node
