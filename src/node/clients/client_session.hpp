// One client's connection.
#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "async/signal.hpp"
#include "crosslink/awaitable.hpp"
#include "node/client_facts.hpp"
#include "node/clients/chosen_database.hpp"
#include "node/clients/client_database.hpp"
#include "node/clients/client_transaction.hpp"
#include "node/clients/database_commands.hpp"
#include "node/clients/held_bytes.hpp"
#include "node/clients/password_door.hpp"
#include "node/clients/resp_parser.hpp"
#include "node/engine_threads.hpp"
#include "node/rare_log.hpp"
#include "session/sync_rule.hpp"

namespace crosslink::node {

/// What all connections share. But for what is atomic, on the thread of the connections.
struct ClientShared {
  /// A connection that has yet to say the password is closed after this.
  static constexpr std::chrono::seconds password_deadline{10};
  explicit ClientShared(std::uint64_t buffers_bytes_max) : buffers(buffers_bytes_max) {}
  std::optional<std::string> password;
  const DatabaseList* databases = nullptr;
  EngineExecutors executors;
  std::uint32_t connections_max = 0;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::atomic<std::uint64_t> connections = 0;
  ByteBudget buffers;
  PasswordDoor door;
  ClientRefusals refused;
  std::uint64_t wrong_passwords = 0;
  /// Connections that have not said the password yet, by number, and until when they may.
  std::map<std::uint64_t, std::chrono::steady_clock::time_point> unauthenticated;
  RareLog wrong_password_log{"wrong passwords at the client port"};
  RareLog too_much_log{"clients sent away: with theirs the connections hold too much"};
};

class ClientSession {
 public:
  ClientSession(std::shared_ptr<ClientShared> shared, boost::asio::ip::tcp::socket socket, std::uint64_t id);
  ~ClientSession();
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  /// Until the client leaves, breaks the protocol, or close().
  static awaitable<void> run(std::shared_ptr<ClientSession> self);
  void close();
  /// It did not say the password in time: closed, with the reason.
  void expire();

 private:
  static awaitable<bool> serve_buffered(std::shared_ptr<ClientSession> self);
  static awaitable<bool> serve_whole_commands(std::shared_ptr<ClientSession> self);
  /// Nothing keeps a database open while its client says nothing.
  void hold_database();
  static awaitable<void> take(std::shared_ptr<ClientSession> self, Words words);
  static awaitable<void> finish_reads(std::shared_ptr<ClientSession> self);
  static awaitable<void> finish_writes(std::shared_ptr<ClientSession> self);
  static awaitable<void> finish_runs(std::shared_ptr<ClientSession> self);
  static awaitable<bool> may_go_on(std::shared_ptr<ClientSession> self, bool tries_password);
  static awaitable<void> pause(std::shared_ptr<ClientSession> self, std::chrono::steady_clock::duration time);
  static awaitable<void> exec(std::shared_ptr<ClientSession> self);
  static awaitable<void> wait(std::shared_ptr<ClientSession> self, Words words);
  static awaitable<void> wait_for_mirrors(std::shared_ptr<ClientSession> self, std::int64_t wanted,
                                          std::chrono::milliseconds timeout);
  static awaitable<bool> send(std::shared_ptr<ClientSession> self);

  /// What is wrong with a command before it runs, as an error reply; empty: nothing.
  std::string refusal(const Command* command, const Words& words) const;
  void answer(ConnectionCommand command, const Words& words, RespReply& reply);
  void auth(const Words& words, RespReply& reply);
  bool knows(std::string_view password);
  void hello(const Words& words, RespReply& reply);
  void select(const Words& words, RespReply& reply);
  void client(const Words& words, RespReply& reply);
  void watch(const Words& words, RespReply& reply);
  void end_transaction() { transaction_.end(chosen_.last()); }
  void max_lag(const Words& words, RespReply& reply);
  void note_write(const WriteRun& run);
  ClientDatabasePointer written_database() const;
  std::optional<std::int64_t> mirrors_that_applied() const;
  bool client_left();
  void set_authenticated();
  NodeFacts node_facts() const;
  RespReply fresh_reply() const { return RespReply(version_, &shared_->buffers); }
  bool count_buffers();
  std::size_t waiting() const { return reads_.commands.size() + writes_.commands.size(); }

  const std::shared_ptr<ClientShared> shared_;
  HeldBytes held_;
  boost::asio::ip::tcp::socket socket_;
  const std::uint64_t id_;
  RespParser parser_;
  RespVersion version_ = RespVersion::resp2;
  ChosenDatabase chosen_;
  bool authenticated_ = false, closing_ = false, holds_too_much_ = false;
  int failed_auths_ = 0;
  std::string name_;
  ClientTransaction transaction_;
  std::weak_ptr<ClientDatabase> written_;  ///< where the last write went
  core::SyncPoint written_at_;             ///< and its commit; LSN 0: there was none
  async::Signal woken_;                    ///< WAIT looks again
  ReadRun reads_;
  WriteRun writes_;
  std::size_t word_bytes_ = 0;  ///< of what is to be carried out
  std::string out_;
};

}  // namespace crosslink::node
