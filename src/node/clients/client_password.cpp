// A connection and its password: AUTH, HELLO, and guesses.
#include <fmt/format.h>
#include <openssl/crypto.h>

#include <chrono>
#include <optional>
#include <utility>

#include "async/with_timeout.hpp"
#include "node/clients/client_session.hpp"
#include "node/clients/connection_replies.hpp"
#include "node/hosting/hosted_database.hpp"

namespace crosslink::node {
namespace {

constexpr int failed_auths_max = 10;

/// Takes as long for a wrong password as for a right one.
bool same_secret(std::string_view one, std::string_view other) {
  return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

}  // namespace

/// Ends early when the connection is closed.
awaitable<void> ClientSession::pause(std::shared_ptr<ClientSession> self, std::chrono::steady_clock::duration time) {
  auto hear = [](async::Signal& signal, async::Signal::Heard& heard) -> Task<void> {
    const bool woken = co_await signal.wait(heard);
    if (!woken) co_return MirrorError::cancelled("waiting");
    co_return Result<void>{};
  };
  const auto end = std::chrono::steady_clock::now() + time;
  async::Signal::Heard heard = 0;
  while (!self->closing_ && std::chrono::steady_clock::now() < end) {
    auto hearing = hear(self->woken_, heard);
    auto late = MirrorError::timeout("nothing happened");
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    const auto woken = co_await async::with_timeout(std::move(hearing), left, std::move(late));
    if (!woken && woken.error().kind() == ErrorKind::Cancelled) self->closing_ = true;
  }
}

void ClientSession::expire() {
  ++shared_->refused.password_deadline;
  shared_->unauthenticated.erase(id_);
  close();
}

/// A client that tries a password waits as long as its address has to. False: the connection is closed.
awaitable<bool> ClientSession::may_go_on(std::shared_ptr<ClientSession> self, bool tries_password) {
  if (!tries_password || !self->shared_->password) co_return true;
  boost::system::error_code error;
  const auto from = self->socket_.remote_endpoint(error).address();
  const auto wait = error ? std::nullopt : self->shared_->door.come(from, std::chrono::steady_clock::now());
  if (!wait) {
    ++self->shared_->refused.wrong_passwords;
    self->closing_ = true;
    co_return false;
  }
  if (*wait > std::chrono::steady_clock::duration::zero()) {
    self->chosen_.let_go();  // a client that waits keeps no database from being taken away
    auto pausing = pause(self, *wait);
    co_await std::move(pausing);
    self->hold_database();
  }
  co_return !self->closing_;
}

void ClientSession::set_authenticated() {
  authenticated_ = true;
  shared_->unauthenticated.erase(id_);
  parser_.set_limits(RespLimits());
}

bool ClientSession::knows(std::string_view password) {
  if (shared_->password && same_secret(password, *shared_->password)) return true;
  closing_ = ++failed_auths_ >= failed_auths_max;
  boost::system::error_code error;
  const auto from = socket_.remote_endpoint(error).address();
  if (!error) shared_->door.on_wrong(from, std::chrono::steady_clock::now());
  ++shared_->wrong_passwords;
  shared_->wrong_password_log.happened({{"address", from.to_string()}});
  return false;
}

void ClientSession::auth(const Words& words, RespReply& reply) {
  if (words.size() > 3) return reply.error("ERR syntax error");
  if (!shared_->password) return reply.error("ERR no password is set here: AUTH is not needed");
  const bool good = (words.size() == 2 || words[1] == "default") && knows(words.back());
  if (!good) return reply.error("WRONGPASS invalid username-password pair or user is disabled.");
  set_authenticated();
  reply.ok();
}

void ClientSession::hello(const Words& words, RespReply& reply) {
  auto version = version_;
  if (words.size() > 1) {
    if (words[1] != "2" && words[1] != "3") return reply.error("NOPROTO unsupported protocol version");
    version = words[1] == "3" ? RespVersion::resp3 : RespVersion::resp2;
  }
  std::optional<std::string_view> name;
  for (std::size_t i = 2; i < words.size(); ++i) {
    if (equal_words(words[i], "AUTH") && i + 2 < words.size()) {
      if (shared_->password && (words[i + 1] != "default" || !knows(words[i + 2])))
        return reply.error("WRONGPASS invalid username-password pair or user is disabled.");
      if (!authenticated_) set_authenticated();
      i += 2;
    } else if (equal_words(words[i], "SETNAME") && i + 1 < words.size()) {
      name = words[++i];
    } else {
      return reply.error("ERR syntax error in HELLO");
    }
  }
  if (!authenticated_) {
    return reply.error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> "
        "<pass> option can be used to authenticate the client and select the RESP protocol version at the same time");
  }
  if (name && !is_client_name(*name)) return reply.error(client_name_error);
  if (name) name_ = *name;
  version_ = version;
  reply = fresh_reply();
  reply_hello(reply, id_, chosen_.held() && !chosen_.held()->hosted().takes_writes());
}

}  // namespace crosslink::node
