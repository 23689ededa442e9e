#include "node/clients/client_session.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <utility>

#include "async/engine_call.hpp"
#include "async/with_timeout.hpp"
#include "node/clients/commit_queue.hpp"
#include "node/clients/connection_replies.hpp"
#include "node/hosting/applied_waiters.hpp"
#include "node/hosting/hosted_database.hpp"
#include "node/text.hpp"
#include "node/tuple_of.hpp"

namespace crosslink::node {
namespace {

constexpr std::size_t run_commands_max = 1024, out_bytes_soft_max = 1024 * 1024;
constexpr std::string_view hold_too_much = "-ERR the connections of this node hold too much: try again later\r\n";
/// While a command waits its client is not read from; this often it is checked whether the client is still there.
constexpr auto look_at_client_every = std::chrono::milliseconds(1000);
constexpr auto wait_max = std::chrono::hours(24 * 365);
constexpr std::int64_t max_lag_ms_max = 24ll * 60 * 60 * 1000;
/// Of a client that has not said its password.
constexpr RespLimits unauthenticated_limits{16 * 1024, 16 * 1024, 16, 16 * 1024};

/// What has a meaning of its own in MULTI, or is answered in its place by EXEC.
bool may_stand_in_transaction(ConnectionCommand command) {
  switch (command) {
    case ConnectionCommand::discard:
    case ConnectionCommand::echo:
    case ConnectionCommand::exec:
    case ConnectionCommand::multi:
    case ConnectionCommand::ping:
    case ConnectionCommand::quit:
    case ConnectionCommand::unwatch:
    case ConnectionCommand::watch: return true;
    case ConnectionCommand::auth:
    case ConnectionCommand::client:
    case ConnectionCommand::command:
    case ConnectionCommand::config:
    case ConnectionCommand::hello:
    case ConnectionCommand::max_lag:
    case ConnectionCommand::select:
    case ConnectionCommand::wait: return false;
  }
  return false;
}

bool is_read(const Command& command) {
  return std::holds_alternative<ReadCommand>(command.run) || std::holds_alternative<DatabaseCommand>(command.run);
}

const ConnectionCommand* connection_command(const Command& command) {
  return std::get_if<ConnectionCommand>(&command.run);
}

}  // namespace

ClientSession::ClientSession(std::shared_ptr<ClientShared> shared, boost::asio::ip::tcp::socket socket,
                             std::uint64_t id)
    : shared_(std::move(shared)),
      held_(&shared_->buffers),
      socket_(std::move(socket)),
      id_(id),
      parser_(shared_->password ? unauthenticated_limits : RespLimits()),
      chosen_(*shared_->databases),
      reads_{{}, fresh_reply(), [this] { return node_facts(); }, {}, 0, {}, 0},
      writes_(fresh_reply()) {
  ++shared_->connections;
  if (shared_->password) {
    shared_->unauthenticated.emplace(id_, std::chrono::steady_clock::now() + ClientShared::password_deadline);
  } else {
    authenticated_ = true;
  }
}

void ClientSession::hold_database() {
  if (!chosen_.hold()) transaction_.on_other_database();
}

ClientSession::~ClientSession() {
  end_transaction();
  --shared_->connections;
  shared_->unauthenticated.erase(id_);
}

void ClientSession::close() {
  closing_ = true;
  woken_.notify();
  boost::system::error_code ignored;  // it is closed already
  static_cast<void>(socket_.close(ignored));
}

// --- reading and answering

awaitable<void> ClientSession::run(std::shared_ptr<ClientSession> self) {
  while (!self->closing_) {
    const auto wanted = self->parser_.wanted_bytes();
    const auto room = boost::asio::buffer(self->parser_.prepare(wanted), wanted);
    if (!self->count_buffers()) {
      self->out_ += hold_too_much;
      const bool sent = co_await send(self);
      static_cast<void>(sent);  // the client is let go either way
      break;
    }
    const auto [error, bytes] = co_await self->socket_.async_read_some(room, tuple_of);
    if (error) break;
    self->parser_.commit(bytes);
    const bool goes_on = co_await serve_buffered(self);
    if (!goes_on) break;
  }
  self->close();
}

/// Everything whole that came. False: the connection ends.
awaitable<bool> ClientSession::serve_buffered(std::shared_ptr<ClientSession> self) {
  self->hold_database();
  const bool goes_on = co_await serve_whole_commands(self);
  self->chosen_.let_go();
  co_return goes_on;
}

awaitable<bool> ClientSession::serve_whole_commands(std::shared_ptr<ClientSession> self) {
  for (;;) {
    auto words = self->parser_.next();
    bool more = words && words->has_value();
    if (more) self->word_bytes_ += sizeof(PlacedCommand) + (*words)->capacity() * sizeof(std::string_view);
    const bool too_much = !self->count_buffers();
    if (too_much) more = false;
    if (more) {
      auto whole = std::move(**words);
      co_await take(self, std::move(whole));
      if (!self->closing_ && self->waiting() < run_commands_max && self->out_.size() < out_bytes_soft_max) continue;
    }
    co_await finish_runs(self);
    self->word_bytes_ = 0;
    if (too_much) {
      self->out_ += hold_too_much;
      self->closing_ = true;
    }
    if (!words) {
      self->out_ += fmt::format("-ERR {}\r\n", words.error().message());
      self->closing_ = true;
    }
    // A client that reads nothing keeps no database from being taken away.
    self->chosen_.let_go();
    const bool sent = co_await send(self);
    if (!sent || self->closing_) co_return false;
    if (!more) co_return true;
    self->hold_database();
  }
}

awaitable<bool> ClientSession::send(std::shared_ptr<ClientSession> self) {
  if (self->out_.empty()) co_return true;
  if (!self->count_buffers() && self->out_.size() > HeldBytes::uncounted_max) co_return false;
  const auto [error, bytes] =
      co_await boost::asio::async_write(self->socket_, boost::asio::buffer(self->out_), tuple_of);
  self->out_.clear();
  if (self->out_.capacity() > HeldBytes::uncounted_max) self->out_.shrink_to_fit();
  co_return !error;
}

/// What is held beyond a small amount counts for all connections together. False: it is too much.
bool ClientSession::count_buffers() {
  const auto held = parser_.held_bytes() + word_bytes_ + out_.capacity() + transaction_.held_bytes();
  if (held_.set(held)) return true;
  if (std::exchange(holds_too_much_, true)) return false;
  ++shared_->refused.buffers_bytes;
  shared_->too_much_log.happened({{"held_bytes", std::to_string(shared_->buffers.held())}});
  return false;
}

/// One command: answered at once, or put to the run of its kind. Runs of the other kind end before it.
awaitable<void> ClientSession::take(std::shared_ptr<ClientSession> self, Words words) {
  const auto* command = find_command(words.front());
  const auto refused = self->refusal(command, words);
  const auto* own = command == nullptr ? nullptr : connection_command(*command);
  const bool ends_transaction =
      own != nullptr &&
      (*own == ConnectionCommand::exec || *own == ConnectionCommand::discard || *own == ConnectionCommand::multi ||
       *own == ConnectionCommand::watch || *own == ConnectionCommand::quit);
  if (!refused.empty() || (self->transaction_.begun() && !ends_transaction)) {
    co_await finish_runs(self);
    auto reply = self->fresh_reply();
    if (!refused.empty()) {
      self->transaction_.spoil();
      reply.error(refused);
    } else {
      self->transaction_.keep(*command, words);
      reply.simple("QUEUED");
    }
    self->out_ += reply.bytes();
  } else if (is_read(*command)) {
    co_await finish_writes(self);
    self->reads_.commands.push_back({command, std::move(words)});
  } else if (command->writes()) {
    co_await finish_reads(self);
    self->writes_.commands.push_back({command, std::move(words)});
  } else {
    co_await finish_runs(self);
    if (*own == ConnectionCommand::exec) {
      co_await exec(self);
    } else if (*own == ConnectionCommand::wait) {
      co_await wait(self, std::move(words));
    } else {
      auto reply = self->fresh_reply();
      const bool tries_password =
          *own == ConnectionCommand::auth || (*own == ConnectionCommand::hello && words.size() > 2);
      const bool may = co_await may_go_on(self, tries_password);
      if (may) {
        self->answer(*own, words, reply);
      } else {
        reply.error("ERR too many wrong passwords came from this address: try again later");
      }
      self->out_ += reply.bytes();
    }
  }
}

std::string ClientSession::refusal(const Command* command, const Words& words) const {
  if (command == nullptr) {
    const auto name = escape(words.front(), 64);
    const auto why = why_left_out(words.front());
    return why.empty() ? fmt::format("ERR unknown command '{}'", name)
                       : fmt::format("ERR '{}' is not supported: {}", name, why);
  }
  if (auto wrong = check_words(*command, words); !wrong.empty()) return wrong;
  const auto* own = connection_command(*command);
  if (!authenticated_) {
    const bool may = own != nullptr && (*own == ConnectionCommand::auth || *own == ConnectionCommand::hello ||
                                        *own == ConnectionCommand::quit);
    if (!may) return "NOAUTH Authentication required.";
  }
  bool may_stand = own != nullptr && may_stand_in_transaction(*own);
  if (own == nullptr) {
    if (!chosen_.held()) return chosen_.why_none();
    auto& hosted = chosen_.held()->hosted();
    if (hosted.local() == nullptr)
      return fmt::format("ERR database '{}' is not kept here: read and write it where it is", hosted.name());
    if (command->writes() && !hosted.takes_writes()) return "READONLY You can't write against a read only replica.";
    may_stand = !std::holds_alternative<DatabaseCommand>(command->run);
  }
  if (transaction_.begun() && !may_stand) return fmt::format("ERR {} cannot stand in MULTI", command->name);
  return {};
}

awaitable<void> ClientSession::finish_reads(std::shared_ptr<ClientSession> self) {
  if (self->reads_.commands.empty()) co_return;
  self->reads_.reply = self->fresh_reply();
  self->reads_.why_stale = self->chosen_.why_stale();
  while (!self->reads_.is_done()) {
    const auto& executors = self->shared_->executors;
    auto work = [self] {
      run_slice(*self->chosen_.held(), self->reads_);
      return true;
    };
    auto calling =
        async::call_engine(self->reads_.next_reads_many_keys() ? executors.scans : executors.reads, std::move(work));
    co_await std::move(calling);
    // What takes longer than a slice ends with its client.
    if (!self->reads_.is_done() && (self->closing_ || self->client_left())) {
      self->closing_ = true;
      break;
    }
  }
  if (self->closing_) {
    self->reads_.reply = self->fresh_reply();
  } else {
    self->reads_.reply.move_to(self->out_);
  }
  self->reads_.clear();
}

awaitable<void> ClientSession::finish_writes(std::shared_ptr<ClientSession> self) {
  if (self->writes_.commands.empty()) co_return;
  self->writes_.reply = self->fresh_reply();
  self->writes_.transaction = false;
  self->writes_.watch = nullptr;
  co_await commit(self->chosen_.held()->commits(), self->writes_);
  self->note_write(self->writes_);
  self->writes_.reply.move_to(self->out_);
  self->writes_.commands.clear();
}

awaitable<void> ClientSession::finish_runs(std::shared_ptr<ClientSession> self) {
  co_await finish_reads(self);
  co_await finish_writes(self);
}

// --- transactions

awaitable<void> ClientSession::exec(std::shared_ptr<ClientSession> self) {
  auto reply = self->fresh_reply();
  const auto& database = self->chosen_.held();
  if (!self->transaction_.begun()) {
    reply.error("ERR EXEC without MULTI");
  } else if (self->transaction_.spoiled()) {
    reply.error("EXECABORT Transaction discarded because of previous errors.");
  } else if (!database || database->hosted().local() == nullptr) {
    reply.error("ERR the database of this transaction is no longer here");
  } else {
    WriteRun run(self->fresh_reply());
    run.why_stale = self->chosen_.why_stale();
    self->transaction_.fill(run);
    co_await commit(database->commits(), run);
    self->note_write(run);
    reply = std::move(run.reply);
  }
  self->end_transaction();
  reply.move_to(self->out_);
}

void ClientSession::watch(const Words& words, RespReply& reply) {
  if (transaction_.begun()) return reply.error("ERR WATCH inside MULTI is not allowed");
  const auto& database = chosen_.held();
  if (!database || database->hosted().local() == nullptr) return reply.error("ERR this database is not kept here");
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (!transaction_.watch(*database, words[i]))
      return reply.error(fmt::format("ERR more than {} keys are watched", ClientTransaction::watched_keys_max));
    if (!count_buffers()) {
      closing_ = true;
      return reply.error(fmt::format("ERR {}", answers_hold_too_much));
    }
  }
  reply.ok();
}

