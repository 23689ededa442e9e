#include "node/hosting/catalog.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "base/files.hpp"
#include "crosslink/types.hpp"
#include "node/config.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

constexpr std::int64_t format_version = 1;

std::string_view change_name(DatabaseChange change) {
  switch (change) {
    case DatabaseChange::none: return "none";
    case DatabaseChange::deleting: return "deleting";
    case DatabaseChange::replacing: return "replacing";
  }
  return "";
}

template <class Kind>
std::optional<Kind> named(std::string_view name, std::initializer_list<Kind> kinds) {
  using node::to_string;
  for (const auto kind : kinds) {
    if (to_string(kind) == name) return kind;
  }
  return std::nullopt;
}

json::object write_spec(const MirrorSpec& spec) {
  return {{"source_cluster", spec.source_cluster},
          {"source_database", spec.source_database},
          {"addresses", spec.addresses},
          {"sync", spec.sync},
          {"congestion", node::to_string(spec.congestion)},
          {"bandwidth_bytes_per_s", spec.bandwidth_bytes_per_s},
          {"resync_when_source_behind", spec.resync_when_source_behind},
          {"paused", spec.paused}};
}

json::object write_entry(const CatalogEntry& entry) {
  json::object written{{"name", entry.name},
                       {"index", entry.index},
                       {"kind", node::to_string(entry.kind)},
                       {"change", change_name(entry.change)},
                       {"set_aside", entry.set_aside},
                       {"moving_from", entry.moving_from},
                       {"made", entry.made},
                       {"data_id", entry.data_id},
                       {"configured", nullptr},
                       {"promoted", entry.promoted},
                       {"agreed_to_deletions", entry.agreed_to_deletions},
                       {"open_without_list", entry.open_without_list},
                       {"followed", entry.followed},
                       {"mirror", nullptr},
                       {"etcd", nullptr},
                       {"allow_mirrors", nullptr}};
  if (entry.configured) written["configured"] = *entry.configured;
  if (entry.mirror) written["mirror"] = write_spec(*entry.mirror);
  if (entry.mirror_id != MirrorId{}) written["mirror_id"] = to_string(entry.mirror_id);
  if (entry.etcd) written["etcd"] = write_etcd_place(*entry.etcd);
  if (entry.allow_mirrors) written["allow_mirrors"] = json::value_from(*entry.allow_mirrors);
  return written;
}

/// Throws what boost::json throws; a value that does not fit is std::invalid_argument.
template <class T>
T must(std::optional<T> value, std::string_view what) {
  if (!value) throw std::invalid_argument(std::string(what));
  return *std::move(value);
}

std::string text_of(const json::object& from, std::string_view key) { return std::string(from.at(key).as_string()); }

MirrorSpec read_spec(const json::object& from) {
  MirrorSpec spec;
  spec.source_cluster = text_of(from, "source_cluster");
  spec.source_database = text_of(from, "source_database");
  spec.addresses = text_of(from, "addresses");
  spec.sync = from.at("sync").as_bool();
  spec.congestion = must(congestion_named(text_of(from, "congestion")), "congestion");
  spec.bandwidth_bytes_per_s = from.at("bandwidth_bytes_per_s").to_number<std::uint64_t>();
  spec.resync_when_source_behind = from.at("resync_when_source_behind").as_bool();
  spec.paused = from.at("paused").as_bool();
  return spec;
}

