#include "engine/etcd/record.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/descriptor.hpp"
#include "crosslink/frame.hpp"
#include "engine/etcd/keys.hpp"
#include "wire/message_tree.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::etcd {

using core::Binary;
using core::FieldReader;
using core::Tree;
using core::TreeList;
using core::TreeMap;

namespace {

constexpr std::uint64_t record_version = 1;

Tree id_tree(std::span<const std::byte, 16> bytes) { return {Binary{std::string(base::text_of(bytes))}}; }

TreeMap tree_of(const Position& position) {
  return {
      {"origin", id_tree(position.origin.bytes)},          {"incarnation", id_tree(position.incarnation.bytes)},
      {"last_entry_lsn", {position.last_entry.lsn.value}}, {"last_entry_hash", id_tree(position.last_entry.hash.bytes)},
      {"applied_lsn", {position.applied_lsn.value}},       {"origin_lsn", {position.origin_lsn.value}}};
}

Position position_of(FieldReader& r) {
  return {{r.bytes16("origin")},
          {r.bytes16("incarnation")},
          {{r.u64("last_entry_lsn")}, {r.bytes16("last_entry_hash")}},
          {r.u64("applied_lsn")},
          {r.u64("origin_lsn")}};
}

constexpr std::string_view first_line = "crosslink mirror\n";

MirrorError unreadable_record(const std::string& why) {
  return {ErrorKind::UnsupportedOperation, CausedBy::us, "a mirror's record in etcd cannot be read: " + why};
}

void read_history(FieldReader& r, Record& record) {
  const auto* list = r.list("history", history_records_max);
  if (list == nullptr) return;
  std::vector<HistoryRecord> records;
  for (const auto& element : *list) {
    const auto* map = std::get_if<TreeMap>(&element.value);
    if (map == nullptr) return r.wrong("a record of the history is no map");
    FieldReader one(*map, "a record of a history");
    const auto cause = one.u64("cause", static_cast<std::uint64_t>(HistoryCause::unlogged_change));
    records.push_back({{one.bytes16("incarnation")}, {one.u64("first_lsn")}, static_cast<HistoryCause>(cause)});
    if (one.error()) return r.wrong(one.error()->message());
  }
  if (records.empty()) return;
  auto history = crosslink::History::from_records(std::move(records));
  if (!history) return r.wrong(history.error().message());
  record.history = *std::move(history);
}

void read_promoted_from(FieldReader& r, Record& record) {
  const auto* map = r.map("promoted_from");
  if (map == nullptr) return;
  FieldReader from(*map, "promoted_from");
  record.promoted_from = PromotedFrom{from.text("cluster"), from.text("database"), position_of(from)};
  if (from.error()) r.wrong(from.error()->message());
}

}  // namespace

std::string encode_record(const Record& record) {
  TreeMap map{{"version", {record_version}},
              {"role", {static_cast<std::uint64_t>(record.role)}},
              {"bootstrapping", {record.bootstrapping}},
              {"promoting", {record.promoting}},
              {"consistent_lsn", {record.consistent_lsn.value}},
              {"prefix", {Binary{record.prefix}}},
              {"source_prefix", {Binary{record.source_prefix}}},
              {"owner", {record.owner}},
              {"epoch", {record.epoch}},
              {"write_id", {Binary{record.write_id}}}};
  if (record.id) map.push_back({"id", id_tree(record.id->bytes)});
  if (record.lease_seed) map.push_back({"lease_seed", id_tree(record.lease_seed->bytes)});
  if (record.snapshot) map.push_back({"snapshot", id_tree(record.snapshot->bytes)});
  if (record.position) map.push_back({"position", {tree_of(*record.position)}});
  TreeList history;
  for (const auto& one : record.history.records()) {
    history.push_back({TreeMap{{"incarnation", id_tree(one.incarnation.bytes)},
                               {"first_lsn", {one.first_lsn.value}},
                               {"cause", {static_cast<std::uint64_t>(one.cause)}}}});
  }
  map.push_back({"history", {std::move(history)}});
  if (const auto& from = record.promoted_from) {
    auto tree = tree_of(from->position);
    tree.push_back({"cluster", {from->cluster}});
    tree.push_back({"database", {from->database}});
    map.push_back({"promoted_from", {std::move(tree)}});
  }
  if (record.split) {
    map.push_back({"split",
                   {TreeMap{{"lsn", {record.split->lsn.value}},
                            {"hash", id_tree(record.split->hash.bytes)},
                            {"list", id_tree(record.split->list.bytes)},
                            {"done", {record.split->done}}}}});
  }
  std::vector<std::byte> bytes;
  core::write_tree(bytes, map);
  return std::string(first_line) + std::string(base::text_of(bytes));
}

Result<Record> decode_record(std::string_view value) {
  if (!value.starts_with(first_line)) return unreadable_record("it does not begin as one");
  const auto tree = core::read_tree(base::bytes_of(value.substr(first_line.size())));
  if (!tree) return unreadable_record(tree.error().message());
  FieldReader r(tree->map, "a mirror's record");
  if (r.u64("version") != record_version) return unreadable_record("it was written by another version of crosslink");
  Record record;
  record.role = static_cast<DatabaseRole>(r.u64("role", static_cast<std::uint64_t>(DatabaseRole::promoted)));
  record.bootstrapping = r.boolean("bootstrapping");
  record.promoting = r.boolean("promoting");
  record.consistent_lsn = {r.u64("consistent_lsn")};
  record.prefix = r.optional_key("prefix").value_or("");
  record.source_prefix = r.optional_key("source_prefix").value_or("");
  record.owner = r.text("owner");
  record.epoch = r.u64("epoch");
  record.write_id = r.optional_key("write_id").value_or("");
  if (const auto id = r.optional_bytes16("id")) record.id = MirrorId{*id};
  if (const auto id = r.optional_bytes16("lease_seed")) record.lease_seed = SnapshotId{*id};
  if (const auto id = r.optional_bytes16("snapshot")) record.snapshot = SnapshotId{*id};
  if (const auto* map = r.map("position")) {
    FieldReader position(*map, "a position");
    record.position = position_of(position);
    if (position.error()) r.wrong(position.error()->message());
  }
  read_history(r, record);
  read_promoted_from(r, record);
  if (const auto* map = r.map("split")) {
    FieldReader split(*map, "a split entry");
    record.split =
        Record::Split{{split.u64("lsn")}, {split.bytes16("hash")}, {split.bytes16("list")}, split.u64("done")};
    if (split.error()) r.wrong(split.error()->message());
  }
  if (r.error()) return unreadable_record(r.error()->message());
  return record;
}

std::string record_key(const std::string& name) { return std::string(reserved_prefix) + name; }
std::string owner_key(const std::string& name) { return record_key(name) + "/owner"; }
std::string bootstrap_key(const std::string& name) { return record_key(name) + "/bootstrap"; }
std::string leases_prefix(const std::string& name) { return record_key(name) + "/lease/"; }
std::string leased_prefix(const std::string& name) { return record_key(name) + "/leased/"; }

}  // namespace crosslink::etcd