// --- mirrors

void ClientSession::note_write(const WriteRun& run) {
  if (run.lsn == Lsn{}) return;
  written_ = chosen_.held();
  written_at_ = {run.incarnation, run.lsn};
}

ClientDatabasePointer ClientSession::written_database() const {
  auto database = written_at_.lsn > Lsn{} ? written_.lock() : chosen_.last();
  if (database && database->hosted().retired()) return nullptr;
  return database;
}

/// Absent: none has, and none ever will. The database is gone, or its disk lost the write.
std::optional<std::int64_t> ClientSession::mirrors_that_applied() const {
  const auto database = written_database();
  if (!database) return std::nullopt;
  auto& hosted = database->hosted();
  const auto now = hosted.state();
  if (written_at_.lsn > Lsn{} && !core::is_in(now.history, now.head, written_at_)) return std::nullopt;
  const auto mirrors = hosted.source().mirrors();
  return static_cast<std::int64_t>(node::mirrors_that_applied(mirrors, now.history, now.head, written_at_));
}

bool ClientSession::client_left() {
  pollfd watched{socket_.native_handle(), POLLRDHUP, 0};
  return ::poll(&watched, 1, 0) != 0;
}

awaitable<void> ClientSession::wait(std::shared_ptr<ClientSession> self, Words words) {
  const auto wanted = parse_integer(words[1]);
  const auto timeout = parse_integer(words[2]);
  auto reply = self->fresh_reply();
  if (!wanted || !timeout) {
    reply.error("ERR value is not an integer or out of range");
  } else if (*timeout < 0) {
    reply.error("ERR timeout is negative");
  } else {
    const auto at_most = std::min<std::int64_t>(*timeout, std::chrono::milliseconds(wait_max).count());
    auto waiting = wait_for_mirrors(self, *wanted, std::chrono::milliseconds(at_most));
    co_await std::move(waiting);
    reply.integer(self->mirrors_that_applied().value_or(0));
  }
  self->out_ += reply.bytes();
}

