#include "node/hosting.hpp"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "engine/random_id.hpp"
#include "node/durable_file.hpp"
#include "node/hosting_impl.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

constexpr auto look_every = std::chrono::milliseconds(200);

MirrorError unknown_database(std::string_view name) {
  return MirrorError::configuration(fmt::format("there is no database '{}' here", escape(name, 80)));
}

MirrorError caller_left() { return MirrorError::cancelled("the command: its caller left before it began"); }

MirrorError no_mirror(std::string_view name) {
  return MirrorError::configuration(fmt::format("database '{}' is no mirror", name));
}

/// Drawn once, for whatever is shared with other nodes of this cluster.
Result<std::string> node_id(const NodeConfig& config) {
  constexpr std::uint64_t bytes_max = 256;
  const auto file = config.data_dir / "node.id";
  auto known = read_small_file(file, bytes_max);
  if (!known || !known->empty()) return known;
  auto drawn = fmt::format("{}-{}", config.cluster_id, to_string(engine::random_id<SnapshotId>()).substr(0, 8));
  if (auto written = replace_file(file, drawn); !written) return written.error();
  return drawn;
}

std::string stamp() {
  auto text = utc_text(std::chrono::system_clock::now());
  std::erase_if(text, [](char c) { return c == '-' || c == ':' || c == 'Z'; });
  return text;
}

}  // namespace

std::string authorities_in(const quic::TlsFiles& tls) {
  constexpr std::uint64_t bytes_max = 16 * 1024 * 1024;
  const auto read = read_small_file(tls.ca, bytes_max);
  return read ? *read : std::string();
}

// --- running

void Hosting::Impl::start_mirror(const DatabasePointer& database) {
  if (database->mirror() != nullptr && group && !stopping) group->spawn(run_mirror(database));
}

awaitable<void> Hosting::Impl::run_mirror(DatabasePointer database) {
  auto running = database->mirror()->mirror().run();
  const auto ended = co_await std::move(running);
  std::vector<LogField> fields{{"mirror", database->name()}};
  if (!ended) fields.emplace_back("reason", ended.error().message());
  log(Severity::info, "mirror stopped", fields);
}

awaitable<void> Hosting::Impl::look_at_mirrors(std::shared_ptr<Impl> self) {
  for (;;) {
    for (const auto& database : self->list.all()) {
      if (auto* const mirror = database->mirror()) mirror->look();
    }
    const bool slept = co_await link::sleep_for(look_every);
    if (!slept) co_return;
  }
}

/// Out of the list, sessions ended, and closed: its folder is nobody's then.
awaitable<void> Hosting::Impl::retire(std::shared_ptr<Impl> self, std::string name) {
  auto database = self->list.take(name);
  if (!database) co_return;
  database->retire();
  if (auto* const mirror = database->mirror()) mirror->mirror().stop();
  database->source().end_sessions();
  const auto closed = database->closed();
  database.reset();
  // Everybody who holds it is on the way out; the deleter then closes it on an engine thread.
  const bool is_closed = co_await closed->wait();
  static_cast<void>(is_closed);  // false: the node stops, and what is next finds the folder in use
}

// --- the public face

