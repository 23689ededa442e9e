// What operators command: databases and mirrors are made, changed, replaced, promoted and deleted.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "base/files.hpp"
#include "base/random_id.hpp"
#include "node/hosting/hosting_impl.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

MirrorError caller_left() { return MirrorError::cancelled("the command: its caller left before it began"); }

MirrorError no_mirror(std::string_view name) {
  return MirrorError::configuration(fmt::format("database '{}' is no mirror", name));
}

std::string stamp() {
  auto text = utc_text(std::chrono::system_clock::now());
  std::erase_if(text, [](char c) { return c == '-' || c == ':' || c == 'Z'; });
  return text;
}

/// Does `text` end the name of a folder in set-aside (stamp(), and a number where that was taken)?
bool is_stamp(std::string_view text) {
  return text.size() >= 15 && text.find_first_not_of("0123456789T-") == std::string_view::npos && text[8] == 'T';
}

MirrorError node_stops() {
  return {ErrorKind::Busy, CausedBy::us,
          "the node stops, and the database is not closed yet: the rest is done at its next start"};
}

}  // namespace

/// Two replaces of one second must not meet.
std::string Hosting::Impl::free_set_aside(const std::string& name) const {
  const auto wanted = name + "-" + stamp();
  std::error_code error;
  auto free = wanted;
  for (int number = 2; fs::exists(set_aside(free), error); ++number)
    free = fmt::format("{}-{}", wanted, number);
  return free;
}

/// What earlier commands put aside of the name, the oldest first: of a replace that is said again, since its answer was
/// lost, the first one has the data that was meant.
std::vector<std::string> Hosting::Impl::set_aside_before(const std::string& name, const std::string& but) const {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator folders(config.data_dir / "set-aside", error), end; !error && folders != end;
       folders.increment(error)) {
    const auto folder = folders->path().filename().string();
    const bool is_of_it = folder.starts_with(name + "-") && is_stamp(std::string_view(folder).substr(name.size() + 1));
    if (is_of_it && folder != but) found.push_back(folders->path().string());
  }
  std::ranges::sort(found);
  return found;
}

std::vector<std::string> Hosting::set_aside_before(const std::string& name, const std::string& but) const {
  return impl_->set_aside_before(name, but);
}

/// That a command finds no open database of that name.
MirrorError Hosting::Impl::unknown(std::string_view name) const {
  if (const auto known = list.not_open(name))
    return known->reason.with_context(fmt::format("database '{}' is not open", name));
  return MirrorError::configuration(fmt::format("there is no database '{}' here", escape(name, 80)));
}

/// Nothing stands where a database that the catalog does not know would be made.
Result<void> Hosting::Impl::check_free(const std::string& name) const {
  for (const auto& folder : engine_folders(config.data_dir, name)) {
    std::error_code error;
    if (!fs::exists(folder, error) && !error) continue;
    return MirrorError::configuration(
        fmt::format("{} is in the way: it is no database of this node; move it away", folder.string()));
  }
  return {};
}

/// `anew`: its data is lost, and it begins empty under its old number, for the mirrors that its list lets in.
Result<CatalogEntry> Hosting::Impl::plan_database(const std::string& name,
                                                  std::optional<std::vector<std::string>> allow_mirrors,
                                                  bool anew) const {
  CatalogEntry entry;
  entry.name = name;
  entry.allow_mirrors = std::move(allow_mirrors);
  const auto present = catalog.find(name);
  if (!present && anew) return unknown(name);
  if (!present) {
    const auto free = check_free(name);
    return free ? Result<CatalogEntry>(entry) : free.error();
  }
  if (!anew) {
    return list.not_open(name) ? unknown(name)
                               : MirrorError::configuration(fmt::format("database '{}' exists already", name));
  }
  if (present->kind != DatabaseKind::root || kept_elsewhere(*present) || list.find(name) || has_data(*present)) {
    return MirrorError::configuration(
        fmt::format("'{}' cannot begin anew: only a database of this node whose data is gone can", name));
  }
  const auto given = std::move(entry.allow_mirrors);
  entry = *present;
  entry.made = false;
  entry.data_id.clear();
  if (given) entry.allow_mirrors = given;
  return entry;
}

/// The first opening of what a command made: should it fail, nothing of it is left.
Result<DatabasePointer> Hosting::Impl::open_made(const CatalogEntry& entry) {
  auto opened = open_and_list(entry);
  if (opened) return opened;
  const auto emptied = base::Files().remove_durably(folder_of(entry));
  const auto removed = emptied ? catalog.remove(entry.name) : emptied;
  // It could not be taken back either: it is there, and opened as soon as that goes.
  if (!removed) note_not_open(entry, opened.error());
  return opened;
}