/// Holds no database meanwhile: one that is taken away need not wait for clients that wait for its mirrors.
awaitable<void> ClientSession::wait_for_mirrors(std::shared_ptr<ClientSession> self, std::int64_t wanted,
                                                std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  auto database = self->written_database();
  if (!database) co_return;
  const auto registered =
      AppliedWaiters::add(database->hosted().applied_waiters(), self->written_at_.lsn, self->woken_);
  database.reset();
  self->chosen_.let_go();
  const bool sent = co_await send(self);  // what was answered before need not wait
  if (!sent) self->closing_ = true;
  const auto end = timeout.count() == 0 ? Clock::time_point::max() : Clock::now() + timeout;
  auto hear = [](async::Signal& signal, async::Signal::Heard& heard) -> Task<void> {
    const bool woken = co_await signal.wait(heard);
    if (!woken) co_return MirrorError::cancelled("waiting for mirrors");
    co_return Result<void>{};
  };
  async::Signal::Heard heard = 0;
  while (!self->closing_ && Clock::now() < end) {
    const auto applied = self->mirrors_that_applied();
    if (!applied || *applied >= wanted) break;
    auto pause = look_at_client_every;
    if (end - Clock::now() < pause) pause = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    auto hearing = hear(self->woken_, heard);
    auto late = MirrorError::timeout("no word of a mirror");
    const auto woken = co_await async::with_timeout(std::move(hearing), pause, std::move(late));
    const bool cancelled = !woken && woken.error().kind() == ErrorKind::Cancelled;
    if (cancelled || self->closing_ || self->client_left()) self->closing_ = true;
  }
  self->hold_database();
}

