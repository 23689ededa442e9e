#include "replication/served_mirror.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <utility>

#include "async/with_timeout.hpp"
#include "link/software.hpp"
#include "replication/range_digest.hpp"
#include "session/verify_compare.hpp"

namespace crosslink::replication {

namespace action = core::source_action;
using core::SourceSession;

namespace {

constexpr std::uint64_t many_heads = 2;

core::SourceSessionConfig session_config(const DatabaseSourceOptions& options, const AcceptedMirror& mirror,
                                         const SourceEngine& engine) {
  core::SourceSessionConfig config;
  config.window_left = [&engine](Lsn after) { return engine.window_left(after); };
  config.software = link::software;
  config.chain = {options.name};
  if (options.upstream_chain) {
    for (auto& above : options.upstream_chain())
      config.chain.push_back(std::move(above));
  }
  for (const auto& name : mirror.peer_names) {
    for (const auto& named : options.sync_mirrors)
      config.sync_named = config.sync_named || equal_ignoring_case(name, named);
  }
  config.on_sync_loss = options.on_sync_loss;
  config.sync_timeout = options.sync_timeout;
  config.entry_bytes_max = options.entry_bytes_max;
  config.in_flight_bytes_max = options.in_flight_bytes_max;
  return config;
}

std::string mirror_name(const AcceptedMirror& mirror) {
  return mirror.peer_names.front() + "/" + mirror.hello.source_database_id.str();
}
/// Each session has its own: the end of an old one must not let go of what a new one of the same mirror needs.
std::string holder_of(const std::string& mirror) {
  static std::atomic<std::uint64_t> sessions = 0;
  return mirror + "#" + std::to_string(++sessions);
}

}  // namespace

ServedMirror::ServedMirror(Shared shared, AcceptedMirror& mirror, boost::asio::any_io_executor strand,
                           const boost::asio::any_io_executor& engine_executor)
    : shared_(shared),
      mirror_(&mirror),
      peer_names_(mirror.peer_names),
      address_(mirror.connection.remote_address()),
      certificate_not_after_(mirror.connection.peer_certificate_not_after()),
      certificate_serial_(mirror.connection.peer_certificate_serial()),
      mirror_name_(mirror_name(mirror)),
      holder_(holder_of(mirror_name_)),
      strand_(std::move(strand)),
      engine_strand_(boost::asio::make_strand(engine_executor)),
      scan_executor_(shared.options->scan_executor ? shared.options->scan_executor : engine_executor),
      group_(strand_),
      timer_(strand_),
      head_timer_(strand_) {}

core::SourceNow ServedMirror::read_now() const {
  core::SourceNow now{shared_.engine->source_state(), std::nullopt};
  now.upstream_lag = now.state.behind;
  if (now.state.role != DatabaseRole::mirror || !now.upstream_lag) return now;
  const auto upstream = shared_.options->upstream_lag ? shared_.options->upstream_lag() : std::nullopt;
  now.upstream_lag = upstream ? std::optional(*upstream + *now.upstream_lag) : std::nullopt;
  return now;
}

// --- run

Task<void> ServedMirror::run(std::shared_ptr<ServedMirror> self) {
  Result<void> outcome;
  for (;;) {
    auto incoming = co_await self->mirror_->accept_stream();
    if (!incoming) {
      outcome = incoming.error();
      break;
    }
    self->take_in(*std::move(incoming));
  }
  // The end of a connection that the session did not close is not the session's.
  const bool closed_here = self->session_ && self->session_->closed();
  if (self->session_) self->tell([](SourceSession& session, core::Instant now) { session.end(now); });
  self->timer_.cancel();
  for (const auto& [token, stream] : self->streams_)
    stream->drop();
  self->group_.cancel();
  co_await self->group_.drain();
  self->shared_.pins->session_ended(self->holder_);
  if (self->ended_with_ && (closed_here || outcome.error().kind() == ErrorKind::Cancelled))
    co_return *self->ended_with_;
  if (outcome.error().transport_cause() == TransportCause::closed_by_peer &&
      self->mirror_->connection.close_code() == normal_close_code) {
    co_return Result<void>{};
  }
  co_return outcome;
}

void ServedMirror::take_in(IncomingStream incoming) {
  const auto token = ++last_token_;
  const auto now = session_now();
  if (!session_) {
    auto config = session_config(*shared_.options, *mirror_, *shared_.engine);
    config.take_snapshot = [this](core::Instant at) { return shared_.rates->take_snapshot(mirror_name_, at); };
    if (shared_.options->sync_standing) {
      config.sync_standing = [this](const MirrorIdentity& mirror) {
        return shared_.options->sync_standing(peer_names_, mirror);
      };
    }
    config.stall_max = shared_.options->stall_max;
    config.on_stall = [this] { ++shared_.rates->stalled; };
    config.take_verify = [this](core::Instant at) { return shared_.rates->take_verify(mirror_name_, at); };
    session_ = std::make_unique<SourceSession>(std::move(config), [this] { return read_now(); }, token, now);
    static_cast<void>(incoming.stream.send.set_priority(quic::priority_control));  // an end is seen by the reader
  }
  auto stream = std::make_shared<Stream>(token, std::move(incoming.stream));
  streams_.emplace(token, stream);
  group_.spawn(write_frames(shared_from_this(), stream));
  tell([&](SourceSession& session, core::Instant at) {
    session.on_frame(token, incoming.request.kind, incoming.request.payload, at);
  });
  group_.spawn(read_frames(shared_from_this(), std::move(stream)));
}

template <class Tell>
void ServedMirror::tell(Tell&& what) {
  if (session_->closed()) return;
  what(*session_, session_now());
  pump();
  if (!identified_ && session_->mirror()) {
    identified_ = true;
    const std::scoped_lock lock(at_mutex_);
    identity_ = *session_->mirror();
  }
  if (heads_parked_ && session_->wants_head()) resume_heads();
}

void ServedMirror::pump() {
  for (;;) {
    auto actions = session_->take_actions();
    if (actions.empty()) return;
    for (auto& request : actions)
      carry_out(request);
  }
}

void ServedMirror::carry_out(core::SourceAction& request) {
  if (auto* frame = std::get_if<action::Send>(&request)) {
    send(*frame);
  } else if (const auto* end = std::get_if<action::EndStream>(&request)) {
    const auto found = streams_.find(end->stream);
    if (found == streams_.end()) return;
    found->second->drop();
    streams_.erase(found);
  } else if (const auto* closing = std::get_if<action::Close>(&request)) {
    group_.spawn(close(shared_from_this(), *closing));
  } else if (std::holds_alternative<action::CloseSnapshot>(request)) {
    reader_.reset();
  } else if (std::holds_alternative<action::CloseView>(request)) {
    view_.reset();
  } else if (const auto* at = std::get_if<action::MirrorAt>(&request)) {
    {
      const std::scoped_lock lock(at_mutex_);
      at_ = *at;
    }
    if (shared_.options->on_mirror_at) {
      const auto identity = session_->mirror().value_or(MirrorIdentity{});
      shared_.options->on_mirror_at({peer_names_, identity, at->incarnation, at->applied, at->durable});
    }
  } else if (const auto* wake = std::get_if<action::Wake>(&request)) {
    wake_at(wake->at);
  } else {
    const auto* log = std::get_if<action::ReadLog>(&request);
    if (log != nullptr && read_kept(*log)) return;
    group_.spawn(ask(shared_from_this(), std::move(request)));
  }
}

/// A mirror near the head is served from memory, without a turn of an engine's thread. False: ask the engine.
bool ServedMirror::read_kept(const action::ReadLog& question) {
  auto piece = shared_.ring->read_kept(question.after, question.bytes_max, question.zstd);
  if (!piece) return false;
  // The actions that stand behind this one come first.
  boost::asio::post(strand_, [weak = weak_from_this(), asked = question.question, piece = *std::move(piece)]() mutable {
    const auto self = weak.lock();
    if (!self) return;
    self->tell([&](SourceSession& session, core::Instant now) { session.on_log(asked, std::move(piece), now); });
  });
  return true;
}

void ServedMirror::send(action::Send& frame) {
  const auto found = streams_.find(frame.stream);
  if (found == streams_.end()) return;
  SessionStream::Outgoing outgoing;
  outgoing.buffers.emplace_back(std::move(frame.head));
  if (frame.data) {
    outgoing.bulk = true;
    outgoing.buffers.emplace_back(frame.data, std::span(*frame.data).subspan(frame.data_at, frame.data_bytes));
  }
  found->second->send(std::move(outgoing));
}

void ServedMirror::wake_at(core::Instant at) {
  if (timer_at_ && *timer_at_ <= at) return;
  timer_at_ = at;
  timer_.expires_after(at - session_now());
  timer_.async_wait([weak = weak_from_this(), at](boost::system::error_code error) {
    const auto self = weak.lock();
    if (error || !self || self->timer_at_ != at) return;
    self->timer_at_.reset();
    self->tell([](SourceSession& session, core::Instant now) { session.on_time(now); });
  });
}

void ServedMirror::head_moved() {
  ++new_heads_;
  announce_head();
}

void ServedMirror::announce_head() {
  if (head_pending_.exchange(true)) return;
  boost::asio::post(strand_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->tell_head();
  });
}

