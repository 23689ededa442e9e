#include "node/clients/connection_replies.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "node/clients/command_table.hpp"
#include "node/clients/glob.hpp"

namespace crosslink::node {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return result;
}

void describe(RespReply& reply, const Command& command) {
  reply.array(6);
  reply.bulk(lower(command.name));
  reply.integer(command.arity);
  reply.array(1);
  const bool reads =
      std::holds_alternative<ReadCommand>(command.run) || std::holds_alternative<DatabaseCommand>(command.run);
  reply.simple(command.writes() ? "write" : reads ? "readonly" : "fast");
  reply.integer(command.first_key);
  reply.integer(command.last_key);
  reply.integer(command.key_step);
}

}  // namespace

bool answer_in_transaction(const Command& command, const Words& words, RespReply& reply) {
  const auto* own = std::get_if<ConnectionCommand>(&command.run);
  if (own == nullptr) return false;
  if (*own == ConnectionCommand::echo) {
    reply.bulk(words[1]);
  } else if (*own == ConnectionCommand::ping) {
    reply_ping(reply, words);
  } else if (*own == ConnectionCommand::unwatch) {
    reply.ok();  // EXEC ends every watch
  } else {
    return false;
  }
  return true;
}

void reply_ping(RespReply& reply, const Words& words) {
  if (words.size() > 2) return reply.error("ERR wrong number of arguments for 'ping' command");
  words.size() == 2 ? reply.bulk(words[1]) : reply.simple("PONG");
}

void reply_hello(RespReply& reply, std::uint64_t client_id, bool replica) {
  reply.map(7);
  reply.bulk("server");
  reply.bulk("crosslink");
  reply.bulk("version");
  reply.bulk("7.0.0");
  reply.bulk("proto");
  reply.integer(static_cast<std::int64_t>(reply.version()));
  reply.bulk("id");
  reply.integer(static_cast<std::int64_t>(client_id));
  reply.bulk("mode");
  reply.bulk("standalone");
  reply.bulk("role");
  reply.bulk(replica ? "replica" : "master");
  reply.bulk("modules");
  reply.array(0);
}

void reply_command(RespReply& reply, const Words& words) {
  const auto all = all_commands();
  if (words.size() == 1) {
    reply.array(all.size());
    for (const auto& command : all)
      describe(reply, command);
  } else if (equal_words(words[1], "COUNT") && words.size() == 2) {
    reply.integer(static_cast<std::int64_t>(all.size()));
  } else if (equal_words(words[1], "LIST") && words.size() == 2) {
    reply.array(all.size());
    for (const auto& command : all)
      reply.bulk(lower(command.name));
  } else if (equal_words(words[1], "INFO")) {
    reply.array(words.size() - 2);
    for (std::size_t i = 2; i < words.size(); ++i) {
      const auto* command = find_command(words[i]);
      command == nullptr ? reply.null_array() : describe(reply, *command);
    }
  } else if (equal_words(words[1], "DOCS")) {
    reply.map(0);  // none are kept: redis-cli then shows no hints
  } else {
    reply.error(
        fmt::format("ERR unknown subcommand or wrong number of arguments for 'COMMAND {}'", escape(words[1], 64)));
  }
}

void reply_config(RespReply& reply, const Words& words, const ShownConfig& config) {
  if (!equal_words(words[1], "GET") || words.size() < 3)
    return reply.error("ERR CONFIG has GET only: the config is a file, read again on SIGHUP");
  const std::array<std::pair<std::string_view, std::string>, 7> shown{
      {{"appendonly", "yes"},
       {"databases", fmt::format("{}", config.databases)},
       {"maxclients", fmt::format("{}", config.connections_max)},
       {"maxmemory", "0"},
       {"proto-max-bulk-len", fmt::format("{}", value_bytes_max)},
       {"save", ""},
       {"timeout", "0"}}};
  std::vector<const std::pair<std::string_view, std::string>*> found;
  for (const auto& one : shown) {
    const bool asked = std::any_of(words.begin() + 2, words.end(), [&one](std::string_view pattern) {
      return matches_glob(lower(pattern), one.first);
    });
    if (asked) found.push_back(&one);
  }
  reply.map(found.size());
  for (const auto* one : found) {
    reply.bulk(one->first);
    reply.bulk(one->second);
  }
}

bool is_client_name(std::string_view name) {
  return name.size() <= 256 && std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace crosslink::node