/// The first opening of what begins anew: should it fail, it is as it was.
Result<DatabasePointer> Hosting::Impl::open_anew(CatalogEntry entry) {
  auto opened = open_and_list(entry);
  if (opened) return opened;
  entry.made = true;
  if (const auto kept = put(std::move(entry)); !kept)
    log(Severity::error, "the catalog cannot be written", {{"message", kept.error().message()}});
  return opened;
}

Task<void> Hosting::create_database(std::string name, std::optional<std::vector<std::string>> allow_mirrors, bool anew,
                                    CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, std::optional<std::vector<std::string>> allow,
                 bool again, CommandCaller asking) -> Task<void> {
    auto taking = self->take_turn("db create", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    if (!is_new_database_name(wanted)) {
      co_return MirrorError::configuration(
          "a database's name is 1 to 64 of A-Z a-z 0-9 _ . -, begins with no dot and is no number");
    }
    auto planned = self->plan_database(wanted, std::move(allow), again);
    if (!planned) co_return planned.error();
    auto put = self->put(*std::move(planned));
    if (!put) co_return put.error();
    self->step("create.recorded");
    auto calling = self->opening(*put, [own = self.get(), entry = *put, again] {
      return again ? own->open_anew(entry) : own->open_made(entry);
    });
    const auto opened = co_await std::move(calling);
    co_return opened ? Result<void>{} : opened.error();
  };
  return work(impl_, std::move(name), std::move(allow_mirrors), anew, std::move(caller));
}

namespace {

/// What is to be written for `create_mirror`; absent: the very mirror is there already.
Result<std::optional<CatalogEntry>> plan_mirror(const std::optional<CatalogEntry>& present, const std::string& name,
                                                const MirrorSpec& spec, const std::optional<EtcdPlace>& etcd,
                                                bool replace, const std::string& set_aside,
                                                const std::string& moving_from) {
  // A prefix that was not given is the one that the source had when the mirror was made.
  const auto same_place = [&etcd](const std::optional<EtcdPlace>& other) {
    auto wanted = etcd;
    if (wanted && !wanted->prefix && other) wanted->prefix = other->prefix;
    return wanted == other;
  };
  CatalogEntry entry;
  entry.name = name;
  entry.kind = DatabaseKind::mirror;
  entry.mirror = spec;
  entry.mirror_id = base::random_id<MirrorId>();
  entry.etcd = etcd;
  if (!present) return std::optional(std::move(entry));
  if (present->kind == DatabaseKind::mirror && present->mirror == spec && same_place(present->etcd) && !replace) {
    if (!present->promoted) return std::optional<CatalogEntry>();
    return MirrorError::configuration(
        fmt::format("'{}' was promoted and takes writes: it follows no source any more; --replace --yes makes it a "
                    "mirror again, whose data is the source's",
                    name));
  }
  if (!replace) {
    return MirrorError::configuration(
        fmt::format("database '{}' exists already; --replace --yes makes a mirror in its place{}", name,
                    kept_elsewhere(*present) ? "" : " and moves its data aside"));
  }
  entry.allow_mirrors = present->allow_mirrors;
  entry.open_without_list = present->open_without_list;
  entry.change = DatabaseChange::replacing;
  entry.moving_from = moving_from;
  entry.set_aside = set_aside;
  return std::optional(std::move(entry));
}

}  // namespace

/// As the command finds it. Errors: Configuration, as create_mirror.
Result<std::optional<CatalogEntry>> Hosting::Impl::plan_new_mirror(const std::string& name, const MirrorSpec& spec,
                                                                   const std::optional<EtcdPlace>& etcd,
                                                                   bool replace) const {
  const auto present = catalog.find(name);
  if (auto free = present ? Result<void>{} : check_free(name); !free) return free.error();
  if (present && present->change != DatabaseChange::none) return unknown(name);
  return plan_mirror(present, name, spec, etcd, replace, free_set_aside(name),
                     present ? folder_of(*present).lexically_relative(config.data_dir).string() : std::string());
}

Result<MirrorPlace> Hosting::place_for_mirror(const std::string& name, const MirrorSpec& spec,
                                              const std::optional<EtcdPlace>& etcd, bool replace) const {
  const auto planned = impl_->plan_new_mirror(name, spec, etcd, replace);
  if (!planned) return planned.error();
  if (!*planned) return MirrorPlace::same;
  return (*planned)->change == DatabaseChange::replacing ? MirrorPlace::taken : MirrorPlace::free;
}

