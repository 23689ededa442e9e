// `crosslink mirror create`.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "cli/admin_text.hpp"
#include "cli/admin_verbs.hpp"
#include "cli/human.hpp"
#include "cli/json_fields.hpp"
#include "cli/mirror_wait.hpp"
#include "cli/report.hpp"
#include "cli/status_text.hpp"
#include "cli/verbs.hpp"
#include "node/hosting/etcd_place.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

using boost::json::object;

/// A dry run dials every address of the source, each with the link's own deadline.
constexpr std::chrono::minutes create_timeout{5};

struct Options {
  AdminOptions admin;
  std::string name, from, addresses;
  std::string mode = "async", congestion = "bbr", on_source_behind = "halt";
  std::string into = "rocksdb";
  std::vector<std::string> endpoints;
  std::optional<std::string> prefix;
  std::string ca, cert, key, user, password_file;
  std::optional<std::string> revisions_kept;
  bool password_in_clear = false;
  bool replace = false, yes = false, dry_run = false, wait = false;
  std::optional<double> timeout_s;
};

/// The node may stand in another folder.
std::filesystem::path whole_path(const std::string& file) {
  return file.empty() ? std::filesystem::path() : std::filesystem::absolute(file).lexically_normal();
}

boost::json::value target_of(const Options& options) {
  if (options.into != "etcd") return nullptr;
  node::EtcdPlace place;
  auto& cluster = place.cluster;
  cluster.endpoints = options.endpoints;
  cluster.ca_file = whole_path(options.ca);
  cluster.cert_file = whole_path(options.cert);
  cluster.key_file = whole_path(options.key);
  cluster.user = options.user;
  cluster.password_file = whole_path(options.password_file);
  place.prefix = options.prefix;
  place.password_in_clear = options.password_in_clear;
  if (options.revisions_kept) {
    place.target_revisions_kept = parse_number(*options.revisions_kept).value_or(0);  // off
  }
  return node::write_etcd_place(place);
}

object request_body(const Options& options) {
  return {{"name", options.name},
          {"into", options.into},
          {"etcd", target_of(options)},
          {"from", options.from},
          {"addr", options.addresses},
          {"mode", options.mode},
          {"congestion", options.congestion},
          {"on_source_behind", options.on_source_behind},
          {"replace", options.replace},
          {"yes", options.yes},
          {"dry_run", options.dry_run}};
}

void show_replaced(const Globals& globals, const object& body) {
  const auto* replaced = object_field(body, "replaced");
  if (replaced != nullptr && !globals.json()) print_line(replaced_text(*replaced));
}

/// What does not fit ends with the code that the real command would end with.
int report_checks(const Globals& globals, object body) {
  const bool ok = flag(body, "ok");
  const auto code = number(body, "exit_code").value_or(exit_failed);
  const auto page = checks_text(body);
  report_good(globals, std::move(body), page);
  if (ok) return exit_good;
  return code >= 1 && code <= 125 ? static_cast<int>(code) : exit_failed;
}

/// What the answer to the creation said of replaced data stays in the object.
int follow(const Globals& globals, const Options& options, object created) {
  const auto begin = std::chrono::steady_clock::now();
  WaitOptions waiting{options.admin, options.name, {}, true, !globals.json()};
  waiting.timeout = seconds_of(options.timeout_s);
  auto end = wait_until_following(waiting);
  const auto& mirrors = array_field(end.last.body, "mirrors");
  object now = mirrors.size() == 1 && mirrors.front().is_object() ? mirrors.front().get_object() : created;
  if (const auto* replaced = created.if_contains("replaced")) now["replaced"] = *replaced;
  if (end.error) {
    return report_unasked(globals, end.error->with_context("the mirror was made, it is not Following"), std::move(now));
  }
  if (end.last.exit_code) return report_denied(globals, end.last, std::move(now));
  // A quick bootstrap is over before anybody looked: the bar's end is shown in any case.
  if (const auto done = bootstrapped_line(now)) LiveLine(!globals.json()).keep(*done);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  const auto applied = number(now, "applied_lsn");
  const auto said = fmt::format("{}  Following after {}, at LSN {}", options.name, duration_text(took),
                                applied ? grouped(*applied) : "unknown");
  return report_good(globals, std::move(now), said);
}

bool has_dialed(const object& mirror) {
  return text(mirror, "status") != "Disconnected" || object_field(mirror, "last_error") != nullptr;
}

/// What the node's first attempt came to, if it comes soon; what only the answer to the creation said stays.
object after_first_dial(const Options& options, object created) {
  constexpr std::chrono::milliseconds pause_between(50), patience(2000);
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!has_dialed(created) && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(pause_between);
    const auto asked = ask_mirrors(options.admin, options.name);
    if (!asked || asked->exit_code) break;
    const auto& mirrors = array_field(asked->body, "mirrors");
    if (mirrors.size() != 1 || !mirrors.front().is_object()) break;
    for (const auto& [field, value] : mirrors.front().get_object())
      created[field] = value;
  }
  return created;
}

std::string created_text(const object& mirror) {
  auto page = status_line(mirror);
  if (text(mirror, "status") == "Disconnected" && has_dialed(mirror)) {
    page += fmt::format(
        "\nthe mirror is made, and its node dials again by itself until that is mended; `crosslink mirror delete {}` "
        "ends it",
        text(mirror, "name"));
  }
  return page;
}

