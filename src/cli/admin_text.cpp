#include "cli/admin_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "cli/human.hpp"
#include "cli/json_fields.hpp"

namespace crosslink::cli {
namespace {

using boost::json::object;

constexpr std::size_t replaced_keys_max = 20;

std::string lsn_or(const object& fields, std::string_view field, std::string_view otherwise) {
  const auto lsn = number(fields, field);
  return lsn ? grouped(*lsn) : std::string(otherwise);
}

/// That a delete could not remove the mirror's record in etcd, and how that is done by hand.
std::string record_left_text(const object& deleted) {
  const auto* record = object_field(deleted, "record_left");
  if (record == nullptr) return {};
  const auto key = text(*record, "key", 4096);
  if (flag(*record, "in_use")) {
    return fmt::format("\nits record {} stays at {}: {}. Leave it there: that node needs it", key,
                       text(*record, "kept_at", 4096), text(*record, "detail", 4096));
  }
  return fmt::format(
      "\nits record {0} stays at {1}, since the node could not remove it: {2}. Another mirror of that name would go on "
      "from it, or be refused when it cannot be read: once etcd answers, `etcdctl del {0}` and `etcdctl del --prefix "
      "{0}/` remove it",
      key, text(*record, "kept_at", 4096), text(*record, "detail", 4096));
}

/// What of the source's data is known to be missing.
std::string lost_text(const object& lost) {
  const auto entries = number(lost, "entries_lsn");
  const bool known = flag(lost, "known");
  const auto heard_ms = real(lost, "heard_ms_ago");
  std::string line;
  if (!entries || (!known && *entries == 0)) {
    line = "not known";
  } else if (*entries == 0) {
    line = "nothing that the source had " +
           (heard_ms ? fmt::format("{:.0f} ms ago", *heard_ms) : std::string("when last heard"));
  } else {
    line = fmt::format("{}{} in LSN", known ? "" : "at least ", grouped(*entries));
  }
  const auto detail = text(lost, "detail", 4096);
  return detail.empty() ? line : line + ": " + detail;
}

}  // namespace

std::string checks_text(const object& dry_run) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& one : array_field(dry_run, "checks")) {
    const auto* check = one.if_object();
    if (check == nullptr) continue;
    rows.push_back({flag(*check, "ok") ? "ok" : "FAILED", text(*check, "check"), text(*check, "detail")});
  }
  auto page = table_text(rows);
  if (const auto* replaced = object_field(dry_run, "replaced")) page += "\n" + replaced_text(*replaced);
  page += flag(dry_run, "ok") ? "\nnothing was changed; without --dry-run the mirror would be made"
                              : "\nnothing was changed; the mirror cannot be made like this";
  return page;
}

std::string deleted_text(const object& deleted) {
  const auto name = text(deleted, "name");
  const auto data = text(deleted, "data");
  if (data == "kept") return name + "  deleted; its data stays as a database that can be read and follows no source";
  if (data == "set_aside") return name + "  deleted; its data was moved to " + text(deleted, "set_aside", 4096);
  if (data != "left") return name + "  deleted, with its data";
  const auto* left = object_field(deleted, "left");
  const auto keys = left == nullptr ? std::nullopt : number(*left, "keys");
  if (keys) {
    return fmt::format("{}  deleted; {} keys stay below \"{}\" at {}", name, grouped(*keys),
                       text(*left, "prefix", 4096), text(*left, "kept_at", 4096)) +
           record_left_text(deleted);
  }
  const auto detail = left == nullptr ? std::string() : text(*left, "detail", 4096);
  return fmt::format("{}  deleted; its keys stay in etcd, where it wrote them{}", name,
                     detail.empty() ? "" : "; " + detail) +
         record_left_text(deleted);
}

std::string replaced_text(const object& replaced) {
  auto page = "replaced: " + text(replaced, "detail", 4096);
  if (flag(replaced, "keys_known")) {
    const auto& keys = array_field(replaced, "keys");
    const auto total = number(replaced, "keys_total").value_or(keys.size());
    std::size_t shown = 0;
    for (const auto& one : keys) {
      const auto* key = one.if_string();
      if (key == nullptr || shown == replaced_keys_max) break;
      page += "\n    " + printable({key->data(), key->size()});
      ++shown;
    }
    if (total > shown) page += fmt::format("\n    and {} more", grouped(total - shown));
  } else {
    page += "\n  which keys these are is not known";
  }
  if (const auto path = text(replaced, "set_aside", 4096); !path.empty()) page += "\n  the old data is kept at " + path;
  for (const auto& one : array_field(replaced, "set_aside_before")) {
    if (const auto* const path = one.if_string())
      page += "\n  put aside before: " + printable(std::string_view(*path), 4096);
  }
  return page;
}

