#include "replication/served_mirror.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <variant>

#include "async/with_timeout.hpp"
#include "link/software.hpp"
#include "session/action_queue.hpp"

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
    : SessionDriver(shared.options->scan_executor ? shared.options->scan_executor : engine_executor),
      shared_(shared),
      mirror_(&mirror),
      peer_names_(mirror.peer_names),
      address_(mirror.connection.remote_address()),
      certificate_not_after_(mirror.connection.peer_certificate_not_after()),
      certificate_serial_(mirror.connection.peer_certificate_serial()),
      mirror_name_(mirror_name(mirror)),
      holder_(holder_of(mirror_name_)),
      strand_(std::move(strand)),
      engine_strand_(boost::asio::make_strand(engine_executor)),
      head_timer_(strand_) {
  start(strand_);
  streams_ = std::make_shared<SessionStreams>(mirror.connection);
}

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
  co_await self->wind_up();
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
    drive(*session_);
    static_cast<void>(incoming.stream.send.set_priority(quic::priority_control));  // an end is seen by the reader
  }
  auto stream = std::make_shared<SessionStream>(token, std::move(incoming.stream));
  streams_->add(stream);
  group_->spawn(write_frames(self(), stream));
  on_frame(token, std::move(incoming.request));
  group_->spawn(read_frames(shared_from_this(), streams_, std::move(stream)));
}

void ServedMirror::on_frame(core::StreamToken token, Frame frame) {
  tell([&](SourceSession& session, core::Instant now) { session.on_frame(token, frame.kind, frame.payload, now); });
}

void ServedMirror::on_stream_end(core::StreamToken token, const std::optional<MirrorError>&) {
  tell([token](SourceSession& session, core::Instant now) { session.on_stream_end(token, now); });
}

void ServedMirror::on_told() {
  if (!identified_ && session_->mirror()) {
    identified_ = true;
    const std::scoped_lock lock(at_mutex_);
    identity_ = *session_->mirror();
  }
  if (heads_parked_ && session_->wants_head()) resume_heads();
}

void ServedMirror::carry_out(core::SourceAction& request) {
  const core::Visitor cases{
      [&](action::Send& frame) { send(frame); },
      [&](const action::EndStream& end) { streams_->drop(end.stream); },
      [&](const action::Close& closing) { group_->spawn(close(self(), closing)); },
      [&](const action::MirrorAt& at) { note_mirror_at(at); },
      [&](const action::Wake& wake) { wake_at(wake.at); },
      [&](const action::ReadLog& asked) {
        if (!read_kept(asked)) read_log(asked);
      },
      [&](const action::Prove& asked) { prove(asked); },
      [&](const action::Pin& pin) { hold_log(pin.from); },
      [&](const action::Unpin&) { hold_log(std::nullopt); },
      [&](action::OpenSnapshot& asked) { open_snapshot(asked); },
      [&](const action::ReadSnapshot& asked) { read_snapshot(asked); },
      [&](const action::CloseSnapshot&) { reader_.reset(); },
      [&](const action::OpenView& asked) { open_view(asked); },
      [&](action::DigestRange& asked) { ask_digest(asked.question, std::move(asked.range)); },
      [&](action::ListKeys& asked) { ask_keys(asked.question, std::move(asked.range)); },
      [&](const action::CloseView&) { view_.reset(); },
  };
  std::visit(cases, request);
}

void ServedMirror::note_mirror_at(const action::MirrorAt& at) {
  {
    const std::scoped_lock lock(at_mutex_);
    at_ = at;
  }
  if (!shared_.options->on_mirror_at) return;
  const auto identity = session_->mirror().value_or(MirrorIdentity{});
  shared_.options->on_mirror_at({peer_names_, identity, at.incarnation, at.applied, at.durable});
}

