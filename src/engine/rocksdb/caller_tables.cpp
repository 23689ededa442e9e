#include "engine/rocksdb/caller_tables.hpp"

#include <fmt/format.h>
#include <rocksdb/table_properties.h>
#include <rocksdb/transaction_log.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>
#include <vector>

#include "engine/rocksdb/snapshot_store.hpp"

namespace crosslink::rocks {
namespace {

constexpr const char* ingested_property = "rocksdb.external_sst_file.version";
constexpr std::size_t tables_bytes_max = 64 * 1024 * 1024;
constexpr std::string_view format_line = "crosslink tables 1";

std::uint64_t version_of(rocksdb::DB& database) {
  std::uint64_t version = 0;
  database.GetIntProperty(rocksdb::DB::Properties::kCurrentSuperVersionNumber, &version);
  return version;
}

/// What the log still in use begins after: a table has it all.
Lsn flushed_in(rocksdb::DB& database) {
  const Lsn head{database.GetLatestSequenceNumber()};
  rocksdb::VectorLogPtr files;
  if (!database.GetSortedWalFiles(files).ok()) return {};
  for (const auto& file : files) {
    if (file->Type() == rocksdb::kAliveLogFile && file->StartSequence() > 0)
      return std::min(head, Lsn{file->StartSequence() - 1});
  }
  return head;
}

/// Takes a line off the front.
std::string_view line_of(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const auto line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<std::map<std::uint64_t, CallerTable>> list_tables(rocksdb::DB& database) {
  std::map<std::uint64_t, CallerTable> tables;
  rocksdb::ColumnFamilyMetaData family;
  database.GetColumnFamilyMetaData(&family);
  for (const auto& level : family.levels) {
    for (const auto& file : level.files)
      tables[file.file_number] = {level.level, Lsn{file.smallest_seqno}, false, {}, {}, 0};
  }
  rocksdb::TablePropertiesCollection properties;
  const auto read = database.GetPropertiesOfAllTables(&properties);
  if (!read.ok()) return storage_error("reading what the tables hold", read);
  for (const auto& [path, of] : properties) {
    const auto found = tables.find(number_of_table(path));
    if (found == tables.end()) continue;  // made since, of what the others held
    found->second.was_ingested = of->user_collected_properties.contains(ingested_property);
    found->second.session = of->db_session_id;
    found->second.compression = of->compression_name;
    found->second.merge_operands = of->num_merge_operands;
  }
  return tables;
}

Result<void> check_tables(const std::map<std::uint64_t, CallerTable>& tables) {
  for (const auto& [number, table] : tables) {
    if (table.merge_operands == 0) continue;
    return unsupported(
        fmt::format("table {:06} holds {} operands of merges, which only your own program can resolve: compact all of "
                    "the database with its merge operator (bottommost_level_compaction = kForce), and merge no more",
                    number, table.merge_operands));
  }
  return {};
}

Result<void> check_families(rocksdb::DB& database) {
  std::vector<std::string> families;
  const auto listed = rocksdb::DB::ListColumnFamilies(database.GetDBOptions(), database.GetName(), &families);
  if (!listed.ok()) return storage_error("listing column families", listed);
  if (families.size() == 1) return {};
  return unsupported(fmt::format("of {} column families only the default one can be mirrored", families.size()));
}

std::string files_format(rocksdb::DB& database, const std::map<std::uint64_t, CallerTable>& tables) {
  const auto family = database.GetOptions(database.DefaultColumnFamily());
  // Values in files of their own are no part of the files that travel.
  std::uint64_t blob_files = 0;
  database.GetIntProperty(rocksdb::DB::Properties::kNumBlobFiles, &blob_files);
  if (family.enable_blob_files || blob_files > 0) return {};
  // Those of earlier options too.
  const auto is_known = [](const auto& numbered) {
    const auto& name = numbered.second.compression;
    return name == "NoCompression" || name == "LZ4" || name == "ZSTD" || name == "Snappy" || name.empty();
  };
  if (!std::ranges::all_of(tables, is_known)) return {};
  switch (family.compression) {
    case rocksdb::kNoCompression: return checkpoint_format(RocksdbCompression::none);
    case rocksdb::kLZ4Compression: return checkpoint_format(RocksdbCompression::lz4);
    case rocksdb::kZSTD: return checkpoint_format(RocksdbCompression::zstd);
    case rocksdb::kSnappyCompression: return checkpoint_format("snappy");
    default: return {};
  }
}

Result<TableWatch::Noted> TableWatch::look_at(rocksdb::DB& database) {
  Noted seen;
  const auto named = database.GetRootDB()->GetDbSessionId(seen.session);
  if (!named.ok()) return storage_error("asking for the session", named);
  seen.flushed = flushed_in(database);
  seen.head = Lsn{database.GetLatestSequenceNumber()};
  rocksdb::ColumnFamilyMetaData family;
  database.GetColumnFamilyMetaData(&family);
  for (const auto& level : family.levels) {
    for (const auto& file : level.files)
      seen.tables.insert(file.file_number);
  }
  return seen;
}

Result<std::optional<TableWatch::Noted>> TableWatch::read() const {
  const auto bytes = disk_.read(file_, tables_bytes_max);
  if (!bytes) return bytes.error();
  if (!*bytes) return std::optional<Noted>{};
  auto text = text_of(**bytes);
  if (line_of(text) != format_line) return std::optional<Noted>{};
  Noted noted;
  noted.session = std::string(line_of(text));
  const auto flushed = number_in(line_of(text)), head = number_in(line_of(text));
  if (!flushed || !head) return std::optional<Noted>{};
  noted.flushed = Lsn{*flushed};
  noted.head = Lsn{*head};
  while (!text.empty()) {
    const auto number = number_in(line_of(text));
    if (!number) return std::optional<Noted>{};
    noted.tables.insert(*number);
  }
  return std::optional(std::move(noted));
}

Result<bool> TableWatch::is_explained(rocksdb::DB& database, const ChangeListener& heard, const Before& before) const {
  const auto saved = read();
  if (!saved) return saved.error();
  if (!*saved) return is_of_older_version(database);
  const auto& noted = **saved;
  std::string session;
  if (const auto named = database.GetRootDB()->GetDbSessionId(session); !named.ok())
    return storage_error("asking for the session", named);
  const auto tables = list_tables(database);
  if (!tables) return tables.error();
  bool compacted_before_its_end = false, some_new = false;
  for (const auto& [number, table] : *tables) {
    if (noted.tables.contains(number)) continue;
    const bool of_watcher = before.watched_to_its_end && table.session == noted.session;
    compacted_before_its_end |= of_watcher && table.level > 0;
    // What recovery makes of the log. Another that was made without a listener may be of anything.
    const bool of_log = table.level == 0 && table.smallest > noted.flushed;
    const bool watched = table.session == session || of_watcher;
    if (table.was_ingested || !(watched || of_log)) return false;
    some_new = true;
  }
  // Entries that were in the log alone are in a table now, or another program removed them.
  const bool made_tables = some_new || heard.has_compacted(database.GetName());
  const auto known = std::max(noted.head, before.given_away);
  if (noted.flushed < std::min(known, flushed_in(database)) && !made_tables) return false;
  return std::ranges::all_of(noted.tables, [&](std::uint64_t number) {
    return tables->contains(number) || heard.was_compacted(database.GetName(), number) || compacted_before_its_end;
  });
}

Result<bool> TableWatch::is_of_older_version(rocksdb::DB& database) const {
  const auto bytes = disk_.read(file_, tables_bytes_max);
  if (!bytes) return bytes.error();
  if (*bytes) return false;  // damaged
  const auto tables = list_tables(database);
  if (!tables) return tables.error();
  return std::ranges::none_of(*tables, [](const auto& numbered) { return numbered.second.was_ingested; });
}

Result<bool> TableWatch::knows_ingested(rocksdb::DB& database) const {
  const auto saved = read();
  if (!saved) return saved.error();
  const auto tables = list_tables(database);
  if (!tables) return tables.error();
  return std::ranges::all_of(*tables, [&](const auto& numbered) {
    return !numbered.second.was_ingested || (*saved && (*saved)->tables.contains(numbered.first));
  });
}

Result<void> TableWatch::save(Noted seen, std::uint64_t version) {
  auto text = fmt::format("{}\n{}\n{}\n{}\n", format_line, seen.session, seen.flushed.value, seen.head.value);
  for (const auto number : seen.tables)
    fmt::format_to(std::back_inserter(text), "{}\n", number);
  if (auto saved = disk_.replace(file_, bytes_of(text)); !saved) return saved;
  noted_ = std::move(seen);
  version_ = version;
  return {};
}

Result<void> TableWatch::note(rocksdb::DB& database) {
  const auto version = version_of(database);
  auto seen = look_at(database);
  return seen ? save(*std::move(seen), version) : seen.error();
}

Result<bool> TableWatch::look(rocksdb::DB& database, ChangeListener& heard) {
  const auto version = version_of(database);
  if (version == version_) return true;
  // Also those that came and went since the last look.
  made_.merge(heard.take_made(database.GetName()));
  auto seen = look_at(database);
  if (!seen) return seen.error();
  auto before = noted_.tables;
  before.insert(made_.begin(), made_.end());
  std::set<std::uint64_t> gone;
  std::ranges::set_difference(before, seen->tables, std::inserter(gone, gone.end()));
  const bool explained =
      std::ranges::all_of(gone, [&](std::uint64_t number) { return heard.was_compacted(database.GetName(), number); });
  if (seen->tables == noted_.tables && gone.empty()) {
    version_ = version;
    return true;
  }
  if (auto saved = save(*std::move(seen), version); !saved) return saved.error();
  made_.clear();
  heard.forget(database.GetName(), gone);
  return explained;
}

}  // namespace crosslink::rocks