void ClientSession::max_lag(const Words& words, RespReply& reply) {
  if (equal_words(words[1], "OFF")) {
    chosen_.set_max_lag(std::nullopt);
    return reply.ok();
  }
  const auto wanted = parse_integer(words[1]);
  if (!wanted || *wanted < 0 || *wanted > max_lag_ms_max) {
    return reply.error(fmt::format("ERR the lag must be 1 to {} milliseconds, or 0 or OFF for none", max_lag_ms_max));
  }
  chosen_.set_max_lag(*wanted == 0 ? std::nullopt : std::optional(std::chrono::milliseconds(*wanted)));
  reply.ok();
}

// --- the connection itself

void ClientSession::select(const Words& words, RespReply& reply) {
  if (transaction_.begun() || transaction_.watches())
    return reply.error("ERR SELECT is not allowed while keys are watched");
  const auto refused = chosen_.choose(words[1]);
  refused ? reply.error(*refused) : reply.ok();
}

void ClientSession::client(const Words& words, RespReply& reply) {
  const auto is = [&words](std::string_view name, std::size_t count) {
    return equal_words(words[1], name) && words.size() == count;
  };
  if (is("ID", 2)) {
    reply.integer(static_cast<std::int64_t>(id_));
  } else if (is("GETNAME", 2)) {
    name_.empty() ? reply.null() : reply.bulk(name_);
  } else if (is("SETNAME", 3)) {
    if (!is_client_name(words[2])) return reply.error(client_name_error);
    name_ = words[2];
    reply.ok();
  } else if (is("SETINFO", 4)) {
    reply.ok();  // the client's library: not kept
  } else {
    reply.error(
        fmt::format("ERR unknown subcommand or wrong number of arguments for 'CLIENT {}'", escape(words[1], 64)));
  }
}

