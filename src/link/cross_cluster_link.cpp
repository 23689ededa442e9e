#include <cstdlib>
#include <mutex>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "async/stop_event.hpp"
#include "crosslink/link.hpp"
#include "link/dial.hpp"
#include "link/link_options.hpp"
#include "session/reconnect_machine.hpp"

namespace crosslink {
namespace {

MirrorError cancelled_error() { return MirrorError::cancelled("the link's attempt to connect"); }

}  // namespace

std::string_view to_string(LinkState state) {
  switch (state) {
    case LinkState::disconnected: return "disconnected";
    case LinkState::connecting: return "connecting";
    case LinkState::connected: return "connected";
    case LinkState::closed: return "closed";
  }
  std::abort();
}

// The machine decides, this carries it out. The mutex is never held over a wait. Lock order: ours, then a connection's.
struct CrossClusterLink::Impl {
  Impl(link::LinkTarget target, quic::Endpoint used_endpoint, quic::ClientConfig client_config,
       SendThrottle shared_throttle, const link::LinkOptions& chosen)
      : cluster_id(std::move(target.cluster_id)),
        database_id(std::move(target.database_id)),
        addresses(link::split_source_addresses(target.addresses)),
        endpoint(std::move(used_endpoint)),
        config(std::move(client_config)),
        options(chosen),
        throttle(std::move(shared_throttle)),
        machine(addresses.size(), chosen.seed ? *chosen.seed : std::random_device{}(), chosen.backoff_base,
                chosen.backoff_cap) {}

  enum class Start : std::uint8_t { connect, reconnect };

  static Task<MirrorHelloAck> run(std::shared_ptr<Impl> self, Start start, Lsn last_applied_lsn);
  static Task<MirrorHelloAck> carry_out(std::shared_ptr<Impl> self, Start start, Lsn last_applied_lsn);
  static Task<quic::BidiStream> open_stream(std::shared_ptr<Impl> self);
  Result<core::Action> begin(Start start);
  awaitable<std::optional<core::Action>> sleep(std::chrono::milliseconds delay);
  core::Action take_outcome(Result<link::Established> dialled, std::optional<MirrorHelloAck> answer,
                            Result<MirrorHelloAck>& outcome);
  void notice_lost_connection();
  void close();

  const ClusterId cluster_id;
  const DatabaseId database_id;
  const std::vector<std::string> addresses;
  const quic::Endpoint endpoint;
  const quic::ClientConfig config;
  const link::LinkOptions options;
  SendThrottle throttle;
  async::StopEvent stop;