Hosting::Hosting(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Hosting::~Hosting() { impl_->list.clear(); }

Result<std::unique_ptr<Hosting>> Hosting::open(const NodeConfig& config, quic::Endpoint endpoint,
                                               boost::asio::any_io_executor engine_executor, StepListener on_step) {
  if (auto made = make_private_folder(config.data_dir); !made) return made.error();
  auto catalog = Catalog::load(config.data_dir / "catalog.json");
  if (!catalog) return catalog.error();
  auto id = node_id(config);
  if (!id) return id.error();
  HostingContext context{config.cluster_id,          config.data_dir,           config.tls,    std::move(endpoint),
                         std::move(engine_executor), config.disconnected_after, *std::move(id)};
  auto impl = std::make_shared<Impl>(config, *std::move(catalog), std::move(context), std::move(on_step));
  std::unique_ptr<Hosting> hosting(new Hosting(impl));
  if (auto opened = impl->open_all(); !opened) return opened.error();
  return hosting;
}

DatabaseList& Hosting::databases() { return impl_->list; }
std::map<std::string, MirrorError> Hosting::waiting() const {
  const std::scoped_lock lock(impl_->waiting_mutex);
  return impl_->waiting;
}
const HostingContext& Hosting::context() const { return impl_->context; }
bool Hosting::is_kept_elsewhere(const std::string& name) const {
  const auto entry = impl_->catalog.find(name);
  return entry && kept_elsewhere(*entry);
}
std::filesystem::path Hosting::set_aside_folder() const { return impl_->config.data_dir / "set-aside"; }

Task<void> Hosting::run() {
  auto work = [](std::shared_ptr<Impl> self) -> Task<void> {
    auto executor = co_await boost::asio::this_coro::executor;
    self->group.emplace(executor);
    for (const auto& database : self->list.all())
      self->start_mirror(database);
    link::TaskGroup looking(executor);
    looking.spawn(Impl::look_at_mirrors(self));
    looking.spawn(Impl::open_waiting(self));
    const bool stopped = co_await self->stop.wait();
    self->stopping = true;
    looking.cancel();
    for (const auto& database : self->list.all()) {
      if (auto* const mirror = database->mirror()) mirror->mirror().stop();
    }
    co_await looking.drain();
    co_await self->group->drain();
    if (!stopped) co_return MirrorError::cancelled("hosting databases");
    co_return Result<void>{};
  };
  return work(impl_);
}

void Hosting::stop() { impl_->stop.set(); }

// --- commands

Task<void> Hosting::create_database(std::string name, std::optional<std::vector<std::string>> allow_mirrors,
                                    CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, std::optional<std::vector<std::string>> allow,
                 CommandCaller asking) -> Task<void> {
    auto taking = self->take_turn("db create", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    if (!is_new_database_name(wanted)) {
      co_return MirrorError::configuration(
          "a database's name is 1 to 64 of A-Z a-z 0-9 _ . -, begins with no dot and is no number");
    }
    if (self->catalog.find(wanted))
      co_return MirrorError::configuration(fmt::format("database '{}' exists already", wanted));
    CatalogEntry entry;
    entry.name = wanted;
    entry.allow_mirrors = std::move(allow);
    auto put = self->catalog.put(std::move(entry));
    if (!put) co_return put.error();
    self->step("create.recorded");
    auto calling = self->opening([own = self.get(), entry_now = *put] { return own->open_and_list(entry_now); });
    const auto opened = co_await std::move(calling);
    if (opened) co_return Result<void>{};
    static_cast<void>(self->catalog.remove(wanted));  // the first error says more
    co_return opened.error();
  };
  return work(impl_, std::move(name), std::move(allow_mirrors), std::move(caller));
}

namespace {

/// Two replaces of one second must not meet.
std::string free_name(const fs::path& folder, const std::string& wanted) {
  std::error_code error;
  auto name = wanted;
  for (int number = 2; fs::exists(folder / name, error); ++number)
    name = fmt::format("{}-{}", wanted, number);
  return name;
}

/// What is to be written for `create_mirror`; absent: the very mirror is there already.
Result<std::optional<CatalogEntry>> plan_mirror(const std::optional<CatalogEntry>& present, const std::string& name,
                                                const MirrorSpec& spec, const std::optional<EtcdPlace>& etcd,
                                                bool replace, const fs::path& set_aside_folder) {
  CatalogEntry entry;
  entry.name = name;
  entry.kind = DatabaseKind::mirror;
  entry.mirror = spec;
  entry.mirror_id = engine::random_id<MirrorId>();
  entry.etcd = etcd;
  if (!present) return std::optional(std::move(entry));
  if (present->kind == DatabaseKind::mirror && present->mirror == spec && present->etcd == etcd && !replace)
    return std::optional<CatalogEntry>();
  if (!replace) {
    return MirrorError::configuration(fmt::format(
        "database '{}' exists already; --replace --yes moves its data aside and makes a mirror in its place", name));
  }
  entry.allow_mirrors = present->allow_mirrors;
  entry.change = DatabaseChange::replacing;
  entry.set_aside = free_name(set_aside_folder, name + "-" + stamp());
  return std::optional(std::move(entry));
}

}  // namespace

Task<void> Hosting::create_mirror(std::string name, MirrorSpec spec, std::optional<EtcdPlace> etcd, bool replace,
                                  CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, MirrorSpec chosen, std::optional<EtcdPlace> place,
                 bool replacing, CommandCaller asking) -> Task<void> {
    auto taking = self->take_turn("mirror create", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    auto planned =
        plan_mirror(self->catalog.find(wanted), wanted, chosen, place, replacing, self->config.data_dir / "set-aside");
    if (!planned) co_return planned.error();
    if (!*planned) co_return Result<void>{};
    auto put = self->catalog.put(**std::move(planned));
    if (!put) co_return put.error();
    self->step("create.recorded");
    if (put->change == DatabaseChange::replacing) {
      auto retiring = Impl::retire(self, wanted);
      co_await std::move(retiring);
      self->step("replace.closed");
      auto calling = self->blocking([own = self.get(), entry = *put] { return own->finish_replace(entry); });
      const auto moved = co_await std::move(calling);
      if (!moved) co_return moved.error();
      put = *self->catalog.find(wanted);
    }
    auto calling = self->opening([own = self.get(), entry = *put] { return own->open_and_list(entry); });
    auto opened = co_await std::move(calling);
    if (!opened) {
      if (!replacing) static_cast<void>(self->catalog.remove(wanted));  // the first error says more
      co_return opened.error();
    }
    self->step("create.opened");
    self->start_mirror(*opened);
    log(Severity::info, "mirror created", {{"mirror", wanted}, {"source", chosen.source_name()}});
    co_return Result<void>{};
  };
  return work(impl_, std::move(name), std::move(spec), std::move(etcd), replace, std::move(caller));
}

Task<void> Hosting::delete_mirror(std::string name, bool keep_data, CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, bool keep, CommandCaller asking) -> Task<void> {
    auto taking = self->take_turn("mirror delete", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    const auto present = self->catalog.find(wanted);
    if (!present) co_return unknown_database(wanted);
    if (present->kind == DatabaseKind::root) co_return no_mirror(wanted);
    auto entry = *present;
    if (keep) {
      entry.kind = DatabaseKind::detached;
    } else {
      entry.change = DatabaseChange::deleting;
    }
    auto put = self->catalog.put(std::move(entry));
    if (!put) co_return put.error();
    self->step("delete.recorded");
    auto retiring = Impl::retire(self, wanted);
    co_await std::move(retiring);
    self->step("delete.closed");
    log(Severity::info, "mirror deleted", {{"mirror", wanted}, {"data", keep ? "kept" : "removed"}});
    if (!keep) {
      auto calling = self->blocking([own = self.get(), gone = *put] { return own->finish_delete(gone); });
      co_return co_await std::move(calling);
    }
    auto calling = self->opening([own = self.get(), kept = *put] { return own->open_and_list(kept); });
    const auto opened = co_await std::move(calling);
    if (!opened) co_return opened.error();
    co_return Result<void>{};
  };
  return work(impl_, std::move(name), keep_data, std::move(caller));
}

Task<void> Hosting::change_mirror(std::string name,
                                  std::function<Result<void>(MirrorSpec& spec, Mirror& mirror)> change,
                                  CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, auto apply, CommandCaller asking) -> Task<void> {
    auto taking = self->take_turn("a change of how it is followed", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    const auto database = self->list.find(wanted);
    const auto present = self->catalog.find(wanted);
    if (!database || !present) co_return unknown_database(wanted);
    auto* const mirror = database->mirror();
    if (mirror == nullptr) co_return no_mirror(wanted);
    auto spec = mirror->spec();
    if (auto applied = apply(spec, mirror->mirror()); !applied) co_return applied.error();
    auto entry = *present;
    entry.mirror = spec;
    mirror->set_spec(std::move(spec));
    auto put = self->catalog.put(std::move(entry));
    if (!put) co_return put.error();
    co_return Result<void>{};
  };
  return work(impl_, std::move(name), std::move(change), std::move(caller));
}

Task<void> Hosting::restamp(std::string name, CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, CommandCaller asking) -> Task<void> {
    auto taking = self->take_turn("db restamp", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    const auto database = self->list.find(wanted);
    if (!database) co_return unknown_database(wanted);
    if (database->local() == nullptr)
      co_return MirrorError::configuration(fmt::format("database '{}' is not kept here", wanted));
    database->change_history();
    auto calling = self->blocking([database] { return database->local()->restamp(); });
    const auto stamped = co_await std::move(calling);
    if (stamped) log(Severity::info, "database restamped", {{"database", wanted}});
    co_return stamped;
  };
  return work(impl_, std::move(name), std::move(caller));
}

Task<void> Hosting::count_mirror(std::string name, MirrorId id) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, MirrorId chosen) -> Task<void> {
    const auto database = self->list.find(wanted);
    if (!database) co_return unknown_database(wanted);
    auto calling = self->blocking([database, chosen] { return database->count_mirror(chosen); });
    co_return co_await std::move(calling);
  };
  return work(impl_, std::move(name), id);
}

