// What a node has: `crosslink status` of its mirrors, `crosslink db` of its databases.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/algorithm/string/split.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/admin_text.hpp"
#include "cli/admin_verbs.hpp"
#include "cli/json_fields.hpp"
#include "cli/mirror_wait.hpp"
#include "cli/report.hpp"
#include "cli/status_text.hpp"
#include "cli/verbs.hpp"
#include "node/config.hpp"
#include "node/quantity.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

constexpr std::chrono::seconds watch_every{1};

struct StatusOptions {
  AdminOptions admin;
  std::string name, wait, lag_max;
  bool watch = false;
  std::optional<double> timeout_s;
  std::optional<std::chrono::microseconds> lag;
};

const boost::json::object no_mirrors{{"mirrors", boost::json::array{}}};

std::string page_of(const StatusOptions& options, const boost::json::object& body) {
  const auto& mirrors = array_field(body, "mirrors");
  const bool one = !options.name.empty() && mirrors.size() == 1 && mirrors.front().is_object();
  return one ? status_page(mirrors.front().get_object()) : status_table(mirrors);
}

/// The exit code is the status's, not the request's.
int show(const Globals& globals, const StatusOptions& options, boost::json::object body) {
  auto code = status_exit_code(array_field(body, "mirrors"), options.lag);
  auto page = page_of(options, body);
  page += not_open_text(body);
  if (code == exit_good && !array_field(body, "not_open").empty()) code = exit_disconnected;
  for (const auto& one : array_field(body, "details")) {
    if (const auto* const database = one.if_object())
      page += fmt::format("\n{}: {}", text(*database, "name"), text(*database, "detail", 4096));
  }
  for (const auto& one : array_field(body, "certificate_warnings")) {
    if (one.is_string()) page += fmt::format("\nwarning: {}", printable(one.get_string(), 4096));
  }
  report_good(globals, std::move(body), page);
  return code;
}

int once(const Globals& globals, const StatusOptions& options) {
  auto asked = ask_mirrors(options.admin, options.name);
  if (!asked) return report_unasked(globals, asked.error(), no_mirrors);
  if (asked->exit_code) return report_denied(globals, *asked, no_mirrors);
  return show(globals, options, std::move(asked->body));
}

int wait(const Globals& globals, const StatusOptions& options) {
  WaitOptions waiting{options.admin, options.name, {}, false, !globals.json()};
  waiting.timeout = seconds_of(options.timeout_s);
  auto end = wait_until_following(waiting);
  if (end.error) return report_unasked(globals, *end.error, std::move(end.last.body));
  if (end.last.exit_code) return report_denied(globals, end.last, no_mirrors);
  return show(globals, options, std::move(end.last.body));
}

/// Until a signal ends it; a node that is away is shown as such and asked again.
int watch(const Globals& globals, const StatusOptions& options) {
  const bool clears = !globals.json() && ::isatty(STDOUT_FILENO) == 1;
  while (true) {
    if (clears) fmt::print("\x1b[H\x1b[2J");
    const auto code = once(globals, options);
    if (code == exit_usage) return code;  // a wrong option or name stays wrong
    std::this_thread::sleep_for(watch_every);
  }
}

int run_status(const Globals& globals, StatusOptions& options) {
  if (!options.lag_max.empty()) {
    const auto lag = node::parse_duration(options.lag_max);
    if (!lag) return report_unasked(globals, lag.error().with_context("--max-lag"), no_mirrors);
    options.lag = *lag;
  }
  if (options.watch) return watch(globals, options);
  return options.wait.empty() ? once(globals, options) : wait(globals, options);
}

struct DatabaseOptions {
  AdminOptions admin;
  std::string name;
  std::optional<std::string> allow_mirrors;
  std::string mirror_id;
  bool anew = false, followed = false, yes = false;
};

int list_databases(const Globals& globals, const DatabaseOptions& options) {
  return ask_and_report(
      globals, options.admin, {AdminMethod::get, "/v1/databases", {}, admin_look_timeout},
      [](const auto& body) { return database_table(array_field(body, "databases")) + not_open_text(body); });
}

