#include "node/database_commands.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "crosslink/rocksdb_engine.hpp"
#include "node/glob.hpp"
#include "node/hosted_database.hpp"
#include "node/sync_gate.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

constexpr std::size_t scan_count_default = 10, scan_count_max = 100'000;
/// No more keys go into an answer that is larger: the rest comes with the next cursor.
constexpr std::size_t scan_bytes_soft_max = 1024 * 1024;
/// Redis's own version that the commands are like; some clients want to see one.
constexpr std::string_view redis_version = "7.0.0";

class CommittedReader final : public KeyReader {
 public:
  explicit CommittedReader(const RocksdbDatabase& database) : database_(&database) {}

 protected:
  Result<std::optional<std::string>> read(std::string_view key) override { return database_->get(key); }

 private:
  const RocksdbDatabase* const database_;
};

void storage_error(RespReply& reply, const MirrorError& error) { reply.error(fmt::format("ERR {}", error.message())); }

void dbsize(HostedDatabase& database, RespReply& reply) {
  const auto count = database.count_keys();
  if (!count) return storage_error(reply, count.error());
  reply.integer(static_cast<std::int64_t>(*count));
}

void keys(HostedDatabase& database, const Words& words, RespReply& reply) {
  const auto view = database.local()->view();
  if (!view) return storage_error(reply, view.error());
  RespReply found(reply.version());
  std::size_t count = 0;
  const auto scanned = (*view)->scan("", std::nullopt, [&](const KeyValue& pair) {
    if (!matches_glob(words[1], pair.key)) return true;
    found.bulk(pair.key);
    ++count;
    return found.bytes().size() <= reply_bytes_max;
  });
  if (!scanned) return storage_error(reply, scanned.error());
  reply.array(count);
  reply.bytes() += found.bytes();
}

struct ScanOptions {
  std::optional<std::string_view> match;
  std::size_t count = scan_count_default;
  bool strings = true;  ///< TYPE asks for the only type there is
  std::string_view error;
};

ScanOptions scan_options(const Words& words) {
  ScanOptions options;
  for (std::size_t i = 2; i < words.size(); i += 2) {
    const bool has_value = i + 1 < words.size();
    if (has_value && equal_words(words[i], "MATCH")) {
      options.match = words[i + 1];
    } else if (has_value && equal_words(words[i], "TYPE")) {
      options.strings = equal_words(words[i + 1], "string");
    } else if (has_value && equal_words(words[i], "COUNT")) {
      const auto count = parse_integer(words[i + 1]);
      if (!count) {
        options.error = "ERR value is not an integer or out of range";
      } else if (*count < 1) {
        options.error = "ERR syntax error";
      } else {
        options.count = static_cast<std::size_t>(std::min<std::int64_t>(*count, scan_count_max));
      }
    } else {
      options.error = "ERR syntax error";
    }
    if (!options.error.empty()) break;
  }
  return options;
}

/// Each call sees the database as it is then: a key that stays from the first call to the last is answered once.
void scan(HostedDatabase& database, const Words& words, RespReply& reply) {
  std::uint64_t cursor = 0;
  const auto word = words[1];
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), cursor);
  if (error != std::errc() || end != word.data() + word.size()) return reply.error("ERR invalid cursor");
  const auto options = scan_options(words);
  if (!options.error.empty()) return reply.error(options.error);
  std::string from;
  if (cursor != 0) {
    auto place = database.cursors().find(cursor);
    if (!place) return reply.error("ERR this cursor is no longer known: begin again with 0");
    from = *std::move(place);
  }
  const auto view = database.local()->view();
  if (!view) return storage_error(reply, view.error());
  RespReply found(reply.version());
  std::size_t count = 0;
  std::size_t seen = 0;
  std::optional<std::string> next;
  const auto scanned = (*view)->scan(from, std::nullopt, [&](const KeyValue& pair) {
    if (seen == options.count || found.bytes().size() > scan_bytes_soft_max) {
      next = std::string(pair.key);
      return false;
    }
    ++seen;
    if (!options.strings || (options.match && !matches_glob(*options.match, pair.key))) return true;
    found.bulk(pair.key);
    ++count;
    return true;
  });
  if (!scanned) return storage_error(reply, scanned.error());
  reply.array(2);
  reply.bulk(fmt::format("{}", next ? database.cursors().add(*std::move(next)) : 0));
  reply.array(count);
  reply.bytes() += found.bytes();
}

void info(HostedDatabase& database, const ReadRun& run, RespReply& reply) {
  const auto node = run.node();
  const auto state = database.state();
  auto text = fmt::format(
      "# "
      "Server\r\nredis_version:{}\r\nredis_mode:standalone\r\nserver_name:crosslink\r\nprocess_id:{}\r\nuptime_in_"
      "seconds:"
      "{}\r\n\r\n# Clients\r\nconnected_clients:{}\r\n\r\n",
      redis_version, ::getpid(), node.uptime.count(), node.clients);
  text += fmt::format(
      "# Replication\r\nrole:{}\r\ndatabase:{}\r\ncrosslink_role:{}\r\nconnected_slaves:{}\r\nhead_lsn:{}\r\n\r\n",
      database.takes_writes() ? "master" : "slave", database.name(), to_string(state.role),
      database.source().sessions(), state.head.value);
  if (const auto sync = database.sync_facts()) {
    text += fmt::format(
        "# Sync mode\r\nsync_mirrors:{}\r\nsync_suspended:{}\r\nsync_waiting:{}\r\nsync_unconfirmed:{}\r\n"
        "sync_async:{}\r\n\r\n",
        joined(database.config().sync_mirrors, ","), sync->suspended ? 1 : 0, sync->waiting, sync->unconfirmed,
        sync->async);
  }
  text += "# Keyspace\r\n";
  for (const auto& one : node.databases) {
    // Counting may take long; DBSIZE does.
    const auto known = one->known_count();
    text += known ? fmt::format("db{}:keys={},expires=0,avg_ttl=0\r\n", one->index(), *known) : "";
  }
  reply.bulk(text);
}

}  // namespace

void run_reads(HostedDatabase& database, ReadRun& run) {
  CommittedReader reader(*database.local());
  auto& reply = run.reply;
  for (const auto& [command, words] : run.commands) {
    const auto begin = reply.bytes().size();
    const auto* const whole_database = std::get_if<DatabaseCommand>(&command->run);
    const bool may_be_stale = whole_database != nullptr && *whole_database == DatabaseCommand::info;
    if (const auto stale = run.why_stale && !may_be_stale ? run.why_stale() : std::string(); !stale.empty()) {
      reply.error(stale);
      continue;
    }
    if (const auto* read = std::get_if<ReadCommand>(&command->run)) {
      (*read)(reader, words, reply);
    } else if (whole_database != nullptr) {
      switch (*whole_database) {
        case DatabaseCommand::dbsize: dbsize(database, reply); break;
        case DatabaseCommand::info: info(database, run, reply); break;
        case DatabaseCommand::keys: keys(database, words, reply); break;
        case DatabaseCommand::scan: scan(database, words, reply); break;
      }
    }
    if (const auto error = reader.take_error()) {
      reply.bytes().resize(begin);
      storage_error(reply, *error);
    } else if (reply.bytes().size() > reply_bytes_max) {
      reply.bytes().resize(begin);
      reply.error(fmt::format("ERR the answers are larger than {} bytes", reply_bytes_max));
    }
  }
}

}  // namespace crosslink::node