CatalogEntry read_entry(const json::object& from) {
  CatalogEntry entry;
  entry.name = text_of(from, "name");
  if (!is_database_name(entry.name)) throw std::invalid_argument("name");
  entry.index = from.at("index").to_number<std::uint32_t>();
  entry.kind =
      must(named(text_of(from, "kind"), {DatabaseKind::root, DatabaseKind::mirror, DatabaseKind::detached}), "kind");
  const auto change = text_of(from, "change");
  for (const auto one : {DatabaseChange::deleting, DatabaseChange::replacing}) {
    if (change_name(one) == change) entry.change = one;
  }
  if (change_name(entry.change) != change) throw std::invalid_argument("change");
  entry.set_aside = text_of(from, "set_aside");
  if (entry.set_aside.find('/') != std::string::npos) throw std::invalid_argument("set_aside");
  // Versions that did not say whether it was made made it at once, and let every name in without a list.
  const bool older = !from.contains("made");
  entry.made = older || from.at("made").as_bool();
  entry.open_without_list = older || from.at("open_without_list").as_bool();
  entry.configured.reset();
  if (!older) {
    if (const auto& said = from.at("configured"); !said.is_null()) entry.configured = said.as_bool();
    // Older ones have true or false there: a word without a bound, which is asked for anew.
    const auto& agreed = from.at("agreed_to_deletions");
    entry.agreed_to_deletions = agreed.is_bool() ? 0 : agreed.to_number<std::int64_t>();
    entry.moving_from = text_of(from, "moving_from");
  }
  if (const auto* const promoted = from.if_contains("promoted")) entry.promoted = promoted->as_bool();
  if (const auto* const followed = from.if_contains("followed")) entry.followed = followed->as_bool();
  if (from.contains("data_id")) entry.data_id = text_of(from, "data_id");
  if (!from.at("mirror").is_null()) entry.mirror = read_spec(from.at("mirror").as_object());
  if (entry.kind == DatabaseKind::mirror && !entry.mirror) throw std::invalid_argument("mirror");
  if (const auto* const id = from.if_contains("mirror_id"); id != nullptr) {
    entry.mirror_id = {must(detail::from_hex(std::string_view(id->as_string())), "mirror_id")};
  }
  if (const auto* const place = from.if_contains("etcd"); place != nullptr && !place->is_null()) {
    auto read = read_etcd_place(place->as_object());
    if (!read) throw std::invalid_argument(read.error().message());
    entry.etcd = *std::move(read);
  }
  if (!from.at("allow_mirrors").is_null())
    entry.allow_mirrors = json::value_to<std::vector<std::string>>(from.at("allow_mirrors"));
  return entry;
}

MirrorError too_many() {
  return MirrorError::configuration(fmt::format("a node has at most {} databases", Catalog::databases_max));
}

}  // namespace

std::string catalog_entry_text(const CatalogEntry& entry) {
  return json::serialize(json::object{{"format", format_version}, {"database", write_entry(entry)}});
}

Result<CatalogEntry> read_catalog_entry(std::string_view text) {
  try {
    const auto parsed = json::parse(text);
    const auto& root = parsed.as_object();
    if (root.at("format").as_int64() != format_version) throw std::invalid_argument("format");
    return read_entry(root.at("database").as_object());
  } catch (const std::exception&) {  // boost::json throws; what it says is of its own sources
    return MirrorError::configuration("it is damaged, or of a later version");
  }
}

std::string_view to_string(DatabaseKind kind) {
  switch (kind) {
    case DatabaseKind::root: return "root";
    case DatabaseKind::mirror: return "mirror";
    case DatabaseKind::detached: return "detached";
  }
  return "";
}

std::string_view to_string(quic::CongestionControl congestion) {
  return congestion == quic::CongestionControl::bbr ? "bbr" : "cubic";
}

std::optional<quic::CongestionControl> congestion_named(std::string_view name) {
  return named(name, {quic::CongestionControl::bbr, quic::CongestionControl::cubic});
}

Result<Catalog> Catalog::load(std::filesystem::path file, base::Files files) {
  auto text = files.read_text(file, file_bytes_max);
  if (!text) return text.error();
  Catalog catalog(std::move(file), std::move(files));
  if (text->empty()) return catalog;
  catalog.found_ = true;
  if (auto parsed = catalog.parse(*text); !parsed) return parsed.error();
  return catalog;
}