  std::mutex mutex;
  core::ReconnectMachine machine;
  std::optional<quic::Connection> connection;
  std::optional<std::chrono::steady_clock::time_point> next_attempt;
  std::optional<MirrorHelloAck> last_ack;
};

/// Finds out what was not reported: a connection may end at any time.
void CrossClusterLink::Impl::notice_lost_connection() {
  if (!connection || !connection->end_reason()) return;
  connection.reset();
  machine.connection_lost();
}

Result<core::Action> CrossClusterLink::Impl::begin(Start start) {
  std::optional<quic::Connection> old;
  const std::scoped_lock lock(mutex);
  if (stop.is_set()) return MirrorError::cancelled("the link is closed");
  // All of them now: a wrong one must not come to light only when its turn comes.
  if (auto good = link::check_source_addresses(addresses); !good) return good.error();
  notice_lost_connection();
  auto action = start == Start::connect ? machine.start_connect() : machine.start_reconnect();
  if (!action || start == Start::connect) return action;
  old = std::exchange(connection, std::nullopt);
  if (old) old->close(normal_close_code);
  throttle.reset();
  return action;
}

awaitable<std::optional<core::Action>> CrossClusterLink::Impl::sleep(std::chrono::milliseconds delay) {
  {
    const std::scoped_lock lock(mutex);
    next_attempt = std::chrono::steady_clock::now() + delay;
  }
  const bool slept = co_await async::sleep_for(delay);
  const std::scoped_lock lock(mutex);
  next_attempt.reset();
  if (!slept) co_return std::nullopt;
  co_return machine.slept();
}

core::Action CrossClusterLink::Impl::take_outcome(Result<link::Established> dialled,
                                                  std::optional<MirrorHelloAck> answer,
                                                  Result<MirrorHelloAck>& outcome) {
  const std::scoped_lock lock(mutex);
  last_ack = std::move(answer);
  if (stop.is_set()) {
    outcome = cancelled_error();
    return core::Return{};
  }
  if (dialled) {
    outcome = dialled->ack;
    connection = std::move(dialled->connection);
    return machine.dial_succeeded();
  }
  outcome = dialled.error();
  return machine.dial_failed(dialled.error());
}

Task<MirrorHelloAck> CrossClusterLink::Impl::carry_out(std::shared_ptr<Impl> self, Start start, Lsn last_applied_lsn) {
  auto begun = self->begin(start);
  if (!begun) co_return begun.error();
  auto action = *std::move(begun);
  bool finished = false;
  const std::shared_ptr<void> unwinding(nullptr, [&](void*) {
    if (finished) return;
    const std::scoped_lock lock(self->mutex);
    self->machine.operation_cancelled();
  });
  Result<MirrorHelloAck> outcome = cancelled_error();
  for (;;) {
    // What has come about is reported, even to a caller that has just given up: a connection must not stay unseen.
    if (std::holds_alternative<core::Return>(action)) {
      finished = true;
      co_return outcome;
    }
    if (async::is_cancelled(co_await boost::asio::this_coro::cancellation_state)) co_return cancelled_error();
    if (const auto* sleeping = std::get_if<core::Sleep>(&action)) {
      auto next = co_await self->sleep(sleeping->delay);
      if (!next) co_return cancelled_error();
      action = *std::move(next);
    } else if (const auto* dialling = std::get_if<core::Dial>(&action)) {
      link::DialTarget target{self->addresses[dialling->address_index],
                              dialling->turn,
                              self->options.lookup,
                              {self->cluster_id, self->database_id, last_applied_lsn},
                              self->options.handshake_deadline};
      std::optional<MirrorHelloAck> answer;
      auto dialled = co_await link::dial(self->endpoint, self->config, std::move(target), answer);
      if (!dialled && dialled.error().kind() == ErrorKind::Cancelled) co_return dialled.error();
      action = self->take_outcome(std::move(dialled), std::move(answer), outcome);
    }
  }
}

Task<MirrorHelloAck> CrossClusterLink::Impl::run(std::shared_ptr<Impl> self, Start start, Lsn last_applied_lsn) {
  auto carrying = carry_out(self, start, last_applied_lsn);
  auto closed = async::when_set(self->stop, cancelled_error());
  auto ended = co_await async::interruptible(std::move(carrying), std::move(closed));
  // close() may have come just after the handshake, when nothing waited any more: its connection is closed by then.
  if (self->stop.is_set()) co_return cancelled_error();
  co_return ended;
}

Task<quic::BidiStream> CrossClusterLink::Impl::open_stream(std::shared_ptr<Impl> self) {
  std::optional<quic::Connection> current;
  {
    const std::scoped_lock lock(self->mutex);
    self->notice_lost_connection();
    if (!self->connection) co_return MirrorError::not_connected("opening a stream");
    current = self->connection;
  }
  auto stream = co_await current->open_bidi_stream();
  if (!stream && self->stop.is_set()) co_return cancelled_error();
  co_return stream;
}

void CrossClusterLink::Impl::close() {
  const std::scoped_lock lock(mutex);
  stop.set();
  machine.close();
  if (connection) connection->close(normal_close_code);
  connection.reset();
}

CrossClusterLink::CrossClusterLink(ClusterId source_cluster_id, DatabaseId source_database_id, std::string source_addr,
                                   quic::Endpoint endpoint, quic::ClientConfig client_config,
                                   SendThrottle shared_throttle)
    : CrossClusterLink(std::make_shared<Impl>(
          link::LinkTarget{std::move(source_cluster_id), std::move(source_database_id), std::move(source_addr)},
          std::move(endpoint), std::move(client_config), std::move(shared_throttle), link::LinkOptions{})) {}

CrossClusterLink::CrossClusterLink(std::shared_ptr<Impl> impl) : throttle(impl->throttle), impl_(std::move(impl)) {}

CrossClusterLink::~CrossClusterLink() { close(); }

const ClusterId& CrossClusterLink::source_cluster_id() const { return impl_->cluster_id; }
const DatabaseId& CrossClusterLink::source_database_id() const { return impl_->database_id; }

Task<MirrorHelloAck> CrossClusterLink::connect(Lsn last_applied_lsn) {
  return async::on_own_strand(Impl::run(impl_, Impl::Start::connect, last_applied_lsn));
}

Task<MirrorHelloAck> CrossClusterLink::schedule_reconnect(Lsn last_applied_lsn) {
  return async::on_own_strand(Impl::run(impl_, Impl::Start::reconnect, last_applied_lsn));
}

Task<quic::BidiStream> CrossClusterLink::open_bidi_stream() { return Impl::open_stream(impl_); }

void CrossClusterLink::note_progress() {
  const std::scoped_lock lock(impl_->mutex);
  impl_->notice_lost_connection();
  impl_->machine.note_progress();
}

void CrossClusterLink::close() { impl_->close(); }

LinkState CrossClusterLink::state() const {
  const std::scoped_lock lock(impl_->mutex);
  impl_->notice_lost_connection();
  switch (impl_->machine.phase()) {
    case core::LinkPhase::disconnected:
    case core::LinkPhase::waiting: return LinkState::disconnected;
    case core::LinkPhase::connecting: return LinkState::connecting;
    case core::LinkPhase::connected: return LinkState::connected;
    case core::LinkPhase::closed: return LinkState::closed;
  }
  std::abort();
}

RetryFacts CrossClusterLink::retry_facts() const {
  const std::scoped_lock lock(impl_->mutex);
  impl_->notice_lost_connection();
  RetryFacts facts;
  facts.attempts = impl_->machine.attempts();
  facts.reconnects = impl_->machine.reconnects();
  facts.backoff = impl_->machine.backoff();
  facts.next_attempt = impl_->next_attempt;
  facts.last_error = impl_->machine.last_error();
  return facts;
}

std::optional<MirrorHelloAck> CrossClusterLink::last_ack() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->last_ack;
}

std::optional<quic::Connection> CrossClusterLink::connection() const {
  const std::scoped_lock lock(impl_->mutex);
  impl_->notice_lost_connection();
  return impl_->connection;
}

namespace link {

std::unique_ptr<CrossClusterLink> make_link(LinkTarget target, quic::Endpoint endpoint, quic::ClientConfig config,
                                            SendThrottle throttle, const LinkOptions& options) {
  return std::make_unique<CrossClusterLink>(std::make_shared<CrossClusterLink::Impl>(
      std::move(target), std::move(endpoint), std::move(config), std::move(throttle), options));
}

}  // namespace link
}  // namespace crosslink
