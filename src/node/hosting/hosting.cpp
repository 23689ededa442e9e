#include "node/hosting/hosting.hpp"

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <set>
#include <utility>

#include "base/files.hpp"
#include "base/random_id.hpp"
#include "node/hosting/hosting_impl.hpp"
#include "node/hosting/private_files.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

constexpr auto look_every = std::chrono::milliseconds(200), again_after = std::chrono::milliseconds(10'000);

/// Drawn once, for whatever is shared with other nodes of this cluster.
Result<std::string> node_id(const NodeConfig& config) {
  constexpr std::uint64_t bytes_max = 256;
  const auto file = config.data_dir / "node.id";
  auto known = base::Files().read_text(file, bytes_max);
  if (!known || !known->empty()) return known;
  auto drawn = fmt::format("{}-{}", config.cluster_id, to_string(base::random_id<SnapshotId>()).substr(0, 8));
  if (auto written = base::Files().replace(file, drawn); !written) return written.error();
  return drawn;
}

/// It has another history than when it was looked at last.
bool begins_history(const HostedDatabase& database, std::map<std::string, Incarnation>& seen) {
  const auto history = database.state().history;
  if (history.empty()) return false;
  const auto newest = history.newest().incarnation;
  return std::exchange(seen[database.name()], newest) != newest;
}

}  // namespace

std::string authorities_in(const quic::TlsFiles& tls) {
  constexpr std::uint64_t bytes_max = 16 * 1024 * 1024;
  const auto read = base::Files().read_text(tls.ca, bytes_max);
  return read ? *read : std::string();
}

// --- running

/// Of a database that takes writes: a mirror's status says it. `with_detail`: those of which something was said last
/// time.
void Hosting::Impl::log_detail(HostedDatabase& database, std::set<std::string>& with_detail) {
  const auto detail = database.engine().source->detail();
  if (!detail.empty() && with_detail.insert(database.name()).second)
    log(Severity::warning, "database detail", {{"database", database.name()}, {"message", detail}});
  if (detail.empty() && with_detail.erase(database.name()) > 0)
    log(Severity::info, "database detail gone", {{"database", database.name()}});
}

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
  std::set<std::string> with_detail, found_promoted;
  std::map<std::string, Incarnation> seen;  // of mirrors that are kept here: a bootstrap begins one
  for (;;) {
    std::erase_if(found_promoted, [&self](const std::string& name) {
      const auto database = self->list.find(name);
      return !database || !database->takes_writes();
    });
    for (const auto& database : self->list.all()) {
      if (auto* const mirror = database->mirror()) {
        mirror->look();
        if (mirror->gives_way()) database->engine().mirror->let_go();
        if (database->local() != nullptr && begins_history(*database, seen))
          self->group->spawn(note_found_data(self, database));
      }
      if (!database->takes_writes()) continue;
      log_detail(*database, with_detail);
      // By another node that follows for it, or by an older version.
      if (database->kind() == DatabaseKind::mirror && found_promoted.insert(database->name()).second)
        self->group->spawn(note_found_promoted(self, database->name()));
    }
    const bool slept = co_await async::sleep_for(look_every);
    if (!slept) co_return;
  }
}

awaitable<void> Hosting::Impl::note_found_data(std::shared_ptr<Impl> self, DatabasePointer database) {
  const auto name = database->name();
  auto noting = self->note_data(std::move(database));
  const auto noted = co_await std::move(noting);
  if (noted) co_return;
  log(Severity::warning, "which data a mirror has is not noted",
      {{"mirror", name}, {"message", noted.error().message()}});
}

awaitable<void> Hosting::Impl::note_followed(std::shared_ptr<Impl> self) {
  using Times = std::map<std::string, std::chrono::steady_clock::time_point>;
  Times last;  // when mirrors of it had a session
  for (;;) {
    bool good = true;
    Times before = std::exchange(last, {});  // what is gone by now is left there
    const auto now = std::chrono::steady_clock::now();
    for (const auto& entry : self->catalog.entries()) {
      if (entry.kind != DatabaseKind::root) continue;  // of others no command asks
      const auto database = self->list.find(entry.name);
      const bool follows = database && database->source().sessions() > 0;
      // What is not open cannot be followed: its mirrors come back when it is.
      const auto known = before.find(entry.name);
      const auto since = follows || !database || known == before.end() ? now : known->second;
      last.emplace(entry.name, since);
      const bool followed = follows || (entry.followed && now - since < followed_for);
      if (followed == entry.followed) continue;
      auto noting = self->note(entry.name, [followed](CatalogEntry& noted) { noted.followed = followed; });
      const auto noted = co_await std::move(noting);
      good = good && noted;  // else it is logged, and tried again
    }
    const bool slept = co_await async::sleep_for(good ? look_every : again_after);
    if (!slept) co_return;
  }
}