Result<void> Catalog::parse(std::string_view text) {
  try {
    const auto parsed = json::parse(text);
    const auto& root = parsed.as_object();
    if (root.at("format").as_int64() != format_version) throw std::invalid_argument("format");
    next_index_ = root.at("next_index").to_number<std::uint32_t>();
    for (const auto& one : root.at("databases").as_array())
      entries_.push_back(read_entry(one.as_object()));
  } catch (const std::exception&) {  // boost::json throws; what it says is of its own sources
    return MirrorError::configuration(fmt::format(
        "{} is damaged, or of a later version. If it is damaged, move it away: the node then makes it anew from what "
        "stands beside each database",
        file_.string()));
  }
  std::ranges::sort(entries_, {}, &CatalogEntry::index);
  return {};
}

std::vector<CatalogEntry> Catalog::entries() const {
  const std::scoped_lock lock(*mutex_);
  return entries_;
}

std::optional<CatalogEntry> Catalog::find(std::string_view name) const {
  const std::scoped_lock lock(*mutex_);
  const auto found = std::ranges::find(entries_, name, &CatalogEntry::name);
  return found == entries_.end() ? std::nullopt : std::optional(*found);
}

Result<CatalogEntry> Catalog::put(CatalogEntry entry) {
  const std::scoped_lock lock(*mutex_);
  auto entries = entries_;
  auto next_index = next_index_;
  const auto found = std::ranges::find(entries, entry.name, &CatalogEntry::name);
  if (found != entries.end()) {
    entry.index = found->index;
    *found = entry;
  } else {
    if (entries.size() >= databases_max) return too_many();
    entry.index = next_index++;
    entries.push_back(entry);
  }
  if (auto saved = save(entries, next_index); !saved) return saved.error();
  entries_ = std::move(entries);
  next_index_ = next_index;
  return entry;
}

Result<void> Catalog::adopt(std::vector<CatalogEntry> found) {
  const std::scoped_lock lock(*mutex_);
  auto entries = entries_;
  auto next_index = next_index_;
  for (const auto& entry : found) {
    // An index of a file is not to run over.
    if (entry.index < UINT32_MAX) next_index = std::max(next_index, entry.index + 1);
  }
  for (auto& entry : found) {
    if (std::ranges::find(entries, entry.name, &CatalogEntry::name) != entries.end()) continue;
    if (entries.size() >= databases_max) return too_many();
    const bool taken = std::ranges::find(entries, entry.index, &CatalogEntry::index) != entries.end();
    if (taken || entry.index == UINT32_MAX) entry.index = next_index++;
    entries.push_back(std::move(entry));
  }
  std::ranges::sort(entries, {}, &CatalogEntry::index);
  if (auto saved = save(entries, next_index); !saved) return saved.error();
  entries_ = std::move(entries);
  next_index_ = next_index;
  return {};
}

Result<bool> Catalog::amend(const CatalogEntry& expected, CatalogEntry entry) {
  const std::scoped_lock lock(*mutex_);
  auto entries = entries_;
  const auto found = std::ranges::find(entries, expected.name, &CatalogEntry::name);
  if (found == entries.end() || *found != expected) return false;
  *found = std::move(entry);
  if (auto saved = save(entries, next_index_); !saved) return saved.error();
  entries_ = std::move(entries);
  return true;
}

Result<void> Catalog::remove(std::string_view name) {
  const std::scoped_lock lock(*mutex_);
  auto entries = entries_;
  std::erase_if(entries, [name](const CatalogEntry& entry) { return entry.name == name; });
  if (auto saved = save(entries, next_index_); !saved) return saved;
  entries_ = std::move(entries);
  return {};
}

Result<void> Catalog::save(const std::vector<CatalogEntry>& entries, std::uint32_t next_index) const {
  json::array written;
  for (const auto& entry : entries)
    written.push_back(write_entry(entry));
  const json::object root{{"format", format_version}, {"next_index", next_index}, {"databases", std::move(written)}};
  return files_.replace(file_, json::serialize(root));
}

}  // namespace crosslink::node
