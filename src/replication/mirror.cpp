#include "crosslink/mirror.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "async/signal.hpp"
#include "async/stop_event.hpp"
#include "async/strand.hpp"
#include "link/software.hpp"
#include "link/throttle_state.hpp"
#include "replication/engine_work.hpp"
#include "replication/session_driver.hpp"
#include "replication/spill_store.hpp"
#include "session/mirror/mirror_machine.hpp"

namespace crosslink {

namespace action = core::mirror_action;
using core::MirrorMachine;

namespace {

core::MirrorMachineConfig machine_config(const MirrorOptions& options, const CrossClusterLink& link) {
  core::MirrorMachineConfig config;
  config.software = link::software;
  config.self = options.name;
  config.id = options.id;
  config.sync = options.sync;
  config.resync_when_source_behind = options.resync_when_source_behind;
  config.entry_bytes_max = options.entry_bytes_max;
  config.in_flight_bytes_max = std::min(options.in_flight_bytes_max, link.throttle.cap());
  config.zstd = options.zstd;
  config.max_lag = options.max_lag;
  config.control_silence_max = options.disconnected_after;
  return config;
}

}  // namespace

// The machine decides, this carries it out. The machine is guarded by `guard_`, everything else is touched on run()'s
// strand only.
struct Mirror::Impl final : replication::SessionDriver<MirrorMachine, std::mutex> {
  using Driver = replication::SessionDriver<MirrorMachine, std::mutex>;

  Impl(std::unique_ptr<CrossClusterLink> own_link, MirrorEngine& own_engine, VerifiableEngine* own_verifiable,
       const boost::asio::any_io_executor& executor, const MirrorOptions& chosen)
      : Driver(chosen.scan_executor ? chosen.scan_executor : executor),
        link(std::move(own_link)),
        engine(&own_engine),
        verifiable(own_verifiable),
        engine_executor(executor),
        options(chosen),
        machine(machine_config(chosen, *link), own_engine.mirror_state(), own_engine.traits(), fragments,
                *link->throttle.state(), replication::session_now()) {
    drive(machine);
  }
  std::shared_ptr<Impl> self() { return std::static_pointer_cast<Impl>(shared_from_this()); }

  static Task<void> run(std::shared_ptr<Impl> self);
  static awaitable<void> dial(std::shared_ptr<Impl> self, action::Dial request);
  static awaitable<void> watch(std::shared_ptr<Impl> self, StreamsPointer session);
  static awaitable<void> serve_stream(std::shared_ptr<Impl> self, StreamsPointer session, StreamPointer stream);

  void carry_out(core::MirrorAction& request) override;
  void on_frame(core::StreamToken token, Frame frame) override;
  void on_stream_end(core::StreamToken token, const std::optional<MirrorError>& error) override;
  void on_told() override;
  void ask_engine(core::MirrorAction& request);
  void send(action::Send& frame);
  void close_link();
  void lost(const StreamsPointer& session, const MirrorError& why);
  template <class Command>
  Result<void> command(Command&& what);
  void note_round_trip();

  using Driver::guard_;
  const std::unique_ptr<CrossClusterLink> link;
  MirrorEngine* const engine;
  VerifiableEngine* const verifiable;
  const boost::asio::any_io_executor engine_executor;
  const MirrorOptions options;
  replication::SpillStore fragments{options.spill_folder, options.min_free_bytes};

  MirrorMachine machine;
  std::optional<boost::asio::any_io_executor> strand;  ///< while run() runs
  std::optional<VerifyResult> verify_result;
  bool verify_abandoned = false;  ///< its caller was cancelled: what it comes to is for no other
  async::Signal verify_ended, promotion_ended;
  bool stopping = false, ended = false;

