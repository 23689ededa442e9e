// Opening a database, and again where it could not be opened. What was begun is finished first.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>

#include "async/engine_call.hpp"
#include "base/files.hpp"
#include "base/random_id.hpp"
#include "node/hosting/hosting_impl.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds open_every{2000}, open_every_max{60'000};

/// A cluster that does not answer holds up no end of a node; what was begun stays begun.
MirrorError at_next_start() {
  return {ErrorKind::Cancelled, CausedBy::us, "the node stops: what was begun with it is finished at its next start"};
}

}  // namespace

// --- finishing what was begun

/// A cluster that does not answer must not keep a mirror from being deleted.
std::optional<MirrorError> Hosting::Impl::forget(const EngineRequest& request) {
  const auto forgotten = forget_position(request);
  if (forgotten) return std::nullopt;
  const bool in_use = is_in_use(forgotten.error());
  log(in_use ? Severity::info : Severity::warning,
      in_use ? "the record of a mirror stays where it is kept: another node uses it"
             : "the position of a mirror stays where it is kept: another of that name would go on from it",
      {{"database", request.entry.name}, {"message", forgotten.error().message()}});
  return forgotten.error();
}

Result<DeletedDatabase> Hosting::Impl::finish_delete(CatalogEntry entry) {
  // What was promoted after the delete was written down takes writes, and what is another's by now was not meant: it is
  // not removed.
  if (entry.set_aside.empty() && !kept_elsewhere(entry) && (entry.promoted || !look_into(entry))) {
    entry.set_aside = free_set_aside(entry.name);
    auto kept = put(std::move(entry));
    if (!kept) return kept.error();
    entry = *std::move(kept);
  }
  DeletedDatabase deleted;
  deleted.record_left = forget(engine_request(entry));
  if (deleted.record_left && node_stop.stop_requested()) return at_next_start();
  const auto folder = folder_of(entry);
  if (entry.set_aside.empty()) {
    if (auto removed = base::Files().remove_durably(folder); !removed) return removed.error();
  } else {
    deleted.set_aside = set_aside(entry.set_aside);
    if (auto moved = move_aside(folder, entry.set_aside); !moved) return moved.error();
  }
  step("delete.folder_removed");
  if (auto removed = catalog.remove(entry.name); !removed) return removed.error();
  step("delete.done");
  return deleted;
}

/// Again and again: what was moved before a kill is not moved a second time, whatever stands in its place by now.
Result<void> Hosting::Impl::move_aside(const fs::path& folder, const std::string& name) const {
  std::error_code error;
  if (fs::exists(set_aside(name), error) || !fs::exists(folder, error)) return {};
  return base::Files().move(folder, set_aside(name));
}

Result<CatalogEntry> Hosting::Impl::finish_replace(CatalogEntry entry) {
  for (const auto& old : engine_folders(config.data_dir, entry.name)) {
    const bool is_it = entry.moving_from.empty() || config.data_dir / entry.moving_from == old;
    if (!is_it) continue;
    if (auto moved = move_aside(old, entry.set_aside); !moved) return moved.error();
  }
  step("replace.moved");
  // The word for the replacing was also one for what this node promoted itself.
  auto request = engine_request(entry);
  request.entry.promoted = true;
  const auto forgotten = forget(request);  // logged
  if (forgotten && node_stop.stop_requested()) return at_next_start();
  if (forgotten && forgotten->kind() == ErrorKind::MirrorPromoted) return *forgotten;
  step("replace.forgotten");
  entry.change = DatabaseChange::none;
  entry.set_aside.clear();
  entry.moving_from.clear();
  auto kept = put(std::move(entry));
  if (kept) step("replace.done");
  return kept;
}

Result<std::optional<CatalogEntry>> Hosting::Impl::finish_change(CatalogEntry entry) {
  switch (entry.change) {
    case DatabaseChange::none: return std::optional(std::move(entry));
    case DatabaseChange::deleting: {
      if (auto finished = finish_delete(std::move(entry)); !finished) return finished.error();
      return std::optional<CatalogEntry>();
    }
    case DatabaseChange::replacing: {
      auto finished = finish_replace(std::move(entry));
      if (!finished) return finished.error();
      return std::optional(*std::move(finished));
    }
  }
  return std::optional(std::move(entry));
}

// --- opening