std::string promote_text(const object& promoted) {
  const auto name = text(promoted, "name");
  const auto lsn = lsn_or(promoted, "lsn", "an unknown position");
  std::string page;
  if (flag(promoted, "dry_run") && !flag(promoted, "again"))
    page = fmt::format("{} would be promoted at LSN {}; nothing was changed", name, lsn);
  else if (!flag(promoted, "promoted"))
    page = fmt::format("{} is not promoted", name);
  else if (flag(promoted, "again"))
    page = fmt::format("{} was promoted before, at LSN {}; nothing was changed", name, lsn);
  else
    page = fmt::format("{} is promoted at LSN {} and takes writes now", name, lsn);
  page += fmt::format("\n  source        {}/{}, last heard of at LSN {}", text(promoted, "source_cluster"),
                      text(promoted, "source_database"), lsn_or(promoted, "source_lsn", "unknown"));
  const auto lag = milliseconds_field(promoted, "lag_ms");
  page += fmt::format("\n  lag           {}{}", lag ? duration_text(*lag) : "unknown",
                      flag(promoted, "over_required_lag")
                          ? ": OVER what --require-lag allows, since it takes writes only after that was judged"
                          : "");
  if (const auto leases = number(promoted, "leases"); leases && *leases > 0 && !flag(promoted, "again"))
    page += fmt::format("\n  leases        {}, each {} for its whole TTL", grouped(*leases),
                        flag(promoted, "promoted") ? "granted anew" : "would be granted anew");
  if (const auto why = text(promoted, "inconsistent", 4096); !why.empty()) page += "\n  consistent    NO: " + why;
  if (const auto about = text(promoted, "detail", 4096); !about.empty()) page += "\n  known of it   " + about;
  if (const auto* lost = object_field(promoted, "lost")) page += "\n  lost          " + lost_text(*lost);
  if (const auto* sync = object_field(promoted, "sync"); sync != nullptr && !flag(promoted, "again")) {
    const auto missing = text(*sync, "missing");
    page +=
        fmt::format("\n  sync mode     {}: {}",
                    missing == "none"                   ? "nothing confirmed is missing"
                    : missing == "none_when_last_heard" ? "nothing confirmed was missing when the source was last heard"
                    : missing == "possible"             ? "CONFIRMED WRITES MAY BE MISSING"
                                                        : "not known",
                    text(*sync, "detail", 4096));
  }
  page +=
      fmt::format("\n  incarnation   {}\n  origin        {}", text(promoted, "incarnation"), text(promoted, "origin"));
  return page;
}

std::string verify_text(const object& verify, std::chrono::microseconds took, std::size_t named_max) {
  const auto outcome = text(verify, "outcome");
  const auto lsn = number(verify, "lsn").value_or(0);
  std::string page = fmt::format("{}  ", text(verify, "name"));
  page += lsn == 0 ? std::string("compared at no LSN") : fmt::format("compared at LSN {}", grouped(lsn));
  page += fmt::format("\nkeys    {} compared", grouped(number(verify, "keys_compared").value_or(0)));
  const auto& differences = array_field(verify, "differences");
  const auto count = number(verify, "difference_count").value_or(0);
  if (count > 0 || !differences.empty()) {
    page += fmt::format(", {}{} differ", flag(verify, "all_counted") ? "" : "at least ", grouped(count));
    std::size_t shown = 0;
    for (const auto& one : differences) {
      const auto* difference = one.if_object();
      if (difference == nullptr || shown == named_max) break;
      page += fmt::format("\n  {:<8} {}", text(*difference, "kind"), text(*difference, "key", 4096));
      ++shown;
    }
    if (count > shown) page += fmt::format("\n  and {} more", grouped(count - shown));
  }
  const auto reason = text(verify, "reason", 4096);
  const auto result = outcome == "equal"       ? std::string("EQUAL")
                      : outcome == "different" ? std::string("DIFFERENT")
                                               : std::string("COULD NOT TELL");
  page += fmt::format("\nRESULT  {} in {}", result, duration_text(took));
  if (!reason.empty()) page += ": " + reason;
  return page;
}

