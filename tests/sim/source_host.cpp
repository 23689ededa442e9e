#include "sim/source_host.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "node/hosting/applied_waiters.hpp"
#include "session/verify_compare.hpp"
#include "sim/events.hpp"
#include "wire/compression.hpp"

namespace crosslink::sim {

using namespace core::source_action;

SourceHost::SourceHost(World& world, Oracle& oracle, Database& database, SourceHostConfig config)
    : world_(&world),
      oracle_(&oracle),
      database_(&database),
      config_(std::move(config)),
      writers_(world, database.name(), config_.sync, [this] { return clock(); }) {}

SourceHost::~SourceHost() = default;

void SourceHost::later(Time delay, std::function<void()> what) {
  world_->after(delay, [alive = std::weak_ptr<int>(life_), what = std::move(what)] {
    if (!alive.expired()) what();
  });
}

core::SourceNow SourceHost::read_now() {
  core::SourceNow now{database_->engine().source_state(), core::Duration(0)};
  if (now.state.role == DatabaseRole::mirror) now.upstream_lag = upstream_lag_ ? upstream_lag_() : std::nullopt;
  return now;
}

std::shared_ptr<Connection> SourceHost::accept(const std::string& mirror, const std::string& peer,
                                               Connection::Weather weather, EndCallbacks of_mirror) {
  if (down_) return nullptr;
  // A node without data has nothing to serve.
  if (database_->engine().source_state().history.empty()) return nullptr;
  auto served = std::make_shared<Served>();
  served->mirror = mirror;
  served->peer = peer;
  served->holder = fmt::format("{}#{}", mirror, ++sessions_);
  const Handle handle = served;
  EndCallbacks mine;
  mine.on_frame = [this, handle](Token token, std::uint8_t kind,
                                 std::shared_ptr<const std::vector<std::byte>> payload) {
    if (const auto alive = handle.lock(); alive && alive->session) on_frame(alive, token, kind, payload);
  };
  mine.on_stream_end = [this, handle](Token token) {
    const auto alive = handle.lock();
    if (!alive || !alive->session) return;
    alive->session->on_stream_end(token, clock());
    alive->accounts.erase(token);
    carry_out(alive);
  };
  mine.on_lost = [this, handle] {
    if (const auto alive = handle.lock()) forget(alive);
  };
  served->connection = std::make_shared<Connection>(*world_, weather, std::move(of_mirror), std::move(mine));
  if (config_.of_a_later_version) {
    served->connection->speak_of_the_future();
    world_->happened(event::future);
  }
  core::SourceSessionConfig config;
  config.software = "sim";
  config.chain = config_.chain;
  config.sync_named = writers_.names(peer);
  config.sync_standing = [this, peer](const MirrorIdentity& identity) { return writers_.standing(peer, identity); };
  config.in_flight_bytes_max = config_.in_flight_bytes_max;
  config.bulk_bytes_max = config_.bulk_bytes_max;
  config.window_left = [this](Lsn after) { return database_->engine().window_left(after); };
  served->session = std::make_unique<core::SourceSession>(config, [this] { return read_now(); }, 1, clock());
  served_.push_back(served);
  carry_out(served);
  return served->connection;
}

void SourceHost::on_frame(const std::shared_ptr<Served>& served, Token token, std::uint8_t kind,
                          const std::shared_ptr<const std::vector<std::byte>>& payload) {
  const auto decoded = core::decode_message(kind, *payload);
  served->session->on_frame(token, kind, *payload, clock());
  const auto account = served->accounts.find(token);
  if (decoded && account != served->accounts.end()) {
    if (const auto* log = std::get_if<core::LogAck>(&decoded->message)) account->second.released = log->released_bytes;
    if (const auto* snapshot = std::get_if<core::SnapshotAck>(&decoded->message))
      account->second.released = snapshot->offset;
  }
  carry_out(served);
}

void SourceHost::forget(const std::shared_ptr<Served>& served) {
  served->session.reset();
  unpin(pins_.on_session_end(served->holder, clock()));
  std::erase(served_, served);
}

void SourceHost::count_sent(Served& served, Token token, const std::vector<std::byte>& head, std::size_t data_bytes) {
  std::array<std::byte, frame_header_bytes> header{};
  std::copy_n(head.begin(), header.size(), header.begin());
  const auto kind = decode_frame_header(header).kind;
  std::vector<std::byte> payload(head.begin() + frame_header_bytes, head.end());
  payload.resize(payload.size() + data_bytes);
  const auto decoded = core::decode_message(kind, payload);
  if (!decoded) throw Violation("a source sends what it cannot read itself: " + decoded.error().message());
  if (const auto* failure = std::get_if<core::SessionFailure>(&decoded->message)) {
    if (failure->kind == to_string(ErrorKind::LogWindowExceeded)) on_window_exceeded.at(served.mirror)();
    for (const auto said : {event::window, event::behind, event::diverged, event::origin}) {
      if (failure->kind == said) world_->happened(said);
    }
  }
  auto& account = served.accounts[token];
  if (const auto* begin = std::get_if<core::SnapshotBegin>(&decoded->message)) {
    account.charged = account.released = begin->offset;
    if (begin->offset > 0) world_->happened(event::resumed_snapshot);
  } else if (const auto* batch = std::get_if<core::LogBatch>(&decoded->message)) {
    account.charged += std::max<std::uint64_t>(batch->raw_bytes, data_bytes);
  } else {
    if (std::holds_alternative<core::EntryFragment>(decoded->message)) world_->happened(event::fragments);
    account.charged += data_bytes;
  }
}

void SourceHost::carry_out(const std::shared_ptr<Served>& served, Send& send) {
  auto bytes = std::move(send.head);
  count_sent(*served, send.stream, bytes, send.data ? send.data_bytes : 0);
  const bool bulk = send.data != nullptr;
  if (bulk) {
    const auto data = std::span(*send.data).subspan(send.data_at, send.data_bytes);
    bytes.insert(bytes.end(), data.begin(), data.end());
  }
  served->connection->send(Connection::source, send.stream, std::move(bytes));
  if (!bulk) return;
  later(world_->between(Time(1), Time(500)), [this, handle = Handle(served), token = send.stream] {
    const auto alive = handle.lock();
    if (!alive || !alive->session) return;
    alive->session->on_written(token, clock());
    carry_out(alive);
  });
}

void SourceHost::carry_out(const std::shared_ptr<Served>& served) {
  while (served->session) {
    auto actions = served->session->take_actions();
    if (actions.empty()) return;
    for (auto& action : actions) {
      if (!served->session) return;
      if (auto* send = std::get_if<Send>(&action)) {
        carry_out(served, *send);
      } else if (const auto* end = std::get_if<EndStream>(&action)) {
        // What its reader has taken off the stream by then still comes.
        served->connection->finish(Connection::source, end->stream);
        later(world_->between(Time(0), Time(60'000)), [connection = served->connection, token = end->stream] {
          connection->ignore(Connection::source, token);
        });
        served->accounts.erase(end->stream);
      } else if (const auto* close = std::get_if<Close>(&action)) {
        world_->tell(
            fmt::format("{} closes the session of {}: {}", database_->name(), served->mirror, close->error.message()));
        served->connection->close(Connection::source);
        forget(served);
      } else if (const auto* pin = std::get_if<Pin>(&action)) {
        database_->engine().pin(served->holder, pin->from);
        unpin(pins_.on_pin(served->peer, served->holder, pin->from));
      } else if (std::holds_alternative<Unpin>(action)) {
        unpin(pins_.on_unpin(served->peer, served->holder));
      } else if (std::holds_alternative<CloseSnapshot>(action)) {
        served->reader.reset();
      } else if (std::holds_alternative<CloseView>(action)) {
        served->view.reset();
      } else if (const auto* at = std::get_if<MirrorAt>(&action)) {
        served->applied = at->applied;
        served->incarnation = at->incarnation;
        // Of a mirror nothing is to be confirmed, as at a node.
        const auto state = database_->engine().source_state();
        if (state.role == DatabaseRole::mirror) continue;
        writers_.on_mirror_at(served->peer, served->session->mirror().value_or(MirrorIdentity{}),
                              {at->incarnation, at->durable}, point(state.head));
      } else if (const auto* wake = std::get_if<Wake>(&action)) {
        if (served->wake_at && *served->wake_at <= wake->at) continue;
        served->wake_at = wake->at;
        later(std::max(Time(0), wake->at - clock()), [this, handle = Handle(served), at = wake->at] {
          const auto alive = handle.lock();
          if (!alive || !alive->session || alive->wake_at != at) return;
          alive->wake_at.reset();
          alive->session->on_time(clock());
          carry_out(alive);
        });
      } else {
        ask_engine(served, action);
      }
    }
  }
}

void SourceHost::engine_later(const Handle& handle, std::function<void(Served&)> what) {
  later(world_->between(Time(10), config_.engine_delay_max), [this, handle, what = std::move(what)] {
    const auto alive = handle.lock();
    if (!alive || !alive->session) return;
    what(*alive);
    carry_out(alive);
  });
}

void SourceHost::read_log(Served& served, const ReadLog& ask) {
  auto after = ask.after;
  if (std::exchange(misread_, false)) {
    world_->happened(event::misread);
    // As an engine that answers from elsewhere: some entries further on, or some back.
    const auto state = database_->engine().source_state();
    const bool further = world_->chance(0.5) && ask.after < state.head;
    if (further) after.value = std::min(state.head.value, after.value + 1 + world_->below(3));
    if (!further) after.value = std::max(state.oldest.value, after.value - std::min(after.value, 1 + world_->below(3)));
    world_->tell(fmt::format("{}: the engine reads after LSN {} instead of {}", database_->name(), after.value,
                             ask.after.value));
  }
  auto slice = database_->engine().read_log(after, ask.bytes_max);
  if (!slice) return served.session->on_log(ask.question, slice.error(), clock());
  core::LogPiece piece{*slice, slice->entries, std::string(core::codec_none), 0};
  if (ask.zstd && world_->chance(0.5)) {
    auto packed = core::zstd_compress(*slice->entries);
    if (!packed.empty() && slice->entries->size() <= ask.bytes_max) {
      piece.data = std::make_shared<const std::vector<std::byte>>(std::move(packed));
      piece.codec = core::codec_zstd;
    }
  }
  piece.crc32c = crosslink::crc32c(*piece.data);
  served.session->on_log(ask.question, std::move(piece), clock());
}

void SourceHost::ask_engine(const std::shared_ptr<Served>& served, const core::SourceAction& action) {
  auto& engine = database_->engine();
  if (const auto* log = std::get_if<ReadLog>(&action)) {
    engine_later(served, [this, ask = *log](Served& to) { read_log(to, ask); });
  } else if (const auto* prove = std::get_if<Prove>(&action)) {
    engine_later(served, [this, &engine, ask = *prove](Served& to) {
      to.session->on_proof(ask.question, engine.prove(ask.last_entry, ask.at), clock());
    });
  } else if (const auto* open = std::get_if<OpenSnapshot>(&action)) {
    engine_later(served, [this, &engine, ask = *open](Served& to) {
      auto reader = engine.open_snapshot(ask.formats, ask.wanted);
      const auto facts = reader ? Result<SnapshotFacts>((*reader)->facts()) : Result<SnapshotFacts>(reader.error());
      if (to.session->on_snapshot(ask.question, facts, clock())) to.reader = *reader;
    });
  } else if (const auto* read = std::get_if<ReadSnapshot>(&action)) {
    engine_later(served, [this, ask = *read](Served& to) {
      if (to.reader) to.session->on_snapshot_piece(ask.question, to.reader->read(ask.offset, ask.bytes_max), clock());
    });
  } else if (const auto* view = std::get_if<OpenView>(&action)) {
    engine_later(served, [this, &engine, ask = *view](Served& to) {
      auto opened = engine.view();
      const auto at = opened ? Result<Lsn>((*opened)->lsn()) : Result<Lsn>(opened.error());
      if (to.session->on_view(ask.question, at, clock())) to.view = *opened;
    });
  } else if (const auto* digest = std::get_if<DigestRange>(&action)) {
    engine_later(served, [this, ask = *digest](Served& to) {
      if (to.view) to.session->on_digest(ask.question, core::digest_range(*to.view, ask.range), clock());
    });
  } else if (const auto* keys = std::get_if<ListKeys>(&action)) {
    engine_later(served, [this, ask = *keys](Served& to) {
      if (to.view) to.session->on_keys(ask.question, core::list_keys(*to.view, ask.range), clock());
    });
  }
}

void SourceHost::unpin(const core::PinKeeper::Holders& holders) {
  for (const auto& holder : holders)
    database_->engine().unpin(holder);
}

void SourceHost::head_moved() {
  unpin(pins_.on_time(clock()));
  for (const auto& served : std::vector(served_)) {
    engine_later(served, [this](Served& to) {
      // As a host may that spares itself what the session has no use for: nothing may be missed by it.
      if (to.session->wants_head()) to.session->on_head(database_->engine().source_state().head, clock());
    });
  }
}

void SourceHost::count_mirror(const MirrorId& id) {
  writers_.count(id, point(database_->engine().source_state().head));
}

core::SyncPoint SourceHost::point(Lsn lsn) const {
  return {database_->engine().source_state().history.newest().incarnation, lsn};
}

void SourceHost::lose_tail(bool told) {
  auto& engine = database_->engine();
  const auto head = engine.source_state().head;
  writers_.forget_unsynced();
  test::MemoryFaults(engine).crash();
  database_->changed();
  recovered();
  engine.unclean_stop();
  database_->note_standing();
  world_->happened(event::failed_sync);
  if (engine.source_state().head <= head) world_->happened(event::source_tail);
  if (told) {
    end_sessions();
    history_changed();
  }
}

bool SourceHost::commit(std::size_t big_bytes) {
  if (down_) return false;
  const auto lsn = database_->commit(big_bytes);
  if (!lsn) {
    world_->happened(event::source_disk);
    return false;
  }
  writers_.on_commit(point(*lsn), database_->node());
  if (world_->chance(0.05))
    later(world_->between(Time(0), Time(3'000'000)), [this, at = point(*lsn)] { answer_wait(at); });
  head_moved();
  return true;
}

/// What a client is told who asks how many mirrors have what he wrote.
void SourceHost::answer_wait(core::SyncPoint written) {
  std::vector<ServedMirrorFacts> sessions;
  for (const auto& served : served_) {
    const auto identity = served->session ? served->session->mirror() : std::nullopt;
    sessions.push_back(
        {{served->peer}, identity.value_or(MirrorIdentity{}), {}, served->incarnation, served->applied, {}, {}, {}});
  }
  const auto state = database_->engine().source_state();
  const auto answer = node::mirrors_that_applied(sessions, state.history, state.head, written);
  if (answer > 1) world_->happened(event::waited);
  if (answer > config_.mirrors)
    throw Violation(
        fmt::format("{} answers WAIT with {} mirrors, there are {}", database_->name(), answer, config_.mirrors));
}

void SourceHost::pass_over(std::uint64_t lsns) {
  if (down_) return;
  test::MemoryFaults(database_->engine()).pass_over(lsns);
  database_->note_standing();
  head_moved();
}

void SourceHost::sync() {
  if (down_) return;
  const auto durable = database_->engine().sync();
  if (!durable) return;
  writers_.on_durable(point(*durable));
}

/// Pins hold the log up to the budget; the newest entry stays, however large.
void SourceHost::check_log() {
  auto& engine = database_->engine();
  const auto& options = database_->options();
  if (engine.log_bytes() <= std::max(options.log_window_bytes, options.log_budget_bytes)) return;
  const auto all = engine.read_log(engine.source_state().oldest, engine.log_bytes() + 1);
  if (!all || all->count <= 1) return;
  throw Violation(fmt::format("{} keeps {} bytes of log, over its budget", database_->name(), engine.log_bytes()));
}

void SourceHost::history_changed() { writers_.on_history_change(); }

void SourceHost::jump_clock(Time by) {
  world_->tell(fmt::format("{}: the source's clock jumps by {} ms", database_->name(), by.count() / 1000));
  world_->happened(event::source_clock);
  config_.clock_offset += by;
  writers_.look();
  for (const auto& served : std::vector(served_)) {
    if (!served->session) continue;
    served->session->on_time(clock());
    carry_out(served);
  }
}

void SourceHost::end_sessions() {
  for (const auto& served : std::vector(served_)) {
    if (!served->session) continue;
    served->session->end(clock());
    carry_out(served);
  }
}

void SourceHost::crash(Time idle_timeout) {
  down_ = true;
  life_ = std::make_shared<int>(0);
  for (const auto& served : served_) {
    served->session.reset();
    served->connection->vanish(Connection::source, idle_timeout);
  }
  served_.clear();
  unpin(pins_.on_stop());
  writers_.stop();
}

void SourceHost::restart() {
  if (!std::exchange(down_, false)) return;
  writers_.start();
}

void SourceHost::recovered() {
  const auto* confirmed = writers_.last_confirmed();
  if (confirmed != nullptr && !Oracle::is_ancestor_or_self(confirmed, database_->node()))
    throw Violation(fmt::format("{} lost the commit {}, which it had confirmed", database_->name(), confirmed->marker));
}

void SourceHost::cut_all(Time notice_max) {
  for (const auto& served : std::vector(served_))
    served->connection->cut(notice_max);
}

void SourceHost::check() {
  writers_.check(durable_at);
  check_log();
  for (const auto& served : served_) {
    if (!served->session) continue;
    std::uint64_t in_flight = 0;
    for (const auto& [token, account] : served->accounts)
      in_flight += account.charged - account.released;
    if (served->session->in_flight_bytes() != in_flight) {
      throw Violation(fmt::format("{} believes that {} bytes are in flight to {}, there are {}", database_->name(),
                                  served->session->in_flight_bytes(), served->mirror, in_flight));
    }
    if (in_flight > config_.in_flight_bytes_max + config_.bulk_bytes_max) {
      throw Violation(
          fmt::format("{} has {} bytes in flight to {}, over its cap", database_->name(), in_flight, served->mirror));
    }
  }
}

}  // namespace crosslink::sim