/// From here on the engine knows. Without it the bootstrap halts, and says what it takes. What a command made of the
/// entry meanwhile stays.
void Hosting::Impl::agree_to_deletions(const CatalogEntry& entry, const DatabaseEngine& engine) {
  auto noted = engine.agree_to_deletions ? engine.agree_to_deletions(entry.agreed_to_deletions) : Result<void>{};
  if (noted) {
    auto done = entry;
    done.agreed_to_deletions = 0;
    if (const auto kept = catalog.amend(entry, std::move(done)); !kept) noted = kept.error();
  }
  if (!noted)
    log(Severity::warning, "--yes was not noted", {{"mirror", entry.name}, {"message", noted.error().message()}});
}

/// Is it still the database that was to be opened?
bool Hosting::Impl::is_wanted(const CatalogEntry& opened) const {
  auto wanted = catalog.find(opened.name);
  if (!wanted || list.find(opened.name)) return false;
  // What opening it changes.
  wanted->agreed_to_deletions = opened.agreed_to_deletions;
  wanted->made = opened.made;
  wanted->promoted = opened.promoted;
  wanted->followed = opened.followed;
  return *wanted == opened;
}

Result<DatabasePointer> Hosting::Impl::open_database(const CatalogEntry& entry) {
  if (const auto found = refused.find(entry.name); found != refused.end()) return found->second;
  const auto before = look_into(entry);
  if (!before) return before.error();
  const auto request = engine_request(entry);
  auto engine = open_engine(request);
  if (!engine) return engine.error();
  if (!kept_elsewhere(entry)) {
    if (auto noted = note_opened(entry, *before); !noted) return noted.error();
  }
  if (entry.agreed_to_deletions > 0) agree_to_deletions(entry, *engine);
  auto database = std::make_unique<HostedDatabase>(context_now(), request.config, entry, *std::move(engine));
  // The last to let go may be a network thread; closing blocks.
  auto close = [executor = executor_of(entry)](HostedDatabase* closed) {
    boost::asio::post(executor, [closed] {
      const auto event = closed->closed();
      *closed->took_writes() = closed->takes_writes();
      delete closed;  // NOLINT(cppcoreguidelines-owning-memory)
      event->set();
    });
  };
  return DatabasePointer(database.release(), std::move(close));
}

/// A mirror of an older version's making, or one that was found without a catalog, is given one.
Result<CatalogEntry> Hosting::Impl::with_mirror_id(CatalogEntry entry) {
  if (entry.kind != DatabaseKind::mirror || entry.mirror_id != MirrorId{}) return entry;
  entry.mirror_id = base::random_id<MirrorId>();
  return put(std::move(entry));
}

Result<DatabasePointer> Hosting::Impl::open_and_list(CatalogEntry entry) {
  auto identified = with_mirror_id(std::move(entry));
  if (!identified) return identified.error();
  auto opened = open_database(*identified);
  if (!opened) return opened;
  if (auto now = catalog.find(identified->name)) keep_beside(*now);
  list_database(*opened, *identified);
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
  if (database->open_to_any_name() && entry.open_without_list) {
    log(Severity::warning,
        "any name that the CA signed may mirror this database, as in older versions: set allow_mirrors",
        {{"database", entry.name}});
  }
  const std::scoped_lock lock(settings_mutex);
  database->set_allow_mirrors(config_with_settings(entry).allow_mirrors);
  list.add(database);
}

Task<void> Hosting::Impl::blocking(boost::asio::any_io_executor executor,
                                   std::move_only_function<Result<void>()> work) {
  return async::call_engine(std::move(executor), std::move(work));
}

Task<DatabasePointer> Hosting::Impl::opening(const CatalogEntry& entry,
                                             std::move_only_function<Result<DatabasePointer>()> work) {
  return async::call_engine(executor_of(entry), std::move(work));
}

// --- what could not be opened

void Hosting::Impl::note_not_open(const CatalogEntry& entry, const MirrorError& error) {
  if (list.put_not_open({entry.name, entry.index, error}))
    log(Severity::error, "a database is not open", {{"database", entry.name}, {"message", error.message()}});
}

awaitable<void> Hosting::Impl::open_rest(std::shared_ptr<Impl> self) {
  std::map<std::string, Retry> retries;
  for (;;) {
    self->try_rest(retries);
    const bool slept = co_await async::sleep_for(open_every);
    if (!slept) co_return;
  }
}

