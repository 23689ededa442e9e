#include "cli/status_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "cli/human.hpp"
#include "cli/json_fields.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

using boost::json::array;
using boost::json::object;
using Parts = std::vector<std::string>;

constexpr std::size_t bar_width = 30;

std::string number_or_dash(const object& mirror, std::string_view field) {
  const auto value = number(mirror, field);
  return value ? grouped(*value) : "-";
}

std::string duration_or_dash(const object& mirror, std::string_view field) {
  const auto value = milliseconds_field(mirror, field);
  return value ? duration_text(*value) : "-";
}

std::string rate_or_dash(const object& mirror) {
  const auto rate = number(mirror, "rate_bytes_per_s");
  return rate ? size_text(*rate) + "/s" : "-";
}

std::string joined(const array& values) {
  Parts parts;
  for (const auto& one : values) {
    if (const auto* string = one.if_string()) parts.push_back(printable({string->data(), string->size()}));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

void append_bootstrap(const object& mirror, Parts& parts) {
  if (text(mirror, "status") != "Bootstrapping") return;
  const auto done = number(mirror, "bytes_done"), total = number(mirror, "bytes_total");
  if (!done) return;
  if (total && *total > 0) {
    const auto percent = static_cast<double>(std::min(*done, *total)) / static_cast<double>(*total) * 100;
    parts.push_back(fmt::format("{:.0f}% {}", std::floor(percent), part_text(*done, *total)));
  } else {
    parts.push_back(fmt::format("{} of an unknown total", size_text(*done)));
  }
  if (const auto left = milliseconds_field(mirror, "eta_ms")) parts.push_back("ETA " + duration_text(*left));
  const auto resumed = number(mirror, "resumed_at_bytes");
  if (resumed && *resumed > 0) parts.push_back(fmt::format("resumed at {}", size_text(*resumed)));
}

void append_retry(const object& mirror, Parts& parts) {
  if (text(mirror, "status") != "Disconnected") return;
  if (const auto attempts = number(mirror, "attempts"); attempts && *attempts > 0)
    parts.push_back(fmt::format("attempt {}", grouped(*attempts)));
  if (const auto next = milliseconds_field(mirror, "next_retry_ms"))
    parts.push_back("next try in " + duration_text(*next));
}

std::optional<std::string> loss_of(const object& mirror) {
  const auto lost = number(mirror, "packets_lost"), sent = number(mirror, "packets_sent");
  if (!lost || !sent || *sent == 0) return std::nullopt;
  return fmt::format("{:.2g}%", static_cast<double>(*lost) / static_cast<double>(*sent) * 100);
}

std::optional<std::string> round_trip_of(const object& mirror) {
  const auto time = number(mirror, "round_trip_us");
  if (!time || *time > 3'600'000'000) return std::nullopt;
  return duration_text(std::chrono::microseconds(*time));
}

std::optional<std::string> throttle_of(const object& mirror) {
  const auto held = number(mirror, "throttle_bytes"), cap = number(mirror, "throttle_cap_bytes");
  if (!held || !cap || *cap == 0) return std::nullopt;
  return part_text(*held, *cap);
}

std::string limit_of(const object& mirror) {
  const auto limit = number(mirror, "bandwidth_bytes_per_s").value_or(0);
  return limit == 0 ? std::string("none") : size_text(limit) + "/s";
}

std::string link_of(const object& mirror) {
  Parts parts;
  append_bootstrap(mirror, parts);
  append_retry(mirror, parts);
  if (flag(mirror, "connected")) {
    parts.emplace_back("up");
    if (const auto time = round_trip_of(mirror)) parts.push_back("rtt " + *time);
    if (const auto loss = loss_of(mirror)) parts.push_back("loss " + *loss);
    parts.push_back(text(mirror, "congestion"));
  }
  const auto reconnects = number(mirror, "reconnects").value_or(0);
  if (reconnects > 0) parts.push_back(fmt::format("{} reconnect{}", grouped(reconnects), reconnects == 1 ? "" : "s"));
  if (number(mirror, "throttle_bytes").value_or(0) > 0) {
    if (const auto throttle = throttle_of(mirror)) parts.push_back("in flight " + *throttle);
  }
  if (limit_of(mirror) != "none") parts.push_back("limit " + limit_of(mirror));
  return fmt::format("{}", fmt::join(parts, ", "));
}

/// Absent: nothing to say.
std::optional<std::string> last_error_of(const object& mirror) {
  const auto* error = object_field(mirror, "last_error");
  if (error == nullptr) return std::nullopt;
  return fmt::format("{} (caused by {}): {}", text(*error, "error"), text(*error, "caused_by"),
                     text(*error, "message"));
}

std::optional<std::string> verify_of(const object& mirror) {
  const auto* verify = object_field(mirror, "last_verify");
  if (verify == nullptr) return std::nullopt;
  auto outcome = text(*verify, "outcome");
  if (outcome == "different")
    outcome += fmt::format(", {} keys", grouped(number(*verify, "difference_count").value_or(0)));
  if (outcome == "unknown") outcome += ", " + text(*verify, "reason");
  return fmt::format("LSN {} {}, at {}", number_or_dash(*verify, "lsn"), outcome, text(*verify, "at"));
}

std::optional<std::string> window_of(const object& mirror) {
  const auto bytes = number(mirror, "window_left_bytes");
  const auto time = milliseconds_field(mirror, "window_left_ms");
  if (!bytes && !time) return std::nullopt;
  Parts parts;
  if (time) parts.push_back(duration_text(*time));
  if (bytes) parts.push_back(size_text(*bytes));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::optional<std::string> promoted_of(const object& mirror) {
  const auto* from = object_field(mirror, "promoted_from");
  if (from == nullptr) return std::nullopt;
  return fmt::format("{}/{} at LSN {}", text(*from, "cluster"), text(*from, "database"), number_or_dash(*from, "lsn"));
}

/// "Last error:  orders ... · users ...": nothing when no mirror has anything to say.
template <class Fact>
void append_facts(std::string& page, std::string_view title, const array& mirrors, Fact fact) {
  Parts parts;
  for (const auto& one : mirrors) {
    const auto* mirror = one.if_object();
    if (mirror == nullptr) continue;
    if (const auto said = fact(*mirror)) parts.push_back(text(*mirror, "name") + " " + *said);
  }
  if (!parts.empty()) page += fmt::format("\n{:<17} {}", title, fmt::join(parts, " · "));
}

/// What the source last said of it in sync mode.
std::optional<std::string> standing_of(const object& mirror) {
  const auto standing = text(mirror, "sync_standing");
  if (standing == "counted") return "it counts for its name at the source";
  if (standing == "suspended") return "the source answers writes without it until it has caught up";
  if (standing == "not_counted") return "it does NOT count at the source: another mirror under its name does";
  return std::nullopt;
}

std::string source_of(const object& mirror) {
  return text(mirror, "source_cluster") + "/" + text(mirror, "source_database");
}

}  // namespace

std::string status_table(const array& mirrors) {
  if (mirrors.empty()) return "no mirrors here; make one with `crosslink mirror create`";
  std::vector<Parts> rows{{"MIRROR", "STATUS", "MODE", "APPLIED", "SOURCE", "LAG(LSN)", "LAG(TIME)", "RATE", "LINK"}};
  for (const auto& one : mirrors) {
    const auto* mirror = one.if_object();
    if (mirror == nullptr) continue;
    rows.push_back({text(*mirror, "name"), text(*mirror, "status"), text(*mirror, "mode"),
                    number_or_dash(*mirror, "applied_lsn"), number_or_dash(*mirror, "source_lsn"),
                    number_or_dash(*mirror, "lag_lsn"), duration_or_dash(*mirror, "lag_ms"), rate_or_dash(*mirror),
                    link_of(*mirror)});
  }
  auto page = table_text(rows);
  append_facts(page, "Why:", mirrors, [](const object& mirror) -> std::optional<std::string> {
    if (text(mirror, "status") == "Following" || text(mirror, "reason").empty()) return std::nullopt;
    return text(mirror, "reason");
  });
  append_facts(page, "Last error:", mirrors, last_error_of);
  append_facts(page, "Log window left:", mirrors, window_of);
  append_facts(page, "Last verified:", mirrors, verify_of);
  append_facts(page, "Promoted from:", mirrors, promoted_of);
  return page;
}

std::string status_page(const object& mirror) {
  std::string page = status_line(mirror);
  const auto line = [&page](std::string_view title, const std::optional<std::string>& value) {
    if (value && !value->empty()) page += fmt::format("\n  {:<13} {}", title, *value);
  };
  line("source", fmt::format("{} at {}", source_of(mirror), text(mirror, "addresses")));
  const auto& chain = array_field(mirror, "chain");
  if (chain.size() > 1) line("by way of", joined(chain));
  line("kept at", text(mirror, "kept_at", 1024));
  line("id", text(mirror, "id"));
  line("mode", text(mirror, "mode"));
  line("sync mode", standing_of(mirror));
  line("LSN", fmt::format("applied {}, durable {}, source {}", number_or_dash(mirror, "applied_lsn"),
                          number_or_dash(mirror, "durable_lsn"), number_or_dash(mirror, "source_lsn")));
  line("lag", fmt::format("{} in LSN, {} in time", number_or_dash(mirror, "lag_lsn"),
                          milliseconds_field(mirror, "lag_ms") ? duration_or_dash(mirror, "lag_ms") : "unknown"));
  line("rate", rate_or_dash(mirror) + (limit_of(mirror) == "none" ? "" : ", limited to " + limit_of(mirror)));
  Parts bootstrap;
  append_bootstrap(mirror, bootstrap);
  line("bootstrap", fmt::format("{}", fmt::join(bootstrap, ", ")));
  line("bootstraps", number_or_dash(mirror, "bootstraps"));
  Parts link{flag(mirror, "connected") ? "up" : "down"};
  append_retry(mirror, link);
  if (const auto time = round_trip_of(mirror)) link.push_back("round trip " + *time);
  if (const auto loss = loss_of(mirror)) link.push_back("loss " + *loss);
  if (const auto mtu = number(mirror, "mtu")) link.push_back(fmt::format("MTU {}", *mtu));
  link.push_back(text(mirror, "congestion"));
  link.push_back("reconnects " + number_or_dash(mirror, "reconnects"));
  line("link", fmt::format("{}", fmt::join(link, ", ")));
  if (const auto throttle = throttle_of(mirror)) line("in flight", throttle);
  line("window left", window_of(mirror));
  line("last verify", verify_of(mirror).value_or("never"));
  line("last error", last_error_of(mirror).value_or("none"));
  line("promoted from", promoted_of(mirror));
  line("incarnation", text(mirror, "incarnation"));
  line("origin", text(mirror, "origin"));
  return page;
}

std::string status_line(const object& mirror) {
  const auto reason = text(mirror, "reason");
  return fmt::format("{}  {}{}{}", text(mirror, "name"), text(mirror, "status"), reason.empty() ? "" : ": ", reason);
}

std::string progress_line(const object& mirror) {
  const auto done = number(mirror, "bytes_done"), total = number(mirror, "bytes_total");
  if (text(mirror, "status") != "Bootstrapping" || !done) {
    Parts retry;
    append_retry(mirror, retry);
    return status_line(mirror) + (retry.empty() ? "" : fmt::format(" ({})", fmt::join(retry, ", ")));
  }
  Parts parts;
  append_bootstrap(mirror, parts);
  const auto line = fmt::format("{}  {}  {}", text(mirror, "name"), fmt::join(parts, ", "), rate_or_dash(mirror));
  return total && *total > 0 ? bar(*done, *total, bar_width) + " " + line : line;
}

std::optional<std::string> bootstrapped_line(const object& mirror) {
  const auto bytes = number(mirror, "last_bootstrap_bytes");
  if (!bytes || *bytes == 0) return std::nullopt;
  return fmt::format("{} {}  100% {}", bar(*bytes, *bytes, bar_width), text(mirror, "name"), part_text(*bytes, *bytes));
}

std::string mirror_list(const array& mirrors) {
  if (mirrors.empty()) return "no mirrors here; make one with `crosslink mirror create`";
  std::vector<Parts> rows{{"MIRROR", "SOURCE", "ADDRESSES", "MODE", "STATUS"}};
  for (const auto& one : mirrors) {
    const auto* mirror = one.if_object();
    if (mirror == nullptr) continue;
    rows.push_back({text(*mirror, "name"), source_of(*mirror), text(*mirror, "addresses"), text(*mirror, "mode"),
                    text(*mirror, "status")});
  }
  return table_text(rows);
}

int status_exit_code(const array& mirrors, std::optional<std::chrono::microseconds> lag_max) {
  int worst = exit_good;
  for (const auto& one : mirrors) {
    const auto* mirror = one.if_object();
    if (mirror == nullptr) continue;
    const auto status = text(*mirror, "status");
    if (status == "Disconnected") worst = std::max(worst, exit_disconnected);
    if (!lag_max || status == "Promoted") continue;
    const auto lag = milliseconds_field(*mirror, "lag_ms");
    if (!lag || *lag > *lag_max) worst = std::max(worst, exit_lag);
  }
  return worst;
}

}  // namespace crosslink::cli