std::uint64_t Hosting::min_free_bytes(const std::string& name) const {
  CatalogEntry entry;
  entry.name = name;
  return impl_->config_of(entry).min_free_bytes;
}

/// A mirror that a command made, in the place of another database or not. One that takes another's place stays, and is
/// finished as soon as that goes.
Result<DatabasePointer> Hosting::Impl::open_replaced(const CatalogEntry& entry) {
  if (entry.change == DatabaseChange::none) return open_made(entry);
  auto settled = finish_replace(entry);
  auto opened = settled ? open_and_list(*settled) : Result<DatabasePointer>(settled.error());
  if (!opened) note_not_open(settled ? *settled : entry, opened.error());
  return opened;
}

Task<fs::path> Hosting::create_mirror(std::string name, MirrorSpec spec, std::optional<EtcdPlace> etcd, bool replace,
                                      std::int64_t agreed, CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, MirrorSpec chosen, std::optional<EtcdPlace> place,
                 bool replacing, std::int64_t may_delete, CommandCaller asking) -> Task<fs::path> {
    auto taking = self->take_turn("mirror create", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    const auto present = self->catalog.find(wanted);
    auto planned = self->plan_new_mirror(wanted, chosen, place, replacing);
    if (!planned) co_return planned.error();
    if (!*planned) co_return fs::path();
    (*planned)->agreed_to_deletions = kept_elsewhere(**planned) ? may_delete : 0;
    auto put = self->put(**std::move(planned));
    if (!put) co_return put.error();
    self->step("create.recorded");
    fs::path aside;
    if (put->change == DatabaseChange::replacing) {
      // What was kept in an etcd stays there.
      if (present && !kept_elsewhere(*present)) aside = self->set_aside(put->set_aside);
      auto retiring = Impl::retire(self, wanted);
      const auto took_writes = co_await std::move(retiring);
      if (!took_writes) co_return node_stops();
      self->step("replace.closed");
    }
    auto calling = self->opening(*put, [own = self.get(), entry = *put] { return own->open_replaced(entry); });
    auto opened = co_await std::move(calling);
    if (!opened) co_return opened.error();
    self->step("create.opened");
    std::error_code none;
    if (!fs::exists(aside, none)) aside.clear();  // its folder was gone before
    self->start_mirror(*opened);
    std::vector<LogField> fields{{"mirror", wanted}, {"source", chosen.source_name()}};
    if (!aside.empty()) fields.emplace_back("set_aside", aside.string());
    if (const auto before = self->set_aside_before(wanted, aside.filename().string()); !before.empty())
      fields.emplace_back("set_aside_before", joined(before, ","));
    log(Severity::info, "mirror created", fields);
    co_return aside;
  };
  return work(impl_, std::move(name), std::move(spec), std::move(etcd), replace, agreed, std::move(caller));
}

/// What is deleted while the config has a table for it is there again at the next start, empty, and takes writes.
Result<void> Hosting::Impl::check_not_in_config(const std::string& name) const {
  if (!is_in_config(name)) return {};
  return MirrorError::configuration(
      fmt::format("the config has a table for '{}', which would make it anew: take that out first, then SIGHUP", name));
}

/// What keeps a mirror elsewhere may say by now that another node promoted it.
Task<void> Hosting::Impl::look_at_target(std::string name) {
  auto work = [self = shared_from_this(), name = std::move(name)]() -> Result<void> {
    const auto database = self->list.find(name);
    return database && database->engine().check_target ? database->engine().check_target() : Result<void>{};
  };
  return blocking(context.executors.elsewhere, std::move(work));
}

/// What `delete_mirror` writes. What takes writes, or may for all that is known, goes to set-aside and is not removed.
Result<CatalogEntry> Hosting::Impl::plan_delete(const std::string& name, const DeleteOptions& options) const {
  const auto present = catalog.find(name);
  if (!present) return unknown(name);
  if (present->kind == DatabaseKind::root) return no_mirror(name);
  if (present->change == DatabaseChange::replacing) return unknown(name);
  auto entry = *present;
  if (options.keep_data) {
    entry.kind = DatabaseKind::detached;
    return entry;
  }
  if (auto good = check_not_in_config(name); !good) return good.error();
  const auto database = list.find(name);
  const bool promoted = database ? database->takes_writes() : entry.promoted;
  if (promoted && !options.promoted) {
    return MirrorError::configuration(
        fmt::format("'{}' was promoted and takes writes: to delete it all the same say --promoted, which {}", name,
                    kept_elsewhere(entry) ? "leaves its keys where they are" : "moves its data to set-aside"));
  }
  entry.change = DatabaseChange::deleting;
  if (kept_elsewhere(entry)) entry.promoted = promoted;  // --promoted was said for its record, too
  if (entry.set_aside.empty() && (!database || database->takes_writes()) && !kept_elsewhere(entry))
    entry.set_aside = free_set_aside(name);
  return entry;
}