void Hosting::Impl::try_rest(std::map<std::string, Retry>& retries) {
  const auto now = std::chrono::steady_clock::now();
  for (const auto& one : list.not_open()) {
    const auto entry = catalog.find(one.name);
    if (!entry) {
      list.drop_not_open(one.name);
      continue;
    }
    const auto [known, fresh] = retries.try_emplace(one.name);
    auto& retry = known->second;
    // It was tried a moment ago, unless it was left to this.
    if (fresh && entry->change == DatabaseChange::none) retry.next = now + open_every;
    // A command may be opening what it put in its place, with the same files.
    if (being_opened.contains(one.name) || turns.taken(one.name) || now < retry.next) continue;
    // What is here needs a person more often than patience; a cluster that is away needs patience.
    retry.wait = kept_elsewhere(*entry) ? open_every : std::min(retry.wait * 2, open_every_max);
    retry.next = now + retry.wait;
    being_opened.insert(one.name);
    group->spawn(open_again(shared_from_this(), *entry));
  }
  std::erase_if(retries, [&](const auto& one) { return !list.not_open(one.first); });
}

awaitable<void> Hosting::Impl::open_again(std::shared_ptr<Impl> self, CatalogEntry entry) {
  auto opening = kept_elsewhere(entry) && entry.change == DatabaseChange::none ? open_elsewhere_again(self, entry)
                                                                               : open_here_again(self, entry.name);
  co_await std::move(opening);
  self->being_opened.erase(entry.name);
}

/// Finishes what was begun first. In the database's turn: no other command may touch the folder.
awaitable<void> Hosting::Impl::open_here_again(std::shared_ptr<Impl> self, std::string name) {
  auto taking = self->turns.take(name);
  const auto turn = co_await std::move(taking);
  const auto entry = self->catalog.find(name);
  if (!entry || self->list.find(name)) {
    self->list.drop_not_open(name);
    co_return;
  }
  auto calling = self->opening(*entry, [own = self.get(), wanted = *entry]() -> Result<DatabasePointer> {
    auto settled = own->finish_change(wanted);
    if (!settled) return settled.error();
    return *settled ? own->open_and_list(**std::move(settled)) : Result<DatabasePointer>(DatabasePointer());
  });
  const auto opened = co_await std::move(calling);
  if (!opened) {
    self->note_not_open(*entry, opened.error());
  } else if (*opened) {
    self->start_mirror(*opened);
  } else {
    self->list.drop_not_open(name);
  }
}

/// A cluster that does not answer takes its time: commands do not wait for it.
awaitable<void> Hosting::Impl::open_elsewhere_again(std::shared_ptr<Impl> self, CatalogEntry entry) {
  auto calling = self->opening(entry, [own = self.get(), entry] { return own->open_database(entry); });
  auto opened = co_await std::move(calling);
  auto taking_over = take_over_elsewhere(self, std::move(entry), std::move(opened));
  co_await std::move(taking_over);
}

/// Of what was deleted or replaced meanwhile the engine is not taken.
awaitable<void> Hosting::Impl::take_over_elsewhere(std::shared_ptr<Impl> self, CatalogEntry entry,
                                                   Result<DatabasePointer> opened) {
  auto taking = self->turns.take(entry.name);
  const auto turn = co_await std::move(taking);
  const bool still_wanted = self->is_wanted(entry);
  if (opened && still_wanted) {
    auto keeping = self->blocking(self->context.executors.files, [own = self.get(), entry] {
      own->keep_beside(entry);
      return Result<void>{};
    });
    const auto kept = co_await std::move(keeping);
    static_cast<void>(kept);  // what fails is logged
    self->list_database(*opened, entry);
    self->start_mirror(*opened);
  } else if (still_wanted) {
    self->note_not_open(entry, opened.error());
  } else {
    if (!self->catalog.find(entry.name) || self->list.find(entry.name)) self->list.drop_not_open(entry.name);
    auto dropping = close_dropped(self, entry, std::move(opened));
    co_await std::move(dropping);
  }
}

/// In the database's turn. One that was deleted while it was being opened has a folder again.
awaitable<void> Hosting::Impl::close_dropped(std::shared_ptr<Impl> self, CatalogEntry entry,
                                             Result<DatabasePointer> opened) {
  if (opened) {
    const auto closed = (*opened)->closed();
    *opened = nullptr;
    const bool is_closed = co_await closed->wait();
    if (!is_closed) co_return;
  }
  if (self->catalog.find(entry.name)) co_return;
  auto removing = self->blocking(self->context.executors.files,
                                 [folder = self->folder_of(entry)] { return base::Files().remove_durably(folder); });
  const auto removed = co_await std::move(removing);
  if (removed) co_return;
  log(Severity::warning, "a folder of a database that was deleted stays",
      {{"database", entry.name}, {"message", removed.error().message()}});
}

}  // namespace crosslink::node
