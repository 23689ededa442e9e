#include "node/clients/client_port.hpp"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "async/stop_event.hpp"
#include "async/task_group.hpp"
#include "async/with_timeout.hpp"
#include "node/clients/client_session.hpp"
#include "node/descriptors.hpp"
#include "node/hosting/hosted_database.hpp"
#include "node/log.hpp"
#include "node/rare_log.hpp"
#include "node/tuple_of.hpp"

namespace crosslink::node {

namespace {
constexpr std::string_view full = "-ERR max number of clients reached\r\n";
/// Connections that have yet to say the password, at once; the oldest gives way.
constexpr std::size_t unauthenticated_max = 256;
}  // namespace

struct ClientPort::Impl {
  Impl(boost::asio::any_io_executor executor, const ClientPortOptions& options, const DatabaseList& databases,
       EngineExecutors executors)
      : acceptor(executor), shared(std::make_shared<ClientShared>(options.buffers_bytes_max)) {
    shared->password = options.password;
    shared->databases = &databases;
    shared->executors = std::move(executors);
    shared->connections_max = options.connections_max;
  }
  bool admit(boost::asio::ip::tcp::socket& socket);
  void expire(std::uint64_t id);
  static awaitable<void> expire_unauthenticated(std::shared_ptr<Impl> self);
  static Task<void> accept_all(std::shared_ptr<Impl> self, async::TaskGroup& group);
  static awaitable<void> serve(std::shared_ptr<Impl> self, std::shared_ptr<ClientSession> session, std::uint64_t id);

