// Answers about the node that every connection gets alike.
#pragma once

#include <cstdint>
#include <string_view>

#include "node/clients/command_table.hpp"
#include "node/clients/resp_parser.hpp"
#include "node/clients/resp_reply.hpp"

namespace crosslink::node {

/// What stands in MULTI although it is about the connection: ECHO, PING, UNWATCH. False: `command` is none of them.
bool answer_in_transaction(const Command& command, const Words& words, RespReply& reply);
void reply_ping(RespReply& reply, const Words& words);
/// `replica`: the database that is chosen takes no writes.
void reply_hello(RespReply& reply, std::uint64_t client_id, bool replica);
/// COMMAND, COMMAND COUNT, COMMAND INFO, COMMAND DOCS, COMMAND LIST.
void reply_command(RespReply& reply, const Words& words);
struct ShownConfig {
  std::uint32_t connections_max = 0;
  std::size_t databases = 0;
};
/// CONFIG GET.
void reply_config(RespReply& reply, const Words& words, const ShownConfig& config);

/// Printable, no spaces, at most 256 bytes.
bool is_client_name(std::string_view name);
inline constexpr std::string_view client_name_error =
    "ERR Client names cannot contain spaces, newlines or special characters.";

}  // namespace crosslink::node
