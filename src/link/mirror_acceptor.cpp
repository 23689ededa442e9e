#include <list>
#include <utility>

#include "async/stop_event.hpp"
#include "async/task_group.hpp"
#include "crosslink/source.hpp"
#include "link/name_places.hpp"
#include "link/refuse.hpp"
#include "link/source_handshake.hpp"

namespace crosslink {

namespace {

/// The first name of the certificate: what limits count by.
std::string name_of(std::span<const std::string> peer_names) {
  return peer_names.empty() ? std::string() : peer_names.front();
}

MirrorError too_many(link::NamePlaces::Full full) {
  return {ErrorKind::Busy, CausedBy::us,
          full == link::NamePlaces::Full::for_this_name
              ? "this name already has as many mirrors of this database here as it may; retry later"
              : "this source serves as many mirrors as it may; retry later"};
}

}  // namespace

struct MirrorAcceptor::Impl {
  Impl(quic::Listener own_listener, SourcePolicy own_policy, AcceptorLimits own_limits, Session own_session,
       Callbacks own)
      : listener(std::move(own_listener)),
        local(listener.local_address()),
        policy(std::move(own_policy)),
        limits(own_limits),
        session(std::move(own_session)),
        callbacks(std::move(own)) {}

  void report(const quic::Connection& connection, const std::optional<MirrorHello>& hello,
              const Result<AcceptedMirror>& mirror, std::chrono::steady_clock::time_point began) const;

  static Task<void> run(std::shared_ptr<Impl> self, boost::asio::any_io_executor executor);
  void begin_handshake(std::shared_ptr<Impl> self, quic::Connection connection, async::TaskGroup& handshakes_running,
                       async::TaskGroup& sessions);
  static Task<void> accept_all(std::shared_ptr<Impl> self, async::TaskGroup& handshakes, async::TaskGroup& sessions);
  static awaitable<void> shake_hands(std::shared_ptr<Impl> self, quic::Connection connection,
                                     link::NamePlaces::Place handshake, async::TaskGroup& sessions);
  static awaitable<void> hold_session(std::shared_ptr<Impl> self, AcceptedMirror mirror, link::NamePlaces::Place place);

  quic::Listener listener;
  const quic::Address local;
  const SourcePolicy policy;
  const AcceptorLimits limits;
  const Session session;
  const Callbacks callbacks;
  async::StopEvent stop;
  std::list<quic::Connection> serving;  // only touched on run()'s executor
  const std::shared_ptr<link::NamePlaces> mirrors =
      std::make_shared<link::NamePlaces>(limits.mirrors_per_name_max, limits.mirrors_max);
  const std::shared_ptr<link::NamePlaces> handshakes =
      std::make_shared<link::NamePlaces>(limits.handshakes_per_name_max, limits.handshakes_max);
};

void MirrorAcceptor::Impl::report(const quic::Connection& connection, const std::optional<MirrorHello>& hello,
                                  const Result<AcceptedMirror>& mirror,
                                  std::chrono::steady_clock::time_point began) const {
  if (!callbacks.on_handshake) return;
  HandshakeReport report;
  report.peer = connection.remote_address();
  report.certificate_serial = connection.peer_certificate_serial();
  for (const auto& name : connection.peer_names())
    report.peer_names.push_back(escape(name));
  if (hello) {
    report.hello =
        MirrorHello{ClusterId(escape(hello->source_cluster.str())), DatabaseId(escape(hello->source_database_id.str())),
                    hello->last_applied_lsn, hello->protocol_version};
  }
  if (mirror) {
    report.ack = mirror->ack;
  } else {
    report.error = mirror.error();
  }
  report.took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - began);
  callbacks.on_handshake(report);
}

awaitable<void> MirrorAcceptor::Impl::shake_hands(std::shared_ptr<Impl> self, quic::Connection connection,
                                                  link::NamePlaces::Place handshake, async::TaskGroup& sessions) {
  const auto began = std::chrono::steady_clock::now();
  link::NamePlaces::Place place;
  auto limited = self->policy;
  limited.admit = [&self, &place](const MirrorHello& hello,
                                  std::span<const std::string> names) -> std::optional<MirrorError> {
    if (self->policy.admit) {
      if (auto refused = self->policy.admit(hello, names)) return refused;
    }
    std::optional<link::NamePlaces::Full> full;
    // A DNS name holds no slash.
    place = self->mirrors->take(name_of(names) + "/" + hello.source_database_id.str(), full);
    if (full) return too_many(*full);
    return std::nullopt;
  };
  std::optional<MirrorHello> hello;
  auto mirror = co_await link::serve_hello(connection, limited, hello);
  handshake.reset();
  self->report(connection, hello, mirror, began);
  if (mirror && !self->stop.is_set()) sessions.spawn(hold_session(self, *std::move(mirror), std::move(place)));
}