  async::Signal progress;  ///< something may have ended that run() waits for
  std::shared_ptr<boost::asio::cancellation_signal> dialing;
};

// --- run

Task<void> Mirror::Impl::run(std::shared_ptr<Impl> self) {
  auto executor = co_await boost::asio::this_coro::executor;
  self->start(executor);
  {
    const std::scoped_lock lock(self->guard_);
    self->strand = executor;
  }
  self->engine->watch_position([weak = self->weak_from_this(), executor] {
    boost::asio::post(executor, [weak] {
      const auto moved = std::static_pointer_cast<Impl>(weak.lock());
      if (moved) moved->tell([](MirrorMachine& told, core::Instant now) { told.on_position_moved(now); });
    });
  });
  self->tell([](MirrorMachine& told, core::Instant now) { told.on_time(now); });
  bool cancelled = false;
  async::Signal::Heard heard = 0;
  for (;;) {
    {
      const std::scoped_lock lock(self->guard_);
      if (self->stopping && self->machine.idle()) break;
    }
    const bool woken = co_await self->progress.wait(heard);
    if (woken) continue;
    cancelled = true;
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
    self->tell([&](MirrorMachine& told, core::Instant now) {
      self->stopping = true;
      told.stop(now);
    });
  }
  self->engine->watch_position({});
  self->link->close();
  co_await self->wind_up();
  {
    const std::scoped_lock lock(self->guard_);
    self->strand.reset();
    self->ended = true;
  }
  self->verify_ended.notify();
  self->promotion_ended.notify();
  if (cancelled) co_return MirrorError::cancelled("mirroring a database");
  co_return Result<void>{};
}

void Mirror::Impl::on_told() {
  bool verified = false;
  {
    const std::scoped_lock lock(guard_);
    if (auto result = machine.take_verify_result()) {
      if (!std::exchange(verify_abandoned, false)) verify_result = std::move(result);
      verified = true;
    }
  }
  if (verified) verify_ended.notify();
  progress.notify();
  promotion_ended.notify();
}

void Mirror::Impl::carry_out(core::MirrorAction& request) {
  const core::Visitor cases{
      [&](const action::Dial& wanted) { group_->spawn(dial(self(), wanted)); },
      [&](const action::CloseLink&) { close_link(); },
      [&](action::Send& frame) { send(frame); },
      [&](const action::DropStream& dropped) {
        if (streams_) streams_->drop(dropped.stream);
      },
      [&](const action::ReadBulk& bulk) {
        if (streams_) streams_->allow_bulk(bulk.allowed);
      },
      [&](const action::Progress&) { link->note_progress(); },
      [&](const action::Wake& wake) { wake_at(wake.at); },
      [&](const action::CloseView&) { view_.reset(); },
      [&](action::DigestRange& asked) { ask_digest(asked.question, std::move(asked.range)); },
      [&](action::ListKeys& asked) { ask_keys(asked.question, std::move(asked.range)); },
      [&](action::EngineCall auto&) { ask_engine(request); },
  };
  std::visit(cases, request);
}

// --- the link

awaitable<void> Mirror::Impl::dial(std::shared_ptr<Impl> self, action::Dial request) {
  // CloseLink ends a dial; the group's own cancellation ends it by closing the link.
  auto closed = std::make_shared<async::StopEvent>();
  auto signal = std::make_shared<boost::asio::cancellation_signal>();
  self->dialing = signal;
  signal->slot().assign([closed](boost::asio::cancellation_type) { closed->set(); });
  auto connecting =
      request.reconnect ? self->link->schedule_reconnect(request.applied) : self->link->connect(request.applied);
  auto stopped = async::when_set(*closed, MirrorError::cancelled("dialling"));
  const auto ack = co_await async::interruptible(std::move(connecting), std::move(stopped));
  const bool ours = self->dialing == signal;
  if (ours) self->dialing.reset();
  auto connection = ack ? self->link->connection() : std::nullopt;
  if (!ours || !connection) {
    // Given up meanwhile: a connection that came about all the same is not wanted.
    if (connection) connection->close(normal_close_code);
    const auto error = ack ? MirrorError::not_connected("the link") : ack.error();
    self->tell([&](MirrorMachine& told, core::Instant now) {
      if (ours) {
        told.on_dial_failed(error, now);
      } else {
        told.on_disconnected(error, now);
      }
    });
    co_return;
  }
  self->streams_ = std::make_shared<replication::SessionStreams>(*std::move(connection));
  self->group_->spawn(watch(self, self->streams_));
  self->tell([](MirrorMachine& told, core::Instant now) { told.on_connected(now); });
}

awaitable<void> Mirror::Impl::watch(std::shared_ptr<Impl> self, StreamsPointer session) {
  const auto ended = co_await session->connection().closed();
  const auto reason = session->connection().end_reason();
  self->lost(session, reason ? *reason : ended ? MirrorError::not_connected("the link") : ended.error());
}

void Mirror::Impl::lost(const StreamsPointer& session, const MirrorError& why) {
  if (streams_ != session) return;
  streams_.reset();
  view_.reset();
  session->drop_all();
  tell([&](MirrorMachine& told, core::Instant now) { told.on_disconnected(why, now); });
}

void Mirror::Impl::close_link() {
  if (auto signal = std::exchange(dialing, nullptr)) {
    signal->emit(boost::asio::cancellation_type::terminal);  // dial() says on_disconnected
    return;
  }
  if (!streams_) {
    tell([](MirrorMachine& told, core::Instant now) {
      told.on_disconnected(MirrorError::not_connected("the link"), now);
    });
    return;
  }
  // What was sent on its streams, a reason perhaps, is queued before: the transport sends it with the close or drops
  // it.
  streams_->connection().close(normal_close_code);
}

// --- streams

void Mirror::Impl::send(action::Send& frame) {
  if (!streams_) return;
  auto stream = streams_->find(frame.stream);
  const bool fresh = !stream;
  if (fresh) {
    stream = std::make_shared<replication::SessionStream>(frame.stream);
    streams_->add(stream, frame.opens_bulk);
  }
  replication::SessionStream::Outgoing outgoing;
  outgoing.buffers.emplace_back(std::move(frame.frame));
  stream->send(std::move(outgoing));
  if (fresh) group_->spawn(serve_stream(self(), streams_, std::move(stream)));
}

awaitable<void> Mirror::Impl::serve_stream(std::shared_ptr<Impl> self, StreamsPointer session, StreamPointer stream) {
  const auto token = stream->token();
  auto opened = co_await session->connection().open_bidi_stream();
  if (!opened) {
    if (session->connection().end_reason() || self->streams_ != session || stream->dropped()) co_return;
    self->on_stream_end(token, opened.error());
    co_return;
  }
  stream->open(*std::move(opened));
  if (token == MirrorMachine::control_stream) {
    const auto raised = stream->stream().send.set_priority(quic::priority_control);
    if (!raised) co_return;  // the connection has ended: watch() says so
  }
  self->group_->spawn(read_frames(self, session, stream));
  co_await stream->write_all(nullptr);
}

void Mirror::Impl::on_frame(core::StreamToken token, Frame frame) {
  if (token == MirrorMachine::control_stream) note_round_trip();
  const auto kept = std::make_shared<const std::vector<std::byte>>(std::move(frame.payload));
  tell([&](MirrorMachine& told, core::Instant now) { told.on_frame(token, frame.kind, kept, *kept, now); });
}

void Mirror::Impl::on_stream_end(core::StreamToken token, const std::optional<MirrorError>& error) {
  tell([&](MirrorMachine& told, core::Instant now) { told.on_stream_end(token, error, now); });
}

void Mirror::Impl::note_round_trip() {
  const auto round_trip = streams_->round_trip(replication::session_now());
  if (!round_trip) return;
  const std::scoped_lock lock(guard_);
  machine.on_round_trip(*round_trip);
}

// --- the engine

void Mirror::Impl::ask_engine(core::MirrorAction& request) {
  // Of its own until the call has ended: the session may be lost meanwhile.
  const auto opened = std::make_shared<View>();
  const bool takes_long =
      std::holds_alternative<action::CheckSnapshot>(request) || std::holds_alternative<action::SwitchSnapshot>(request);
  auto work = [self = self(), opened, request = std::move(request)] {
    return replication::carry_out_on_engine({*self->engine, self->verifiable, self->options, *self->link}, request,
                                            *opened);
  };
  // Swapped: what was viewed before is let go of without the guard.
  auto take = [this, opened](MirrorMachine& told, Result<core::EngineAnswer> answer, core::Instant now) {
    if (*opened) view_.swap(*opened);
    told.on_engine(std::move(answer), now);
  };
  call(takes_long ? scan_executor_ : engine_executor, std::move(work), std::move(take));
}

// --- the public face

/// Says it to the machine at once; what follows from it is done on the strand.
template <class Command>
Result<void> Mirror::Impl::command(Command&& what) {
  Result<void> said;
  std::optional<boost::asio::any_io_executor> on;
  {
    const std::scoped_lock lock(guard_);
    said = what(machine, replication::session_now());
    on = strand;
  }
  if (on) boost::asio::post(*on, [self = self()] { self->pump(); });
  return said;
}

Mirror::Mirror(std::unique_ptr<CrossClusterLink> link, MirrorEngine& engine, VerifiableEngine* verifiable,
               boost::asio::any_io_executor engine_executor, MirrorOptions options)
    : impl_(std::make_shared<Impl>(std::move(link), engine, verifiable, engine_executor, options)) {}

Mirror::~Mirror() = default;

Task<void> Mirror::run() { return async::on_own_strand(Impl::run(impl_)); }

void Mirror::stop() {
  static_cast<void>(impl_->command([impl = impl_.get()](MirrorMachine& told, core::Instant now) {
    told.stop(now);
    impl->stopping = true;
    return Result<void>{};
  }));
}

namespace {

/// Why dials that go on by themselves have not come through; the machine is told of the last one only.
std::optional<MirrorError> dial_trouble(const CrossClusterLink& link) {
  const auto state = link.state();
  if (state == LinkState::connected) return std::nullopt;
  const auto retries = link.retry_facts();
  const std::uint64_t failed = retries.attempts - (state == LinkState::connecting && retries.attempts > 0 ? 1 : 0);
  return failed > 0 ? retries.last_error : std::nullopt;
}

}  // namespace

MirrorStatus Mirror::status() const {
  MirrorStatus status;
  {
    const std::scoped_lock lock(impl_->guard_);
    status = impl_->machine.status(replication::session_now());
  }
  if (status.kind == StatusKind::Disconnected) {
    if (const auto trouble = dial_trouble(*impl_->link)) status.reason = trouble->message();
  }
  if (const auto detail = impl_->engine->detail(); !detail.empty())
    status.reason += (status.reason.empty() ? "" : "; ") + detail;
  return status;
}

std::optional<std::chrono::microseconds> Mirror::lag() const {
  const std::scoped_lock lock(impl_->guard_);
  return impl_->machine.lag(replication::session_now());
}

MirrorFacts Mirror::facts() const {
  MirrorFacts facts;
  facts.leases = impl_->engine->mirror_state().leases;
  const auto trouble = dial_trouble(*impl_->link);
  const std::scoped_lock lock(impl_->guard_);
  const auto& machine = impl_->machine;
  facts.position = machine.position();
  facts.position_in_doubt = machine.position_in_doubt();
  facts.diverged_from_source = machine.diverged_from_source();
  facts.durable = machine.durable();
  facts.source_head = machine.source_head();
  if (machine.answered_probe_at()) facts.heard_ago = replication::session_now() - *machine.answered_probe_at();
  if (machine.upstream()) facts.source_behind = machine.upstream()->age;
  facts.sync = machine.sync();
  facts.sync_promise = machine.sync_promise();
  facts.received_bytes = machine.received_bytes();
  facts.snapshot_resumed_at = machine.snapshot_resumed_at();
  facts.bootstraps = machine.bootstraps();
  facts.last_snapshot_bytes = machine.last_snapshot_bytes();
  facts.held_bytes = machine.held_bytes();
  if (machine.source()) facts.chain = machine.source()->chain;
  facts.last_error = trouble ? trouble : machine.last_error();
  facts.promoted_from = machine.promoted_from();
  facts.unverified = machine.unverified();
  facts.inconsistent = machine.why_inconsistent();
  const auto& notice = machine.notice();
  facts.window_left_bytes = notice.window_left_bytes;
  if (notice.window_left_ms) facts.window_left_time = std::chrono::milliseconds(*notice.window_left_ms);
  facts.snapshot_queue = notice.snapshot_queue;
  return facts;
}

const CrossClusterLink& Mirror::link() const { return *impl_->link; }

Result<void> Mirror::pause() {
  return impl_->command([](MirrorMachine& told, core::Instant now) { return told.pause(now); });
}
Result<void> Mirror::resume() {
  return impl_->command([](MirrorMachine& told, core::Instant now) { return told.resume(now); });
}
Result<void> Mirror::resync() {
  return impl_->command([](MirrorMachine& told, core::Instant now) { return told.resync(now); });
}
Result<void> Mirror::set_bandwidth(std::uint64_t bytes_per_s) {
  return impl_->command(
      [bytes_per_s](MirrorMachine& told, core::Instant now) { return told.set_bandwidth(bytes_per_s, now); });
}

void Mirror::set_max_lag(std::optional<std::chrono::milliseconds> max_lag) {
  const std::scoped_lock lock(impl_->guard_);
  impl_->machine.set_max_lag(max_lag);
}

bool Mirror::promotion_refused_for_age() const {
  const std::scoped_lock lock(impl_->guard_);
  return impl_->machine.given_up_for_age();
}

Task<Promotion> Mirror::promote(PromotionOptions options) {
  auto work = [](std::shared_ptr<Impl> self, core::PromotionRequest request) -> Task<Promotion> {
    const auto begun =
        self->command([request](MirrorMachine& told, core::Instant now) { return told.promote(now, request); });
    if (!begun) co_return begun.error();
    std::optional<std::uint64_t> mine;
    async::Signal::Heard heard = 0;
    for (;;) {
      {
        const std::scoped_lock lock(self->guard_);
        const auto& machine = self->machine;
        if (!mine) mine = machine.promotions();
        if (mine != machine.promotions()) co_return MirrorError::cancelled("the promotion: another one was begun");
        if (machine.promoted_from()) co_return Promotion{*machine.promoted_from(), machine.age_at_promotion()};
        if (machine.given_up()) co_return *machine.given_up();
        if (self->ended) co_return MirrorError::cancelled("the promotion: the mirror was stopped");
        const auto status = self->machine.status(replication::session_now());
        if (status.kind == StatusKind::Halted)
          co_return MirrorError(ErrorKind::Storage, CausedBy::us, "the promotion failed: " + status.reason);
      }
      const bool woken = co_await self->promotion_ended.wait(heard);
      if (!woken) co_return MirrorError::cancelled("waiting for the promotion");
    }
  };
  return work(impl_, core::PromotionRequest{options.accept_inconsistent, options.lag_max, options.timeout});
}

Task<VerifyResult> Mirror::verify() {
  auto work = [](std::shared_ptr<Impl> self) -> Task<VerifyResult> {
    if (self->verifiable == nullptr) co_return MirrorError::configuration("this engine cannot be verified");
    const auto begun = self->command([](MirrorMachine& told, core::Instant now) { return told.start_verify(now); });
    if (!begun) co_return begun.error();
    async::Signal::Heard heard = 0;
    for (;;) {
      {
        const std::scoped_lock lock(self->guard_);
        if (self->verify_result) co_return *std::exchange(self->verify_result, std::nullopt);
        if (self->ended) co_return MirrorError::cancelled("the verify: the mirror was stopped");
      }
      const bool woken = co_await self->verify_ended.wait(heard);
      if (woken) continue;
      const std::scoped_lock lock(self->guard_);
      self->verify_abandoned = !std::exchange(self->verify_result, std::nullopt);
      co_return MirrorError::cancelled("waiting for the verify");
    }
  };
  return work(impl_);
}

}  // namespace crosslink