Task<Promotion> Hosting::promote(std::string name, PromotionOptions options, CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, PromotionOptions chosen,
                 CommandCaller asking) -> Task<Promotion> {
    auto taking = self->take_turn("promote", wanted, std::move(asking));
    auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    const auto database = self->list.find(wanted);
    if (!database) co_return unknown_database(wanted);
    const auto mirror = database->shared_mirror();
    if (mirror == nullptr) co_return no_mirror(wanted);
    self->step("promote.begun");
    // It may take as long as what keeps the data lets it: pause and resume, which end it, do not wait for that.
    turn.reset();
    auto promoting = mirror->mirror().promote(chosen);
    const auto promoted = co_await std::move(promoting);
    if (!promoted) {
      log(Severity::warning, "mirror not promoted", {{"mirror", wanted}, {"message", promoted.error().message()}});
      co_return promoted.error();
    }
    self->step("promote.recorded");
    log(Severity::info, "mirror promoted",
        {{"mirror", wanted}, {"lsn", fmt::format("{}", promoted->from.position.applied_lsn.value)}});
    co_return *promoted;
  };
  return work(impl_, std::move(name), options, std::move(caller));
}

awaitable<CommandTurns::Held> Hosting::Impl::take_turn(std::string command, std::string database,
                                                       CommandCaller caller) {
  auto taking = turns.take(database, std::move(caller));
  auto held = co_await std::move(taking);
  if (!held) {
    log(Severity::warning, "a command was dropped: its caller left before it began",
        {{"command", command}, {"database", database}});
  }
  co_return held;
}