void ClientSession::answer(ConnectionCommand command, const Words& words, RespReply& reply) {
  switch (command) {
    case ConnectionCommand::auth: return auth(words, reply);
    case ConnectionCommand::client: return client(words, reply);
    case ConnectionCommand::command: return reply_command(reply, words);
    case ConnectionCommand::config:
      return reply_config(reply, words, {shared_->connections_max, shared_->databases->all().size()});
    case ConnectionCommand::echo: return reply.bulk(words[1]);
    case ConnectionCommand::hello: return hello(words, reply);
    case ConnectionCommand::max_lag: return max_lag(words, reply);
    case ConnectionCommand::ping: return reply_ping(reply, words);
    case ConnectionCommand::quit: closing_ = true; return reply.ok();
    case ConnectionCommand::select: return select(words, reply);
    case ConnectionCommand::multi:
      if (transaction_.begun()) return reply.error("ERR MULTI calls can not be nested");
      transaction_.begin();
      return reply.ok();
    case ConnectionCommand::discard:
      if (!transaction_.begun()) return reply.error("ERR DISCARD without MULTI");
      end_transaction();
      return reply.ok();
    case ConnectionCommand::watch: return watch(words, reply);
    case ConnectionCommand::unwatch: end_transaction(); return reply.ok();
    case ConnectionCommand::exec:
    case ConnectionCommand::wait: return;  // need to wait: see exec() and wait()
  }
}

NodeFacts ClientSession::node_facts() const {
  const auto uptime = std::chrono::steady_clock::now() - shared_->started;
  NodeFacts facts{shared_->connections, std::chrono::duration_cast<std::chrono::seconds>(uptime), {}};
  for (auto& database : shared_->databases->all()) {
    if (auto clients = client_database(std::move(database))) facts.databases.push_back(std::move(clients));
  }
  return facts;
}

}  // namespace crosslink::node