/// A mirror near the head is served from memory, without a turn of an engine's thread. False: ask the engine.
bool ServedMirror::read_kept(const action::ReadLog& question) {
  auto piece = shared_.ring->read_kept(question.after, question.bytes_max, question.zstd);
  if (!piece) return false;
  // The actions that stand behind this one come first.
  boost::asio::post(strand_, [weak = weak(), asked = question.question, piece = *std::move(piece)]() mutable {
    const auto self = weak.lock();
    if (!self) return;
    self->tell([&](SourceSession& session, core::Instant now) { session.on_log(asked, std::move(piece), now); });
  });
  return true;
}

void ServedMirror::send(action::Send& frame) {
  const auto stream = streams_->find(frame.stream);
  if (!stream) return;
  SessionStream::Outgoing outgoing;
  outgoing.buffers.emplace_back(std::move(frame.head));
  if (frame.data) {
    outgoing.bulk = true;
    outgoing.buffers.emplace_back(frame.data, std::span(*frame.data).subspan(frame.data_at, frame.data_bytes));
  }
  stream->send(std::move(outgoing));
}

void ServedMirror::head_moved() {
  ++new_heads_;
  announce_head();
}

void ServedMirror::announce_head() {
  if (head_pending_.exchange(true)) return;
  boost::asio::post(strand_, [weak = weak()] {
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
  head_timer_.async_wait([weak = weak()](boost::system::error_code error) {
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
  boost::asio::post(strand_, [weak = weak()] {
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

awaitable<void> ServedMirror::close(std::shared_ptr<ServedMirror> self, action::Close request) {
  self->ended_with_ = request.error;
  self->streams_->drop_all();
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

void ServedMirror::read_log(const action::ReadLog& question) {
  auto work = [ring = shared_.ring, question] { return ring->read(question.after, question.bytes_max, question.zstd); };
  call(engine_strand_, std::move(work), [asked = question.question](SourceSession& session, auto piece, auto now) {
    session.on_log(asked, std::move(piece), now);
  });
}

void ServedMirror::prove(const action::Prove& question) {
  auto work = [engine = shared_.engine, question] { return engine->prove(question.last_entry, question.at); };
  call(engine_strand_, std::move(work), [asked = question.question](SourceSession& session, auto answer, auto now) {
    session.on_proof(asked, std::move(answer), now);
  });
}

void ServedMirror::hold_log(std::optional<Lsn> from) {
  auto work = [pins = shared_.pins, mirror = mirror_name_, holder = holder_, from] {
    if (from) {
      pins->pin(mirror, holder, *from);
    } else {
      pins->unpin(mirror, holder);
    }
    return from;
  };
  call(engine_strand_, std::move(work), [](SourceSession&, std::optional<Lsn>, core::Instant) {});
}

void ServedMirror::open_snapshot(action::OpenSnapshot& question) {
  const auto asked = question.question;
  auto work = [engine = shared_.engine, question = std::move(question)] {
    return engine->open_snapshot(question.formats, question.wanted);
  };
  call(engine_strand_, std::move(work), [this, asked](SourceSession& session, auto reader, auto now) {
    const auto facts = reader ? Result<SnapshotFacts>((*reader)->facts()) : Result<SnapshotFacts>(reader.error());
    if (session.on_snapshot(asked, facts, now)) reader_ = *reader;
  });
}

void ServedMirror::read_snapshot(const action::ReadSnapshot& question) {
  auto work = [reader = reader_, question]() -> Result<SnapshotReader::Piece> {
    if (!reader) return MirrorError::configuration("no snapshot is open");
    return reader->read(question.offset, question.bytes_max);
  };
  call(engine_strand_, std::move(work), [asked = question.question](SourceSession& session, auto piece, auto now) {
    session.on_snapshot_piece(asked, std::move(piece), now);
  });
}

void ServedMirror::open_view(const action::OpenView& question) {
  auto work = [verifiable = shared_.verifiable]() -> Result<View> {
    if (verifiable == nullptr)
      return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us, "this database cannot be verified");
    return verifiable->view();
  };
  call(engine_strand_, std::move(work), [this, asked = question.question](SourceSession& session, auto view, auto now) {
    const auto at = view ? Result<Lsn>((*view)->lsn()) : Result<Lsn>(view.error());
    if (session.on_view(asked, at, now)) view_ = *view;
  });
}

}  // namespace crosslink::replication