/// The first commit after a quiet moment goes at once; of a stream of them several go in one batch, which costs both
/// sides a fraction of what one batch for each commit does. A session that is paused, bootstraps or waits for its
/// mirror costs the writer nothing.
void ServedMirror::tell_head() {
  const auto came = new_heads_.exchange(0);
  if (!session_ || !session_->wants_head()) {
    heads_parked_ = true;
    return;
  }
  tell([](SourceSession& session, core::Instant now) { session.on_head({}, now); });
  head_pause_ = came >= many_heads ? std::min(2 * head_pause_, head_pause_max) : head_pause_min;
  head_timer_.expires_after(head_pause_);
  head_timer_.async_wait([weak = weak_from_this()](boost::system::error_code error) {
    const auto self = weak.lock();
    if (!error && self) self->resume_heads();
  });
}

void ServedMirror::resume_heads() {
  heads_parked_ = false;
  head_pending_ = false;
  if (new_heads_ > 0) announce_head();
}

void ServedMirror::end() {
  boost::asio::post(strand_, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    if (!self->session_) return self->mirror_->connection.close(normal_close_code);
    self->tell([](SourceSession& session, core::Instant now) { session.end(now); });
  });
}

ServedMirrorFacts ServedMirror::facts() const {
  const std::scoped_lock lock(at_mutex_);
  return {peer_names_,        identity_, address_, at_.incarnation, at_.applied, at_.durable, certificate_not_after_,
          certificate_serial_};
}

