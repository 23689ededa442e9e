// Which databases there are, by catalog, config and what stands in data_dir; and whose data a folder holds.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/files.hpp"
#include "node/hosting/hosting_impl.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

/// In the folder of a database: what the catalog says of it.
constexpr std::string_view beside_data = "catalog_entry.json";
/// Put into a folder by an operator: what it holds is from now on what the database of that name is to have.
constexpr std::string_view agreed_name = "belongs_here";

struct Beside {
  std::optional<CatalogEntry> entry;
  bool unreadable = false;  ///< there is one, damaged or of a later version
};

Beside read_beside(const fs::path& folder) {
  const auto text = base::Files().read_text(folder / beside_data, Catalog::file_bytes_max);
  if (text && text->empty()) return {};
  auto read = text ? read_catalog_entry(*text) : Result<CatalogEntry>(text.error());
  if (!read) return {std::nullopt, true};
  return {*std::move(read), false};
}

/// For people.
std::string to_text(const Beside& beside, const std::string& name) {
  if (beside.unreadable) return "a catalog_entry.json that cannot be read";
  if (!beside.entry) return "nothing";
  return beside.entry->name == name ? "its own entry" : fmt::format("the entry of {}", beside.entry->name);
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator one(folder, error), end; !error && one != end; one.increment(error)) {
    auto name = one->path().filename().string();
    if (is_database_name(name)) names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

// --- whose data a folder holds

Result<FolderContent> Hosting::Impl::look_into(const CatalogEntry& entry) const {
  FolderContent content;
  if (kept_elsewhere(entry)) return content;
  const auto folder = folder_of(entry);
  auto data = data_id(config.data_dir, entry);
  if (!data) return data.error();
  content.data_id = *std::move(data);
  std::error_code error;
  content.agreed = fs::exists(folder / agreed_name, error);
  if (content.agreed || (!content.data_id.empty() && content.data_id == entry.data_id)) return content;
  const auto not_its_own = [&](const std::string& what) {
    return MirrorError::configuration(fmt::format(
        "{} holds {}: move the folders back to where they belong. If '{}' is to have this data from now on, make an "
        "empty file `{}` in that folder",
        folder.string(), what, entry.name, agreed_name));
  };
  for (const auto& other : catalog.entries()) {
    const bool is_its = !content.data_id.empty() && other.data_id == content.data_id;
    if (is_its && other.name != entry.name) return not_its_own(fmt::format("the data of '{}'", other.name));
  }
  const auto beside = read_beside(folder);
  if (beside.entry && beside.entry->name != entry.name)
    return not_its_own(fmt::format("what belongs to '{}' by its {}", beside.entry->name, beside_data));
  // A root's stays the same; a mirror that bootstraps has other data each time.
  if (entry.kind == DatabaseKind::root && !entry.data_id.empty() && !content.data_id.empty())
    return not_its_own(fmt::format("another database than the one that '{}' was when it was last open", entry.name));
  return content;
}

Result<void> Hosting::Impl::note_opened(const CatalogEntry& opened, const FolderContent& before) {
  auto data = data_id(config.data_dir, opened);
  if (!data) return data.error();
  auto entry = catalog.find(opened.name);
  if (!entry) return {};
  const auto had = *entry;
  entry->made = true;
  entry->data_id = *std::move(data);
  if (*entry != had) {
    const auto kept = put(*entry);
    // On a full disk it is served all the same, and this is noted at the next opening.
    if (!kept && had.made) {
      log(Severity::warning, "the catalog cannot be written: which data a database has is not noted",
          {{"database", entry->name}, {"message", kept.error().message()}});
      return {};
    }
    if (!kept) return kept.error();
  }
  if (!before.agreed) return {};
  log(Severity::warning, "a folder's data is this database's from now on: an operator put belongs_here into it",
      {{"database", entry->name}, {"folder", folder_of(*entry).string()}});
  return base::Files().remove_durably(folder_of(*entry) / agreed_name);
}

Task<void> Hosting::Impl::note_data(DatabasePointer database) {
  // It is not closed, so its folder is its own, as long as this has it.
  auto work = [self = shared_from_this(), database = std::move(database)]() -> Result<void> {
    return self->amend(database->name(), [&](CatalogEntry& entry) -> Result<void> {
      if (entry.change != DatabaseChange::none || kept_elsewhere(entry)) return {};
      auto data = data_id(self->config.data_dir, entry);
      if (!data) return data.error();
      entry.data_id = *std::move(data);
      return {};
    });
  };
  return blocking(context.executors.files, std::move(work));
}

/// The entry, and beside the database's data what makes the catalog anew should it be lost.
Result<CatalogEntry> Hosting::Impl::put(CatalogEntry entry) {
  auto kept = catalog.put(std::move(entry));
  if (!kept || kept->change != DatabaseChange::none) return kept;
  keep_beside(*kept);
  return kept;
}

Result<void> Hosting::Impl::amend(const std::string& name, const std::function<Result<void>(CatalogEntry&)>& change) {
  for (;;) {
    const auto present = catalog.find(name);
    if (!present) return {};
    auto entry = *present;
    if (auto changed = change(entry); !changed) return changed;
    if (entry == *present) return {};
    const auto amended = catalog.amend(*present, entry);
    if (!amended) return amended.error();
    if (!*amended) continue;
    if (entry.change == DatabaseChange::none) keep_beside(entry);
    return {};
  }
}

void Hosting::Impl::keep_beside(const CatalogEntry& entry) const {
  const auto folder = folder_of(entry);
  std::error_code error;
  if (!fs::exists(folder, error)) return;
  const auto text = catalog_entry_text(entry);
  // It is opened more often than it changes.
  if (const auto there = base::Files().read_text(folder / beside_data, Catalog::file_bytes_max);
      there && *there == text)
    return;
  // What stands beside another database's data says whose it is.
  if (!look_into(entry)) return;
  const auto written = base::Files().replace(folder / beside_data, text);
  if (written) return;
  log(Severity::warning, "the copy of a database's catalog entry is not up to date",
      {{"database", entry.name}, {"message", written.error().message()}});
}

// --- which there are

/// Where it is kept is the config's to say as long as it takes writes; a command that made it a mirror goes before.
Result<void> Hosting::Impl::adopt_configured(const DatabaseConfig& wanted) {
  const auto known = catalog.find(wanted.name);
  CatalogEntry entry;
  if (known) entry = *known;
  entry.name = wanted.name;
  entry.configured = true;
  if (entry.kind == DatabaseKind::root) entry.etcd = wanted.etcd;
  if (known && kept_elsewhere(*known) != kept_elsewhere(entry)) {
    refused.insert_or_assign(wanted.name,
                             MirrorError::configuration(fmt::format(
                                 "it is kept at {}, and the config names another engine: a mirror moves it, no config",
                                 kept_at(config.data_dir, *known))));
    return {};
  }
  if (!known) return adopt_new(std::move(entry));
  if (*known == entry) return {};
  if (const auto kept = put(std::move(entry)); !kept) {
    log(Severity::warning, "the catalog cannot be written: what the config says of a database is not kept",
        {{"database", wanted.name}, {"message", kept.error().message()}});
  }
  return {};
}

/// One that the config names and the catalog does not. A folder that is there already is one of a catalog that was
/// lost, or an operator put it there: whether it has the number that clients mean, only clients can tell.
Result<void> Hosting::Impl::adopt_new(CatalogEntry entry) {
  const auto folder = folder_of(entry);
  std::error_code error;
  const bool there = fs::exists(folder, error);
  const auto beside = to_text(read_beside(folder), entry.name);
  entry.made = has_data(entry);
  const auto kept = put(std::move(entry));
  if (!kept) return kept.error();
  if (there) {
    log(Severity::warning,
        "the catalog does not know a database that has a folder: it is what the config says, under a new number",
        {{"database", kept->name}, {"index", fmt::format("{}", kept->index)}, {"beside_its_data", beside}});
  }
  return {};
}

/// Has RocksDB data of ours: `live` is the first thing that a database has of its own.
bool Hosting::Impl::has_data(const CatalogEntry& entry) const {
  std::error_code error;
  return !kept_elsewhere(entry) && fs::exists(folder_of(entry) / "live", error);
}

/// The catalog was lost, or there never was one: what stands beside the data says what each was. All at once, or a kill
/// in between would leave a catalog that lacks the others.
Result<void> Hosting::Impl::adopt_lost() {
  std::vector<CatalogEntry> found;
  for (const auto& folder : {config.data_dir / "databases", config.data_dir / "beside"}) {
    for (const auto& name : names_in(folder)) {
      auto beside = read_beside(folder / name);
      if (beside.entry && folder_of(*beside.entry) == folder / name) found.push_back(*std::move(beside.entry));
    }
  }
  if (found.empty()) return {};
  if (auto adopted = catalog.adopt(found); !adopted) return adopted;
  for (const auto& said : found) {
    const auto entry = catalog.find(said.name).value_or(said);
    log(Severity::warning, "the catalog was lost: a database is taken as it is said beside its data",
        {{"database", entry.name},
         {"kind", std::string(to_string(entry.kind))},
         {"index", fmt::format("{}", entry.index)},
         {"index_before", fmt::format("{}", said.index)}});
  }
  return {};
}

/// Folders that an operator put there, or of a version that kept nothing beside the data: kept as they are. A list of
/// allowed mirrors beside them holds. What was kept in etcd is not known without a catalog.
void Hosting::Impl::adopt_strays() {
  for (const auto& name : names_in(config.data_dir / "databases")) {
    if (catalog.find(name)) continue;
    CatalogEntry entry;
    entry.name = name;
    entry.kind = DatabaseKind::detached;
    entry.made = true;
    const auto beside = read_beside(folder_of(entry));
    if (beside.entry && beside.entry->name == name) entry.allow_mirrors = beside.entry->allow_mirrors;
    // Whosever it was: what the log says of it is all that can be known.
    if (const auto data = data_id(config.data_dir, entry)) entry.data_id = *data;
    const auto kept = put(std::move(entry));
    log(Severity::warning, "a database that the catalog does not know is kept as it is, and follows no source",
        {{"database", name},
         {"index", kept ? fmt::format("{}", kept->index) : std::string("none")},
         {"beside_its_data", to_text(beside, name)}});
    if (!kept) log(Severity::error, "it is not served", {{"database", name}, {"message", kept.error().message()}});
  }
  for (const auto& name : names_in(config.data_dir / "beside")) {
    if (catalog.find(name)) continue;
    const auto folder = config.data_dir / "beside" / name;
    log(Severity::warning, "a folder of a database in etcd that the catalog does not know is left as it is",
        {{"folder", folder.string()}, {"beside_its_data", to_text(read_beside(folder), name)}});
  }
}

/// A table of the config that was renamed makes a new database, and the old one stays: that is said.
void Hosting::Impl::name_unnamed(const std::vector<std::string>& fresh) const {
  const auto entries = catalog.entries();
  for (const auto& entry : entries) {
    const auto named = std::ranges::find(config.databases, entry.name, &DatabaseConfig::name);
    if (entry.kind != DatabaseKind::root || named != config.databases.end()) continue;
    // Of an older version's a command may have made it: only a table that is new may be its own, renamed.
    if (!entry.configured.value_or(!fresh.empty())) continue;
    log(Severity::warning,
        entry.configured ? "the config no longer names a database, which is served all the same; a new name is a new, "
                           "empty database"
                         : "the config does not name a database of an older version's making, which is served all the "
                           "same; if its table was renamed, the new name is a new, empty database",
        {{"database", entry.name}, {"new_and_empty", fresh.empty() ? std::string("none") : joined(fresh, ",")}});
  }
}

Result<void> Hosting::Impl::adopt_databases() {
  if (!catalog.found()) {
    if (auto adopted = adopt_lost(); !adopted) return adopted;
  }
  std::vector<std::string> fresh;
  for (const auto& wanted : config.databases) {
    if (!catalog.find(wanted.name)) fresh.push_back(wanted.name);
    if (auto adopted = adopt_configured(wanted); !adopted) return adopted;
  }
  name_unnamed(fresh);
  adopt_strays();
  return {};
}

}  // namespace crosslink::node