  boost::asio::ip::tcp::acceptor acceptor;
  const std::shared_ptr<ClientShared> shared;
  async::StopEvent stop;
  boost::asio::ip::tcp::endpoint local;
  std::uint64_t last_id = 0;
  const Descriptors descriptors = node::descriptors();
  RareLog descriptors_log{"clients refused: the descriptors that are left are kept for databases and mirrors"};
  RareLog deadline_log{"clients closed: they did not say the password in time"};
  std::map<std::uint64_t, std::shared_ptr<ClientSession>> sessions;
};

ClientPort::ClientPort(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
ClientPort::~ClientPort() { stop(); }

Result<std::unique_ptr<ClientPort>> ClientPort::open(boost::asio::any_io_executor executor, ClientPortOptions options,
                                                     const DatabaseList& databases, EngineExecutors executors) {
  const auto& address = options.address;
  auto impl = std::make_shared<Impl>(std::move(executor), options, databases, std::move(executors));
  auto& acceptor = impl->acceptor;
  boost::system::error_code error;
  if (!acceptor.open(address.protocol(), error) &&
      !acceptor.set_option(boost::asio::socket_base::reuse_address(true), error) && !acceptor.bind(address, error) &&
      !acceptor.listen(boost::asio::socket_base::max_listen_connections, error)) {
    impl->local = acceptor.local_endpoint(error);
  }
  if (error) {
    return MirrorError::configuration(fmt::format("clients: cannot listen on {}:{}: {}", address.address().to_string(),
                                                  address.port(), error.message()));
  }
  return std::unique_ptr<ClientPort>(new ClientPort(std::move(impl)));
}

boost::asio::ip::tcp::endpoint ClientPort::address() const { return impl_->local; }

ClientFacts ClientPort::facts() const {
  const auto& shared = *impl_->shared;
  return {shared.connections,    shared.connections_max, shared.unauthenticated.size(),
          shared.buffers.held(), shared.buffers.max(),   shared.wrong_passwords,
          shared.refused};
}

void ClientPort::set_password(std::optional<std::string> password) {
  if (password == impl_->shared->password) return;
  impl_->shared->password = std::move(password);
  log(Severity::info, "the password of the client port is another", {});
}

void ClientPort::stop() { impl_->stop.set(); }

awaitable<void> ClientPort::Impl::serve(std::shared_ptr<Impl> self, std::shared_ptr<ClientSession> session,
                                        std::uint64_t id) {
  co_await ClientSession::run(std::move(session));
  self->sessions.erase(id);
}

bool ClientPort::Impl::admit(boost::asio::ip::tcp::socket& socket) {
  auto& refused = shared->refused;
  auto& unauthenticated = shared->unauthenticated;
  if (shared->connections >= shared->connections_max && unauthenticated.empty()) {
    ++refused.connections_max;
    return false;
  }
  const auto number = static_cast<std::uint64_t>(socket.native_handle());
  if (number >= descriptors.clients_end()) {
    ++refused.descriptors;
    descriptors_log.happened(
        {{"limit", std::to_string(descriptors.limit)}, {"reserve", std::to_string(descriptors.reserve)}});
    return false;
  }
  // At a limit, the oldest unauthenticated connection goes: idle ones keep out no client that knows the password.
  if (shared->connections >= shared->connections_max || unauthenticated.size() >= unauthenticated_max)
    expire(unauthenticated.begin()->first);
  return true;
}

void ClientPort::Impl::expire(std::uint64_t id) {
  shared->unauthenticated.erase(id);
  const auto found = sessions.find(id);
  if (found == sessions.end()) return;
  found->second->expire();
  deadline_log.happened({});
}

awaitable<void> ClientPort::Impl::expire_unauthenticated(std::shared_ptr<Impl> self) {
  for (;;) {
    const bool slept = co_await async::sleep_for(std::chrono::milliseconds(500));
    if (!slept) co_return;
    const auto now = std::chrono::steady_clock::now();
    auto& unauthenticated = self->shared->unauthenticated;  // the oldest first
    while (!unauthenticated.empty() && unauthenticated.begin()->second <= now)
      self->expire(unauthenticated.begin()->first);
  }
}

Task<void> ClientPort::Impl::accept_all(std::shared_ptr<Impl> self, async::TaskGroup& group) {
  for (;;) {
    // One that came between two waits has cancelled neither.
    if (async::is_cancelled(co_await boost::asio::this_coro::cancellation_state))
      co_return MirrorError::cancelled("accepting clients");
    auto [error, socket] = co_await self->acceptor.async_accept(tuple_of);
    if (error == boost::asio::error::operation_aborted) co_return MirrorError::cancelled("accepting clients");
    if (error) {
      // No descriptor is left, or the client was gone again: others may come.
      const bool slept = co_await async::sleep_for(std::chrono::milliseconds(50));
      if (!slept) co_return MirrorError::cancelled("accepting clients");
      continue;
    }
    boost::system::error_code ignored;  // of a socket that ends at once anyway
    if (!self->admit(socket)) {
      static_cast<void>(socket.write_some(boost::asio::buffer(full), ignored));
      continue;
    }
    static_cast<void>(socket.set_option(boost::asio::ip::tcp::no_delay(true), ignored));
    static_cast<void>(socket.set_option(boost::asio::socket_base::keep_alive(true), ignored));
    const auto id = ++self->last_id;
    auto session = std::make_shared<ClientSession>(self->shared, std::move(socket), id);
    self->sessions.emplace(id, session);
    group.spawn(serve(self, std::move(session), id));
  }
}

Task<void> ClientPort::run() {
  auto work = [](std::shared_ptr<Impl> self) -> Task<void> {
    auto executor = co_await boost::asio::this_coro::executor;
    async::TaskGroup group(executor);
    async::TaskGroup looking(executor);
    looking.spawn(Impl::expire_unauthenticated(self));
    auto accepting = Impl::accept_all(self, group);
    auto stopped = async::when_set(self->stop, MirrorError::cancelled("accepting clients"));
    const auto ended = co_await async::interruptible(std::move(accepting), std::move(stopped));
    looking.cancel();
    boost::system::error_code ignored;  // it is closed then
    static_cast<void>(self->acceptor.close(ignored));
    for (const auto& database : self->shared->databases->all())
      database->stop_waiting();
    for (const auto& [id, session] : self->sessions)
      session->close();
    co_await looking.drain();
    co_await group.drain();
    if (self->stop.is_set()) co_return Result<void>{};
    co_return ended;
  };
  return work(impl_);
}

}  // namespace crosslink::node