// --- streams

awaitable<void> ServedMirror::write_frames(std::shared_ptr<ServedMirror> self, StreamPointer stream) {
  ++self->writers_;
  const auto token = stream->token();
  auto on_written = [self, token] {
    self->tell([token](SourceSession& session, core::Instant now) { session.on_written(token, now); });
  };
  co_await stream->write_all(std::move(on_written));
  // The close must not overtake the reason for it.
  const bool last_words = self->session_->closed();
  if (last_words) {
    co_await stream->wait_taken();
  }
  --self->writers_;
  self->writer_ended_.notify();
}

awaitable<void> ServedMirror::read_frames(std::shared_ptr<ServedMirror> self, StreamPointer stream) {
  const auto token = stream->token();
  for (;;) {
    auto frame = co_await stream->read();
    if (stream->dropped()) co_return;
    if (!frame) {
      if (self->mirror_->connection.end_reason() || frame.error().kind() == ErrorKind::Cancelled) co_return;
      self->streams_.erase(token);
      stream->finish();
      self->tell([token](SourceSession& session, core::Instant now) { session.on_stream_end(token, now); });
      co_return;
    }
    self->tell(
        [&](SourceSession& session, core::Instant now) { session.on_frame(token, frame->kind, frame->payload, now); });
  }
}

awaitable<void> ServedMirror::close(std::shared_ptr<ServedMirror> self, action::Close request) {
  self->ended_with_ = request.error;
  for (const auto& [token, stream] : self->streams_)
    stream->drop();
  // What was said last, the reason above all, is let out first.
  auto flush = [](std::shared_ptr<ServedMirror> session) -> Task<void> {
    async::Signal::Heard heard = 0;
    while (session->writers_ > 0) {
      const bool woken = co_await session->writer_ended_.wait(heard);
      if (!woken) co_return MirrorError::cancelled("closing a session");
    }
    co_return Result<void>{};
  };
  auto flushing = flush(self);
  auto late = MirrorError::timeout("a session's last frames were not taken in time");
  const auto flushed = co_await async::with_timeout(std::move(flushing), refusal_linger, std::move(late));
  static_cast<void>(flushed);  // it is closed all the same
  self->mirror_->connection.close(request.code);
}

// --- the engine

