// Which databases there are, and opening them: at the start, and again where what keeps one does not answer.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <vector>

#include "engine/random_id.hpp"
#include "link/engine_call.hpp"
#include "node/durable_file.hpp"
#include "node/hosting_impl.hpp"
#include "node/log.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

constexpr auto open_every = std::chrono::seconds(2);

}  // namespace

DatabaseConfig Hosting::Impl::config_of(const CatalogEntry& entry) const {
  const std::scoped_lock lock(settings_mutex);
  return config_with_settings(entry);
}

DatabaseConfig Hosting::Impl::config_with_settings(const CatalogEntry& entry) const {
  const auto found = std::ranges::find(config.databases, entry.name, &DatabaseConfig::name);
  if (found != config.databases.end()) return *found;
  auto chosen = config.database_defaults;
  chosen.name = entry.name;
  if (entry.allow_mirrors) chosen.allow_mirrors = entry.allow_mirrors;
  return chosen;
}

/// Where it is kept is the config's to say as long as it takes writes; a command that made it a mirror goes before.
Result<void> Hosting::Impl::adopt_configured(const DatabaseConfig& wanted) {
  const auto known = catalog.find(wanted.name);
  if (known && (known->kind != DatabaseKind::root || known->etcd == wanted.etcd)) return {};
  CatalogEntry entry;
  if (known) entry = *known;
  entry.name = wanted.name;
  entry.etcd = wanted.etcd;
  if (known && kept_elsewhere(*known) != kept_elsewhere(entry)) {
    return MirrorError::configuration(
        fmt::format("database {} is kept at {}, and the config names another engine: a mirror moves it, no config",
                    wanted.name, kept_at(config.data_dir, *known)));
  }
  const auto put = catalog.put(std::move(entry));
  return put ? Result<void>{} : put.error();
}

/// What the config names, and folders that the catalog does not know: it was lost then, and is made anew from them.
Result<void> Hosting::Impl::adopt_databases() {
  for (const auto& wanted : config.databases) {
    if (auto adopted = adopt_configured(wanted); !adopted) return adopted;
  }
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator one(config.data_dir / "databases", error), end; !error && one != end;
       one.increment(error))
    names.push_back(one->path().filename().string());
  std::ranges::sort(names);
  for (const auto& name : names) {
    if (!is_database_name(name) || catalog.find(name)) continue;
    log(Severity::warning, "a database that the catalog does not know is kept, and follows nobody",
        {{"database", name}});
    CatalogEntry entry;
    entry.name = name;
    entry.kind = DatabaseKind::detached;
    if (auto put = catalog.put(entry); !put) return put.error();
  }
  return {};
}

Result<void> Hosting::Impl::open_all() {
  if (auto adopted = adopt_databases(); !adopted) return adopted;
  const auto entries = catalog.entries();
  for (const auto& entry : entries) {
    if (entry.change == DatabaseChange::deleting) {
      log(Severity::info, "finishing a delete", {{"database", entry.name}});
      if (auto finished = finish_delete(entry); !finished) return finished;
    } else if (entry.change == DatabaseChange::replacing) {
      log(Severity::info, "finishing a replace", {{"database", entry.name}});
      if (auto finished = finish_replace(entry); !finished) return finished;
    }
  }
  const auto left = catalog.entries();
  for (const auto& entry : left) {
    const auto opened = open_and_list(entry);
    if (opened) continue;
    // One cluster that does not answer keeps no other database from being served.
    if (!kept_elsewhere(entry) || opened.error().kind() == ErrorKind::Configuration) return opened.error();
    note_waiting(entry.name, opened.error());
  }
  return {};
}

void Hosting::Impl::note_waiting(const std::string& name, const MirrorError& error) {
  const std::scoped_lock lock(waiting_mutex);
  const auto [place, fresh] = waiting.insert_or_assign(name, error);
  if (fresh) log(Severity::error, "a database is not open yet", {{"database", name}, {"message", error.message()}});
}

void Hosting::Impl::note_open(const std::string& name) {
  const std::scoped_lock lock(waiting_mutex);
  waiting.erase(name);
}

/// A cluster that does not answer must not keep a mirror from being deleted.
void Hosting::Impl::forget(const EngineWish& wish) {
  const auto forgotten = forget_position(wish);
  if (forgotten) return;
  log(Severity::warning, "the position of a mirror stays where it is kept: another of that name would go on from it",
      {{"database", wish.entry.name}, {"message", forgotten.error().message()}});
}