awaitable<void> Hosting::Impl::note_found_promoted(std::shared_ptr<Impl> self, std::string name) {
  auto noting = self->note_promoted(name, true);
  const auto noted = co_await std::move(noting);
  static_cast<void>(noted);  // what fails is logged
}

/// Out of the list, sessions ended, and closed: its folder is free then.
awaitable<std::optional<bool>> Hosting::Impl::retire(std::shared_ptr<Impl> self, std::string name) {
  auto database = self->list.take(name);
  if (!database) co_return std::optional(false);
  database->retire();
  if (auto* const mirror = database->mirror()) mirror->mirror().stop();
  database->source().end_sessions();
  const auto closed = database->closed();
  const auto took_writes = database->took_writes();
  database.reset();
  // Its holders are on the way out; the deleter then closes it on an engine thread.
  const bool is_closed = co_await closed->wait();
  co_return is_closed ? std::optional(took_writes->load()) : std::nullopt;
}

// --- the public face

Hosting::Hosting(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Hosting::~Hosting() { impl_->list.clear(); }

Result<std::unique_ptr<Hosting>> Hosting::open(const NodeConfig& config, quic::Endpoint endpoint,
                                               EngineExecutors executors, ClientsMaker make_clients,
                                               StepListener on_step) {
  if (auto made = make_private_folder(config.data_dir); !made) return made.error();
  auto lock = base::FileLock::take(config.data_dir / "node.lock",
                                   fmt::format("{} is open already, by another node", config.data_dir.string()));
  if (!lock) return lock.error();
  auto catalog = Catalog::load(config.data_dir / "catalog.json");
  if (!catalog) return catalog.error();
  auto id = node_id(config);
  if (!id) return id.error();
  HostingContext context{config.cluster_id,   config.data_dir,      config.tls,
                         std::move(endpoint), std::move(executors), config.disconnected_after,
                         config.stall_max,    *std::move(id),       std::move(make_clients)};
  auto impl = std::make_shared<Impl>(config, *std::move(catalog), std::move(context), std::move(on_step));
  impl->folder_lock = *std::move(lock);
  std::unique_ptr<Hosting> hosting(new Hosting(impl));
  // What dry runs left when the node was killed.
  if (auto removed = base::Files().remove_durably(config.data_dir / "asked"); !removed) return removed.error();
  if (auto opened = impl->open_all(); !opened) return opened.error();
  return hosting;
}

std::size_t Hosting::opening() const { return impl_->opening_since_start.size(); }
DatabaseList& Hosting::databases() { return impl_->list; }
const DatabaseList& Hosting::databases() const { return impl_->list; }
const HostingContext& Hosting::context() const { return impl_->context; }
bool Hosting::is_kept_elsewhere(const std::string& name) const {
  const auto entry = impl_->catalog.find(name);
  return entry && kept_elsewhere(*entry);
}
std::string Hosting::place_of(const std::string& name) const {
  const auto entry = impl_->catalog.find(name);
  return entry ? kept_at(impl_->config.data_dir, *entry) : std::string();
}

Task<void> Hosting::run() {
  auto work = [](std::shared_ptr<Impl> self) -> Task<void> {
    auto executor = co_await boost::asio::this_coro::executor;
    self->group.emplace(executor);
    for (const auto& database : self->list.all())
      self->start_mirror(database);
    self->go_on_opening();
    async::TaskGroup looking(executor);
    looking.spawn(Impl::look_at_mirrors(self));
    looking.spawn(Impl::note_followed(self));
    looking.spawn(Impl::open_rest(self));
    const bool stopped = co_await self->stop.wait();
    self->stopping = true;
    looking.cancel();
    // Before anything is waited for: a cluster that hangs holds up no end.
    self->node_stop.request_stop();
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

}  // namespace crosslink::node