/// "a,b"; empty is none, "*" any that the CA signed. Errors: Configuration.
Result<boost::json::array> parse_names(const std::string& given, std::string_view option) {
  boost::json::array allowed;
  if (given.empty()) return allowed;
  std::vector<std::string> names;
  boost::algorithm::split(names, given, [](char one) { return one == ','; });
  for (const auto& name : names) {
    if (name != node::any_mirror && !is_dns_name(name)) {
      return MirrorError::configuration(fmt::format("{}: '{}' is not the name of a certificate", option, escape(name)));
    }
    allowed.emplace_back(name);
  }
  return allowed;
}

int allow_mirrors(const Globals& globals, const DatabaseOptions& options) {
  auto names = parse_names(*options.allow_mirrors, "NAMES");
  if (!names) return report_unasked(globals, names.error());
  const auto path = fmt::format("/v1/databases/{}/allow-mirrors", options.name);
  return ask_and_report(
      globals, options.admin,
      {AdminMethod::post, path, boost::json::object{{"names", *std::move(names)}}, admin_answer_timeout},
      [](const auto& database) {
        return fmt::format("{}  may be mirrored by {}", text(database, "name"), allowed_text(database));
      });
}

int create_database(const Globals& globals, const DatabaseOptions& options) {
  boost::json::object body{{"name", options.name}, {"allow_mirrors", nullptr}, {"anew", options.anew}};
  if (options.anew) {
    const auto agreed =
        demand_yes(options.yes, fmt::format("--anew lets '{}' begin empty, if its data is lost", options.name));
    if (!agreed) return report_unasked(globals, agreed.error());
  }
  if (options.allow_mirrors) {
    auto names = parse_names(*options.allow_mirrors, "--allow-mirrors");
    if (!names) return report_unasked(globals, names.error());
    body["allow_mirrors"] = *std::move(names);
  }
  return ask_and_report(globals, options.admin,
                        {AdminMethod::post, "/v1/databases", std::move(body), admin_answer_timeout}, database_line);
}

int delete_database(const Globals& globals, const DatabaseOptions& options) {
  const auto agreed = demand_yes(
      options.yes, fmt::format("'{}' is taken out of the node, and its data moved to set-aside", options.name));
  if (!agreed) return report_unasked(globals, agreed.error());
  const auto path = fmt::format("/v1/databases/{}?followed={}", options.name, options.followed);
  return ask_and_report(globals, options.admin, {AdminMethod::remove, path, {}, admin_answer_timeout}, deleted_text);
}

int count_mirror(const Globals& globals, const DatabaseOptions& options) {
  const auto agreed = demand_yes(
      options.yes, fmt::format("the mirror with this id will count in sync mode of '{}', and the one that does so now "
                               "no longer: promote only the one that counts",
                               options.name));
  if (!agreed) return report_unasked(globals, agreed.error());
  const auto path = fmt::format("/v1/databases/{}/count-mirror", options.name);
  return ask_and_report(globals, options.admin,
                        {AdminMethod::post, path, boost::json::object{{"id", options.mirror_id}}, admin_answer_timeout},
                        database_line);
}

int restamp_database(const Globals& globals, const DatabaseOptions& options) {
  const auto agreed = demand_yes(
      options.yes, fmt::format("'{}' gets a new incarnation: mirrors of it will halt or copy it anew, as "
                               "they were told; it is for a virtual machine that was set back with its memory",
                               options.name));
  if (!agreed) return report_unasked(globals, agreed.error());
  const auto path = fmt::format("/v1/databases/{}/restamp", options.name);
  return ask_and_report(globals, options.admin, {AdminMethod::post, path, {}, admin_answer_timeout}, database_line);
}

}  // namespace