Result<void> Hosting::Impl::finish_delete(const CatalogEntry& entry) {
  forget(engine_wish(entry));
  if (auto removed = remove_folder(folder_of(entry)); !removed) return removed;
  step("delete.folder_removed");
  if (auto removed = catalog.remove(entry.name); !removed) return removed;
  step("delete.done");
  return {};
}

Result<void> Hosting::Impl::finish_replace(CatalogEntry entry) {
  // What was there may be of either kind.
  for (const auto& old : engine_folders(config.data_dir, entry.name)) {
    std::error_code error;
    if (!fs::exists(old, error)) continue;
    if (auto moved = move_folder(old, set_aside(entry.set_aside)); !moved) return moved;
  }
  step("replace.moved");
  forget(engine_wish(entry));
  entry.change = DatabaseChange::none;
  entry.set_aside.clear();
  if (auto put = catalog.put(std::move(entry)); !put) return put.error();
  step("replace.done");
  return {};
}

Result<DatabasePointer> Hosting::Impl::open_database(const CatalogEntry& entry) {
  const auto wish = engine_wish(entry);
  auto engine = open_engine(wish);
  if (!engine) return engine.error();
  auto database = std::make_unique<HostedDatabase>(context_now(), wish.config, entry, *std::move(engine));
  // The last to let go may be a network thread; closing blocks.
  auto close = [executor = context.engine_executor](HostedDatabase* closed) {
    boost::asio::post(executor, [closed] {
      const auto event = closed->closed();
      delete closed;  // NOLINT(cppcoreguidelines-owning-memory)
      event->set();
    });
  };
  return DatabasePointer(database.release(), std::move(close));
}

Result<DatabasePointer> Hosting::Impl::open_and_list(CatalogEntry entry) {
  // A mirror of an older version's making, or one that was found without a catalog.
  if (entry.kind == DatabaseKind::mirror && entry.mirror_id == MirrorId{}) {
    entry.mirror_id = engine::random_id<MirrorId>();
    auto put = catalog.put(std::move(entry));
    if (!put) return put.error();
    entry = *std::move(put);
  }
  auto opened = open_database(entry);
  if (opened) list_database(*opened, entry);
  return opened;
}

void Hosting::Impl::list_database(const DatabasePointer& database, const CatalogEntry& entry) {
  const auto state = database->state();
  std::vector<LogField> fields{{"database", entry.name},
                               {"role", std::string(to_string(state.role))},
                               {"head_lsn", fmt::format("{}", state.head.value)},
                               {"kept_at", database->engine().kept_at}};
  if (entry.mirror) fields.emplace_back("source", entry.mirror->source_name());
  log(Severity::info, "database open", fields);
  if (database->open_to_any_name()) {
    log(Severity::warning, "any name that the CA signed may mirror this database: set allow_mirrors",
        {{"database", entry.name}});
  }
  const std::scoped_lock lock(settings_mutex);
  database->set_allow_mirrors(config_with_settings(entry).allow_mirrors);
  list.add(database);
}

Task<void> Hosting::Impl::blocking(std::move_only_function<Result<void>()> work) {
  return link::call_engine(context.engine_executor, std::move(work));
}

Task<DatabasePointer> Hosting::Impl::opening(std::move_only_function<Result<DatabasePointer>()> work) {
  return link::call_engine(context.engine_executor, std::move(work));
}

// --- what could not be opened

awaitable<void> Hosting::Impl::open_waiting(std::shared_ptr<Impl> self) {
  for (;;) {
    const bool slept = co_await link::sleep_for(open_every);
    if (!slept) co_return;
    std::vector<CatalogEntry> entries;
    {
      const std::scoped_lock lock(self->waiting_mutex);
      for (const auto& [name, error] : self->waiting) {
        if (auto entry = self->catalog.find(name)) entries.push_back(*std::move(entry));
      }
    }
    for (auto& entry : entries) {
      auto opening = open_one_waiting(self, std::move(entry));
      co_await std::move(opening);
    }
  }
}

/// A cluster that does not answer takes its time: commands do not wait for it.
awaitable<void> Hosting::Impl::open_one_waiting(std::shared_ptr<Impl> self, CatalogEntry entry) {
  auto calling = self->opening([own = self.get(), entry] { return own->open_database(entry); });
  auto opened = co_await std::move(calling);
  const auto turn = co_await self->turns.take(entry.name);
  const auto wanted = self->catalog.find(entry.name);
  const bool still_wanted = wanted && *wanted == entry && !self->list.find(entry.name);
  if (opened && still_wanted) {
    self->list_database(*opened, entry);
    self->start_mirror(*opened);
  }
  if (opened || !still_wanted) {
    self->note_open(entry.name);
  } else {
    self->note_waiting(entry.name, opened.error());
  }
}

}  // namespace crosslink::node