int create(const Globals& globals, const Options& options) {
  const auto slash = std::min(options.from.find('/'), options.from.size());
  if (!is_dns_name(std::string_view(options.from).substr(0, slash)) || slash + 1 >= options.from.size()) {
    return report_unasked(
        globals, MirrorError::configuration(fmt::format(
                     "--from: '{}' is not CLUSTER_ID/DATABASE, such as prod-us/orders", escape(options.from))));
  }
  if (options.into != "etcd" && !options.endpoints.empty()) {
    return report_unasked(globals, MirrorError::configuration(
                                       "--endpoints and what belongs to it is of a mirror that etcd keeps: say --into "
                                       "etcd, too, or leave it out"));
  }
  auto patience = std::chrono::steady_clock::duration(create_timeout);
  if (const auto most = seconds_of(options.timeout_s)) patience = std::min(patience, *most + admin_answer_timeout);
  auto answer = ask_node(options.admin, {AdminMethod::post, "/v1/mirrors", request_body(options), patience});
  if (!answer) return report_unasked(globals, answer.error());
  if (options.dry_run && !answer->exit_code) return report_checks(globals, std::move(answer->body));
  show_replaced(globals, answer->body);
  if (answer->exit_code) return report_denied(globals, *answer);
  const bool terminal = !globals.json() && ::isatty(STDOUT_FILENO) == 1;
  if (options.wait || terminal) {
    if (terminal) note(globals, LogLevel::info, "the mirror is made; Ctrl-C ends only the watching");
    return follow(globals, options, std::move(answer->body));
  }
  auto made = after_first_dial(options, std::move(answer->body));
  const auto said = created_text(made);
  return report_good(globals, std::move(made), said);
}

/// As etcdctl names them.
void add_target_options(const Command& verb, Options& options) {
  verb.option("--into", options.into, "What keeps it: this node, or an etcd cluster")
      .among({"rocksdb", "etcd"})
      .shows_default();
  const auto endpoints =
      verb.list("--endpoints", options.endpoints, "The etcd cluster, http:// or https://").type("URL,...");
  const auto add = [&](const char* name, auto& value, const char* description, const char* type) {
    verb.option(name, value, description).type(type).needs(endpoints);
  };
  add("--prefix", options.prefix, "What its keys there begin with; as at the source without it", "KEY");
  add("--cacert", options.ca, "PEM file: who may sign the etcd servers' certificates", "FILE");
  add("--cert", options.cert, "PEM file: our certificate for etcd", "FILE");
  add("--key", options.key, "PEM file: our private key for etcd", "FILE");
  add("--user", options.user, "Who we are for etcd", "NAME");
  add("--password-file", options.password_file, "Its first line is the password; its owner's only", "FILE");
  verb.flag("--allow-password-in-clear", options.password_in_clear,
            "The password may go over http:// to another machine")
      .needs(endpoints);
  const auto check_kept = [](const std::string& text) {
    const auto number = parse_number(text);
    if (text == "off" || (number && *number <= node::target_revisions_kept_max)) return std::string();
    return fmt::format("'{}' is neither off nor a whole decimal number from 0 to {}", text,
                       node::target_revisions_kept_max);
  };
  verb.option("--target-revisions-kept", options.revisions_kept,
              "Compact the target's history to so many revisions, for all who use it; off: never")
      .type("N")
      .check(check_kept)
      .needs(endpoints);
}

}  // namespace

void add_mirror_create_verb(const Command& mirror) {
  auto options = std::make_shared<Options>();
  const auto verb = mirror.add("create", "Make a database here that follows one of another cluster");
  add_name(verb, options->name, "The mirror: a database of this node");
  verb.option("--from", options->from, "What to mirror: the source's cluster id and the database there")
      .required()
      .type("CLUSTER_ID/DATABASE");
  verb.option("--addr", options->addresses, "The source; several, comma separated, are tried in turn")
      .required()
      .type("HOST:PORT");
  verb.option("--mode", options->mode, "sync: the source must name this mirror, too")
      .among({"async", "sync"})
      .shows_default();
  verb.option("--congestion", options->congestion, "Congestion control").among({"bbr", "cubic"}).shows_default();
  verb.option("--on-source-behind", options->on_source_behind,
              "When the source has lost what this mirror has: wait for an operator, or copy it anew")
      .among({"halt", "resync"})
      .shows_default();
  add_target_options(verb, *options);
  verb.flag("--replace", options->replace, "Take the place of a database of this name");
  verb.flag("--yes", options->yes, "Agree to what is shown without it: what --replace puts aside, what etcd loses");
  const auto dry = verb.flag("--dry-run", options->dry_run,
                             "Check address, identity, version, database, space and loop, and change nothing");
  const auto wait = verb.flag("--wait", options->wait, "Return once it follows; on a terminal always").excludes(dry);
  verb.seconds("--timeout", options->timeout_s, "Of --wait: give up watching after this long").needs(wait);
  add_admin_options(verb, options->admin);
  verb.footer(
      "Example:\n  crosslink mirror create orders --from prod-us/orders --addr source.example:7400 \\\n"
      "    --config node.toml --wait\n"
      "  crosslink mirror create registry --from prod-us/registry --addr source.example:7400 --into etcd \\\n"
      "    --endpoints https://10.1.0.1:2379,https://10.1.0.2:2379 --cacert etcd-ca.pem --config node.toml");
  verb.run([options](const Globals& globals) { return create(globals, *options); });
}

}  // namespace crosslink::cli