awaitable<void> ServedMirror::ask(std::shared_ptr<ServedMirror> self, core::SourceAction question) {
  auto* const engine = self->shared_.engine;
  if (const auto* log = std::get_if<action::ReadLog>(&question)) {
    auto work = [ring = self->shared_.ring, log] { return ring->read(log->after, log->bytes_max, log->zstd); };
    auto calling = self->on_engine(std::move(work));
    auto piece = co_await std::move(calling);
    self->tell(
        [&](SourceSession& session, core::Instant now) { session.on_log(log->question, std::move(piece), now); });
  } else if (const auto* proof = std::get_if<action::Prove>(&question)) {
    auto work = [engine, proof] { return engine->prove(proof->last_entry, proof->at); };
    auto calling = self->on_engine(std::move(work));
    auto answer = co_await std::move(calling);
    self->tell([&](SourceSession& session, core::Instant now) { session.on_proof(proof->question, answer, now); });
  } else if (const auto* pin = std::get_if<action::Pin>(&question)) {
    auto work = [session = self.get(), pin] {
      session->shared_.pins->pin(session->mirror_name_, session->holder_, pin->from);
      return true;
    };
    auto calling = self->on_engine(std::move(work));
    co_await std::move(calling);
  } else if (std::holds_alternative<action::Unpin>(question)) {
    auto work = [session = self.get()] {
      session->shared_.pins->unpin(session->mirror_name_, session->holder_);
      return true;
    };
    auto calling = self->on_engine(std::move(work));
    co_await std::move(calling);
  } else if (std::holds_alternative<action::OpenSnapshot>(question) ||
             std::holds_alternative<action::ReadSnapshot>(question)) {
    auto asking = ask_snapshot(self, std::move(question));
    co_await std::move(asking);
  } else {
    auto asking = ask_view(self, std::move(question));
    co_await std::move(asking);
  }
}

awaitable<void> ServedMirror::ask_snapshot(std::shared_ptr<ServedMirror> self, core::SourceAction question) {
  auto* const engine = self->shared_.engine;
  if (const auto* open = std::get_if<action::OpenSnapshot>(&question)) {
    auto work = [engine, open] { return engine->open_snapshot(open->formats, open->wanted); };
    auto calling = self->on_engine(std::move(work));
    auto reader = co_await std::move(calling);
    const auto facts = reader ? Result<SnapshotFacts>((*reader)->facts()) : Result<SnapshotFacts>(reader.error());
    self->tell([&](SourceSession& session, core::Instant now) {
      if (session.on_snapshot(open->question, facts, now)) self->reader_ = *reader;
    });
  } else if (const auto* read = std::get_if<action::ReadSnapshot>(&question)) {
    auto work = [reader = self->reader_, read]() -> Result<SnapshotReader::Piece> {
      if (!reader) return MirrorError::configuration("no snapshot is open");
      return reader->read(read->offset, read->bytes_max);
    };
    auto calling = self->on_engine(std::move(work));
    auto piece = co_await std::move(calling);
    self->tell([&](SourceSession& session, core::Instant now) {
      session.on_snapshot_piece(read->question, std::move(piece), now);
    });
  }
}

awaitable<void> ServedMirror::ask_view(std::shared_ptr<ServedMirror> self, core::SourceAction question) {
  if (const auto* view = std::get_if<action::OpenView>(&question)) {
    auto work = [verifiable = self->shared_.verifiable]() -> Result<std::shared_ptr<const DataView>> {
      if (verifiable == nullptr)
        return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us, "this database cannot be verified");
      return verifiable->view();
    };
    auto calling = self->on_engine(std::move(work));
    auto opened = co_await std::move(calling);
    const auto at = opened ? Result<Lsn>((*opened)->lsn()) : Result<Lsn>(opened.error());
    self->tell([&](SourceSession& session, core::Instant now) {
      if (session.on_view(view->question, at, now)) self->view_ = *opened;
    });
  } else if (const auto* digest = std::get_if<action::DigestRange>(&question)) {
    const auto seen = self->view_;
    if (!seen) co_return;
    auto digesting = digest_in_slices(self->scan_executor_, seen, digest->range, [self] { return self->view_; });
    auto answer = co_await std::move(digesting);
    self->tell([&](SourceSession& session, core::Instant now) { session.on_digest(digest->question, answer, now); });
  } else if (const auto* keys = std::get_if<action::ListKeys>(&question)) {
    const auto seen = self->view_;
    if (!seen) co_return;
    auto work = [seen, range = keys->range] { return core::list_keys(*seen, range); };
    auto calling = async::call_engine(self->scan_executor_, std::move(work));
    auto answer = co_await std::move(calling);
    self->tell([&](SourceSession& session, core::Instant now) { session.on_keys(keys->question, answer, now); });
  }
}

}  // namespace crosslink::replication