Task<DeletedDatabase> Hosting::delete_mirror(std::string name, DeleteOptions options, CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, DeleteOptions chosen,
                 CommandCaller asking) -> Task<DeletedDatabase> {
    auto taking = self->take_turn("mirror delete", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    auto looking = self->look_at_target(wanted);
    const auto looked = co_await std::move(looking);
    static_cast<void>(looked);  // a cluster that does not answer keeps no mirror from being deleted
    auto planned = self->plan_delete(wanted, chosen);
    if (!planned) co_return planned.error();
    auto deleting = Impl::carry_out_delete(self, *std::move(planned));
    const auto deleted = co_await std::move(deleting);
    if (!deleted) co_return deleted.error();
    log(Severity::info, "mirror deleted",
        {{"mirror", wanted},
         {"data", chosen.keep_data              ? std::string("kept")
                  : !deleted->set_aside.empty() ? deleted->set_aside.string()
                  : deleted->kept_elsewhere     ? std::string("left where it is kept")
                                                : std::string("removed")}});
    co_return *deleted;
  };
  return work(impl_, std::move(name), options, std::move(caller));
}

/// What `delete_database` writes: its data goes to set-aside, whatever it is.
Result<CatalogEntry> Hosting::Impl::plan_delete_root(const std::string& name, bool followed) const {
  const auto present = catalog.find(name);
  if (!present) return unknown(name);
  if (present->kind != DatabaseKind::root)
    return MirrorError::configuration(fmt::format(
        "'{}' is, or was, a mirror, or was found without a word of what it is: `crosslink mirror delete`", name));
  if (present->change != DatabaseChange::none) return unknown(name);
  if (auto good = check_not_in_config(name); !good) return good.error();
  const auto database = list.find(name);
  const auto mirrors = database ? database->source().sessions() : 0;
  if ((mirrors > 0 || present->followed) && !followed) {
    return MirrorError::configuration(fmt::format(
        "{} '{}'{}: to delete it all the same say --followed; they keep what they have",
        mirrors > 0 ? fmt::format("{} mirrors follow", mirrors) : std::string("mirrors followed"), name,
        mirrors > 0 ? " now" : fmt::format(" less than {} s of this node's time ago", followed_for.count())));
  }
  auto entry = *present;
  entry.change = DatabaseChange::deleting;
  entry.set_aside = free_set_aside(name);
  return entry;
}

Task<DeletedDatabase> Hosting::delete_database(std::string name, bool followed, CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, bool agreed,
                 CommandCaller asking) -> Task<DeletedDatabase> {
    auto taking = self->take_turn("db delete", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    auto planned = self->plan_delete_root(wanted, agreed);
    if (!planned) co_return planned.error();
    auto deleting = Impl::carry_out_delete(self, *std::move(planned));
    const auto deleted = co_await std::move(deleting);
    if (!deleted) co_return deleted.error();
    log(Severity::info, "database deleted", {{"database", wanted}, {"data", deleted->set_aside.string()}});
    co_return *deleted;
  };
  return work(impl_, std::move(name), followed, std::move(caller));
}

/// In the database's turn.
Task<DeletedDatabase> Hosting::Impl::carry_out_delete(std::shared_ptr<Impl> self, CatalogEntry planned) {
  auto put = self->put(std::move(planned));
  if (!put) co_return put.error();
  self->step("delete.recorded");
  auto retiring = retire(self, put->name);
  const auto took_writes = co_await std::move(retiring);
  if (!took_writes) co_return node_stops();
  self->step("delete.closed");
  // It may have been promoted meanwhile, or a promotion that was under way was ended. The record that says so in an
  // etcd stays then: no operator asked for that one to be removed.
  if (!kept_elsewhere(*put)) put->promoted = *took_writes;
  const auto deleted = std::make_shared<DeletedDatabase>();
  auto calling =
      self->opening(*put, [own = self.get(), entry = *put, deleted] { return own->finish_or_note(entry, *deleted); });
  const auto finished = co_await std::move(calling);
  if (!finished) co_return finished.error();
  deleted->kept_elsewhere = kept_elsewhere(*put);
  co_return *deleted;
}