/// The link of a mirror here, when what vouched for its source does so no more: it dials anew, and sees.
void Hosting::Impl::judge_source(HostedDatabase& database, bool same_authorities) {
  const auto mirror = database.shared_mirror();
  auto connection = mirror ? mirror->mirror().link().connection() : std::nullopt;
  if (!connection) return;
  if (!same_authorities || connection->peer_certificate_not_after() < std::chrono::system_clock::now())
    connection->close(normal_close_code);
}

/// Why a session of a mirror may not go on; empty: it may, as far as this can be told here.
std::string_view Hosting::Impl::objection(const HostedDatabase& database, const ServedMirrorFacts& served) {
  if (!database.allows(served.peer_names)) return "its name is no longer allowed";
  if (served.certificate_not_after < std::chrono::system_clock::now()) return "its certificate has expired";
  return {};
}

void Hosting::Impl::take_settings(const NodeConfig& fresh) {
  const std::scoped_lock lock(settings_mutex);
  config.databases = fresh.databases;
  config.database_defaults = fresh.database_defaults;
  config.tls = fresh.tls;
  context.tls = fresh.tls;
  auto now = authorities_in(fresh.tls);
  const bool same_authorities = now == std::exchange(authorities, now);
  if (!same_authorities)
    log(Severity::info, "the certificate authorities are others now: all mirrors connect anew", {});
  for (const auto& database : list.all()) {
    const auto entry = catalog.find(database->name());
    if (!entry) continue;
    database->set_allow_mirrors(config_with_settings(*entry).allow_mirrors);
    database->source().end_sessions_unless([&](const ServedMirrorFacts& served) {
      const auto why = objection(*database, served);
      if (!why.empty()) {
        log(Severity::warning, fmt::format("mirror cut: {}", why),
            {{"database", database->name()}, {"mirror", served.peer_names.front()}});
      }
      return why.empty() && same_authorities;
    });
    judge_source(*database, same_authorities);
  }
}

void Hosting::reload(const NodeConfig& config) {
  if (!impl_->stopping) impl_->take_settings(config);
}

}  // namespace crosslink::node