namespace {

std::string names_of(const boost::json::value* names, std::string_view otherwise) {
  const auto* array = names == nullptr ? nullptr : names->if_array();
  if (array == nullptr) return std::string(otherwise);
  std::vector<std::string> parts;
  for (const auto& one : *array) {
    if (const auto* name = one.if_string()) parts.push_back(printable({name->data(), name->size()}));
  }
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ","));
}

std::string identity_text(const object& mirror) {
  const auto id = text(mirror, "id");
  return id.empty() ? "one that says no id" : fmt::format("{} (id {})", text(mirror, "database"), id);
}

std::string followers_of(const object& database) {
  std::vector<std::string> parts;
  for (const auto& one : array_field(database, "mirrors")) {
    const auto* mirror = one.if_object();
    if (mirror == nullptr) continue;
    parts.push_back(fmt::format("{}: {}, applied {}", text(*mirror, "name"), identity_text(*mirror),
                                lsn_or(*mirror, "applied_lsn", "unknown")));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

/// For each name in sync mode that a mirror came under which does not count.
std::string sync_lines(const object& database) {
  std::string lines;
  const auto* sync = object_field(database, "sync");
  if (sync == nullptr) return lines;
  const auto name = text(database, "name");
  for (const auto& one : array_field(*sync, "counted")) {
    const auto* named = one.if_object();
    if (named == nullptr) continue;
    const auto* other = object_field(*named, "not_counted");
    const auto* counted = object_field(*named, "counted");
    if (other != nullptr) {
      lines += fmt::format(
          "\n{}: under the name {} {} does not count in sync mode, {} does; `crosslink db count-mirror {} "
          "ID --yes` changes that",
          name, text(*named, "name"), identity_text(*other),
          counted != nullptr ? identity_text(*counted) : std::string("none yet"), name);
    }
    if (const auto trouble = text(*named, "trouble", 4096); !trouble.empty())
      lines += fmt::format("\n{}: {} does not count in sync mode yet: {}", name, text(*named, "name"), trouble);
  }
  return lines;
}

}  // namespace

std::string allowed_text(const object& database) { return names_of(database.if_contains("allow_mirrors"), "any"); }

std::string not_open_text(const object& answer) {
  std::string lines;
  for (const auto& one : array_field(answer, "not_open")) {
    const auto* const database = one.if_object();
    if (database == nullptr) continue;
    lines += fmt::format("\n{}  is not open, tried again and again: {}", text(*database, "name"),
                         text(*database, "reason", 4096));
  }
  return lines;
}

std::string database_table(const boost::json::array& databases) {
  if (databases.empty()) return "no databases here; make one with `crosslink db create`";
  std::vector<std::vector<std::string>> rows{
      {"INDEX", "DATABASE", "KIND", "ROLE", "HEAD", "OLDEST", "ALLOWED", "SYNC", "FOLLOWED BY"}};
  for (const auto& one : databases) {
    const auto* database = one.if_object();
    if (database == nullptr) continue;
    const auto* sync = object_field(*database, "sync");
    auto sync_names = sync == nullptr ? std::string("-") : names_of(sync->if_contains("mirrors"), "-");
    if (sync != nullptr && flag(*sync, "suspended")) sync_names += " (suspended)";
    rows.push_back({lsn_or(*database, "index", "-"), text(*database, "name"), text(*database, "kind"),
                    text(*database, "role"), lsn_or(*database, "head_lsn", "-"), lsn_or(*database, "oldest_lsn", "-"),
                    allowed_text(*database), sync_names, followers_of(*database)});
  }
  auto page = table_text(rows);
  for (const auto& one : databases) {
    if (const auto* database = one.if_object()) page += sync_lines(*database);
  }
  for (const auto& one : databases) {
    const auto* database = one.if_object();
    const auto detail = database == nullptr ? std::string() : text(*database, "detail", 4096);
    if (!detail.empty()) page += fmt::format("\n{}: {}", text(*database, "name"), detail);
  }
  return page;
}

std::string database_line(const object& database) {
  return fmt::format("{}  index {}, {}, head LSN {}, incarnation {}", text(database, "name"),
                     lsn_or(database, "index", "-"), text(database, "role"), lsn_or(database, "head_lsn", "-"),
                     text(database, "incarnation"));
}

}  // namespace crosslink::cli