/// Null: it is gone, and `deleted` says what of it stays. What fails is done as soon as it goes.
Result<DatabasePointer> Hosting::Impl::finish_or_note(const CatalogEntry& entry, DeletedDatabase& deleted) {
  Result<DatabasePointer> opened{DatabasePointer()};
  if (entry.change == DatabaseChange::deleting) {
    auto finished = finish_delete(entry);
    if (!finished) {
      opened = finished.error();
    } else {
      deleted = *std::move(finished);
    }
  } else {
    opened = open_and_list(entry);
  }
  if (!opened) note_not_open(entry, opened.error());
  if (opened && !*opened) list.drop_not_open(entry.name);
  return opened;
}

Task<void> Hosting::change_mirror(std::string name, MirrorChange request, CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, MirrorChange change,
                 CommandCaller asking) -> Task<void> {
    auto taking = self->take_turn("a change of how it is followed", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    const auto database = self->list.find(wanted);
    const auto present = self->catalog.find(wanted);
    if (!database || !present) co_return self->unknown(wanted);
    auto* const mirror = database->mirror();
    if (mirror == nullptr) co_return no_mirror(wanted);
    auto entry = *present;
    entry.mirror = mirror->spec();
    if (auto planned = change.plan(*entry.mirror); !planned) co_return planned;
    // What is not on disk would be another after a restart: it is not done either.
    if (auto put = self->put(entry); !put) co_return put.error();
    auto told = change.tell(mirror->mirror());
    if (told) {
      mirror->set_spec(*entry.mirror);
    } else if (const auto back = self->put(*present); !back) {
      log(Severity::error, "the catalog cannot be written", {{"message", back.error().message()}});
    }
    co_return told;
  };
  return work(impl_, std::move(name), std::move(request), std::move(caller));
}

Task<void> Hosting::restamp(std::string name, CommandCaller caller) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, CommandCaller asking) -> Task<void> {
    auto taking = self->take_turn("db restamp", wanted, std::move(asking));
    const auto turn = co_await std::move(taking);
    if (!turn) co_return caller_left();
    const auto database = self->list.find(wanted);
    if (!database) co_return self->unknown(wanted);
    if (database->local() == nullptr)
      co_return MirrorError::configuration(fmt::format("database '{}' is not kept here", wanted));
    database->change_history();
    auto calling = self->blocking(self->context.executors.files, [database] { return database->local()->restamp(); });
    const auto stamped = co_await std::move(calling);
    if (stamped) log(Severity::info, "database restamped", {{"database", wanted}});
    co_return stamped;
  };
  return work(impl_, std::move(name), std::move(caller));
}

Task<void> Hosting::count_mirror(std::string name, MirrorId id) {
  auto work = [](std::shared_ptr<Impl> self, std::string wanted, MirrorId chosen) -> Task<void> {
    const auto database = self->list.find(wanted);
    if (!database) co_return self->unknown(wanted);
    auto calling =
        self->blocking(self->context.executors.files, [database, chosen] { return database->count_mirror(chosen); });
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
    if (!database) co_return self->unknown(wanted);
    const auto mirror = database->shared_mirror();
    if (mirror == nullptr) co_return no_mirror(wanted);
    // Before it takes writes: a kill in between must not leave a database that is deleted like a mirror.
    auto noting = self->note_promoted(wanted, true);
    const auto noted = co_await std::move(noting);
    static_cast<void>(noted);  // logged: a failover does not wait for the catalog's disk
    self->step("promote.begun");
    // It may take as long as what keeps the data lets it: pause and resume, which end it, do not wait for that.
    turn.reset();
    auto promoting = mirror->mirror().promote(chosen);
    const auto promoted = co_await std::move(promoting);
    if (!promoted) {
      if (!database->takes_writes()) {
        auto taking_back = self->note_promoted(wanted, false);
        const auto taken_back = co_await std::move(taking_back);
        static_cast<void>(taken_back);  // logged; the worst of it is that a delete asks for a word more
      }
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

Task<void> Hosting::Impl::note_promoted(std::string name, bool promoted) {
  return note(std::move(name), [promoted](CatalogEntry& entry) {
    if (entry.kind == DatabaseKind::mirror) entry.promoted = promoted;
  });
}

/// Durable when it returns. What fails is logged.
Task<void> Hosting::Impl::note(std::string name, std::function<void(CatalogEntry&)> change) {
  auto work = [self = shared_from_this(), name = std::move(name), change = std::move(change)]() -> Result<void> {
    auto noted = self->amend(name, [&change](CatalogEntry& entry) -> Result<void> {
      change(entry);
      return {};
    });
    if (!noted) {
      log(Severity::error, "the catalog cannot be written", {{"database", name}, {"message", noted.error().message()}});
    }
    return noted;
  };
  return blocking(context.executors.files, std::move(work));
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

}  // namespace crosslink::node
