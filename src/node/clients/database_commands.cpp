#include "node/clients/database_commands.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "crosslink/rocksdb_engine.hpp"
#include "node/hosting/hosted_database.hpp"
#include "node/hosting/sync_gate.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

/// Behind a run of them clients that read a key wait.
constexpr auto few_keys_slice_time = std::chrono::milliseconds(2);
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
    text += known ? fmt::format("db{}:keys={},expires=0,avg_ttl=0\r\n", one->hosted().index(), *known) : "";
  }
  reply.bulk(text);
}

}  // namespace

namespace {

/// The next command is one of few keys, or INFO.
void run_few(ClientDatabase& database, ReadRun& run, CommittedReader& reader) {
  const auto& [command, words] = run.commands[run.done];
  if (const auto* read = std::get_if<ReadCommand>(&command->run)) {
    (*read)(reader, words, run.reply);
  } else {
    info(database.hosted(), run, run.reply);
  }
}

/// Is the next command to be refused because the data may be too old?
bool refuse_stale(ReadRun& run) {
  const auto* const of_database = std::get_if<DatabaseCommand>(&run.commands[run.done].command->run);
  const bool may_be_stale = of_database != nullptr && *of_database == DatabaseCommand::info;
  const auto stale = run.why_stale && !may_be_stale ? run.why_stale() : std::string();
  if (!stale.empty()) run.reply.error(stale);
  return !stale.empty();
}

/// False: the slice is over before the command is.
bool run_next(ClientDatabase& database, ReadRun& run, async::SliceClock& clock) {
  auto& reply = run.reply;
  if (!run.long_read) {
    run.next_begin = reply.bytes().size();
    if (refuse_stale(run)) return true;
  }
  CommittedReader reader(*database.hosted().local());
  if (reads_many_keys(run.commands[run.done])) {
    if (!run.long_read) run.long_read = begin_long_read(database, run.commands[run.done]);
    if (!run.long_read->go_on(clock, reply)) return false;
    run.long_read.reset();
  } else {
    run_few(database, run, reader);
  }
  const bool overflowed = reply.take_overflow();
  if (const auto error = reader.take_error()) {
    reply.cut(run.next_begin);
    reply.error(*error);
  } else if (overflowed || reply.bytes().size() > reply_bytes_max) {
    reply.cut(run.next_begin);
    reply.error(fmt::format("ERR {}", overflowed ? std::string(answers_hold_too_much) : answers_too_large()));
  }
  return true;
}

}  // namespace

bool ReadRun::next_reads_many_keys() const { return !is_done() && reads_many_keys(commands[done]); }

void run_slice(ClientDatabase& database, ReadRun& run) {
  const bool many = run.next_reads_many_keys();
  async::SliceClock clock(many ? async::slice_time : few_keys_slice_time);
  while (!run.is_done() && run.next_reads_many_keys() == many) {
    const auto before = run.reply.bytes().size();
    if (!run_next(database, run, clock)) return;
    ++run.done;
    if (clock.is_over(run.reply.bytes().size() - std::min(before, run.reply.bytes().size()))) return;
  }
}

}  // namespace crosslink::node