awaitable<void> MirrorAcceptor::Impl::hold_session(std::shared_ptr<Impl> self, AcceptedMirror mirror,
                                                   link::NamePlaces::Place place) {
  const auto served = self->serving.insert(self->serving.end(), mirror.connection);
  const auto ended = co_await self->session(mirror);
  self->serving.erase(served);
  mirror.connection.close(normal_close_code);
  place.reset();
  if (self->callbacks.on_session_end) self->callbacks.on_session_end(mirror, ended);
}

/// One name cannot take every place: what it has beyond its share is refused by the close code alone.
void MirrorAcceptor::Impl::begin_handshake(std::shared_ptr<Impl> self, quic::Connection connection,
                                           async::TaskGroup& handshakes_running, async::TaskGroup& sessions) {
  std::optional<link::NamePlaces::Full> full;
  auto place = handshakes->take(name_of(connection.peer_names()), full);
  if (full) {
    const MirrorError refused(ErrorKind::Busy, CausedBy::us,
                              "this name has too many handshakes under way; retry later");
    connection.close(link::close_code_of(refused));
    report(connection, std::nullopt, refused, std::chrono::steady_clock::now());
    return;
  }
  handshakes_running.spawn(shake_hands(std::move(self), std::move(connection), std::move(place), sessions));
}

Task<void> MirrorAcceptor::Impl::accept_all(std::shared_ptr<Impl> self, async::TaskGroup& handshakes,
                                            async::TaskGroup& sessions) {
  for (;;) {
    const bool has_room = co_await handshakes.wait_below(self->limits.handshakes_max);
    if (!has_room) co_return MirrorError::cancelled("accepting mirrors");
    auto connection = co_await self->listener.accept();
    if (!connection) co_return connection.error();
    self->begin_handshake(self, *std::move(connection), handshakes, sessions);
    if (async::is_cancelled(co_await boost::asio::this_coro::cancellation_state)) {
      co_return MirrorError::cancelled("accepting mirrors");
    }
  }
}

Task<void> MirrorAcceptor::Impl::run(std::shared_ptr<Impl> self, boost::asio::any_io_executor executor) {
  async::TaskGroup handshakes(executor);
  async::TaskGroup sessions(executor);
  auto accepting = accept_all(self, handshakes, sessions);
  auto stopped = async::when_set(self->stop, MirrorError::cancelled("accepting mirrors"));
  const auto ended = co_await async::interruptible(std::move(accepting), std::move(stopped));
  const bool asked_to_stop = self->stop.is_set();
  // From here on a handshake that succeeds starts no session.
  self->stop.set();
  self->listener.close();
  handshakes.cancel();
  co_await handshakes.drain();
  sessions.cancel();
  for (auto& connection : self->serving)
    connection.close(normal_close_code);
  co_await sessions.drain();
  if (asked_to_stop) co_return Result<void>{};
  co_return ended;
}

MirrorAcceptor::MirrorAcceptor(quic::Listener listener, SourcePolicy policy, AcceptorLimits limits, Session session,
                               Callbacks callbacks)
    : impl_(std::make_shared<Impl>(std::move(listener), std::move(policy), limits, std::move(session),
                                   std::move(callbacks))) {}

MirrorAcceptor::~MirrorAcceptor() { stop(); }

Task<void> MirrorAcceptor::run() {
  auto run_here = [](std::shared_ptr<Impl> self) -> Task<void> {
    auto executor = co_await boost::asio::this_coro::executor;
    co_return co_await async::on_own_strand(Impl::run(std::move(self), std::move(executor)));
  };
  return run_here(impl_);
}

void MirrorAcceptor::stop() { impl_->stop.set(); }
quic::Address MirrorAcceptor::local_address() const { return impl_->local; }

Result<void> MirrorAcceptor::reload(const quic::TlsFiles& tls) { return impl_->listener.reload(tls); }

std::size_t MirrorAcceptor::mirrors() const { return impl_->mirrors->taken(); }

}  // namespace crosslink