void add_status_verb(const Command& program) {
  auto options = std::make_shared<StatusOptions>();
  const auto verb = program.add(
      "status", "What mirrors do: exit 3 when --max-lag is passed or the lag is unknown, 4 when one is Disconnected");
  add_name(verb, options->name, "One mirror in full; without it a table of all").required(false);
  const auto watching = verb.flag("--watch", options->watch, "Again each second until you end it");
  const auto waiting = verb.option("--wait", options->wait, "Return once they all follow, the node need not run yet")
                           .among({"following"})
                           .excludes(watching);
  verb.seconds("--timeout", options->timeout_s, "With --wait: give up after this long; never by default")
      .needs(waiting);
  verb.option("--max-lag", options->lag_max, "The lag to be content with, such as 5s").type("D");
  add_admin_options(verb, options->admin);
  verb.footer(
      "Example:\n  crosslink status --config node.toml\n"
      "  crosslink status orders --config node.toml --wait following --timeout 60 --max-lag 5s");
  verb.run([options](const Globals& globals) { return run_status(globals, *options); });
}

void add_db_verb(const Command& program) {
  auto options = std::make_shared<DatabaseOptions>();
  const auto verb = program.add("db", "The databases of a node");
  verb.footer("Example:\n  crosslink db list --config node.toml");

  const auto listing = verb.add("list", "Every database: its index for SELECT, its role, who follows it");
  add_admin_options(listing, options->admin);
  listing.footer("Example:\n  crosslink db list --config node.toml");
  listing.run([options](const Globals& globals) { return list_databases(globals, *options); });

  const auto creating = verb.add("create", "Make an empty database that takes writes");
  add_name(creating, options->name, "The database");
  creating
      .option("--allow-mirrors", options->allow_mirrors,
              "Certificate names that may mirror it, comma separated; '*' is any that the CA signed; without it none, "
              "unless the config says who")
      .type("NAMES");
  const auto anew =
      creating.flag("--anew", options->anew, "It is there, and not open because its data is lost: begin empty");
  creating.flag("--yes", options->yes, "With --anew: agree").needs(anew);
  add_admin_options(creating, options->admin);
  creating.footer("Example:\n  crosslink db create orders --allow-mirrors eu-standby --config node.toml");
  creating.run([options](const Globals& globals) { return create_database(globals, *options); });

  const auto deleting = verb.add("delete", "Take a database that takes writes out of the node; its data is set aside");
  add_name(deleting, options->name, "The database; the config must not name it any more");
  deleting.flag("--followed", options->followed, "Also while mirrors follow it; they keep what they have");
  deleting.flag("--yes", options->yes, "Agree: clients and mirrors find it no more");
  add_admin_options(deleting, options->admin);
  deleting.footer("Example:\n  crosslink db delete orders --config node.toml --yes");
  deleting.run([options](const Globals& globals) { return delete_database(globals, *options); });

  const auto allowing = verb.add("allow-mirrors", "Say who may mirror a database, where the config does not");
  add_name(allowing, options->name, "The database");
  allowing
      .option("NAMES", options->allow_mirrors,
              "Certificate names, comma separated; '' is none, '*' any that the CA signed")
      .required();
  add_admin_options(allowing, options->admin);
  allowing.footer("Example:\n  crosslink db allow-mirrors orders eu-standby,us-west --config node.toml");
  allowing.run([options](const Globals& globals) { return allow_mirrors(globals, *options); });

  const auto counting = verb.add(
      "count-mirror", "Sync mode: say which mirror counts under a name, when it is another than the one that did");
  add_name(counting, options->name, "The database");
  counting.option("ID", options->mirror_id, "The mirror's id, as `db list` shows it").required();
  counting.flag("--yes", options->yes, "Agree: what only the other mirror has is no longer waited for");
  add_admin_options(counting, options->admin);
  counting.footer(
      "Example:\n  crosslink db count-mirror orders 5f0c9a7e3b1d4c2f8e6a0b9d7c5e3f11 --config node.toml --yes");
  counting.run([options](const Globals& globals) { return count_mirror(globals, *options); });

  const auto stamping = verb.add("restamp", "Begin a new incarnation: for a virtual machine set back with its memory");
  add_name(stamping, options->name, "The database");
  stamping.flag("--yes", options->yes, "Agree: mirrors that have more than it halt, or copy it anew");
  add_admin_options(stamping, options->admin);
  stamping.footer("Example:\n  crosslink db restamp orders --config node.toml --yes");
  stamping.run([options](const Globals& globals) { return restamp_database(globals, *options); });
}

}  // namespace crosslink::cli
