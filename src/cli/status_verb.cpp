#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <thread>

#include "cli/admin_verbs.hpp"
#include "cli/connection_options.hpp"
#include "cli/json_fields.hpp"
#include "cli/mirror_wait.hpp"
#include "cli/report.hpp"
#include "cli/status_text.hpp"
#include "cli/verbs.hpp"
#include "node/quantity.hpp"

namespace crosslink::cli {
namespace {

constexpr std::chrono::seconds watch_every{1};

struct Options {
  AdminOptions admin;
  std::string name, wait, lag_max;
  bool watch = false;
  std::optional<double> timeout_s;
  std::optional<std::chrono::microseconds> lag;
};

const boost::json::object no_mirrors{{"mirrors", boost::json::array{}}};

std::string page_of(const Options& options, const boost::json::object& body) {
  const auto& mirrors = array_field(body, "mirrors");
  const bool one = !options.name.empty() && mirrors.size() == 1 && mirrors.front().is_object();
  return one ? status_page(mirrors.front().get_object()) : status_table(mirrors);
}

/// The exit code is the status's, not the request's.
int show(const Globals& globals, const Options& options, boost::json::object body) {
  auto code = status_exit_code(array_field(body, "mirrors"), options.lag);
  auto page = page_of(options, body);
  for (const auto& one : array_field(body, "not_open")) {
    const auto* const database = one.if_object();
    if (database == nullptr) continue;
    page += fmt::format("\n{}  is not open, tried again and again: {}", text(*database, "name"),
                        text(*database, "reason", 4096));
    if (code == exit_good) code = exit_disconnected;
  }
  report_good(globals, std::move(body), page);
  return code;
}

int once(const Globals& globals, const Options& options) {
  auto asked = ask_mirrors(options.admin, options.name);
  if (!asked) return report_unasked(globals, asked.error(), no_mirrors);
  if (asked->exit_code) return report_denied(globals, *asked, no_mirrors);
  return show(globals, options, std::move(asked->body));
}

int wait(const Globals& globals, const Options& options) {
  WaitOptions waiting{options.admin, options.name, {}, false, !globals.json()};
  waiting.timeout = seconds_of(options.timeout_s);
  auto end = wait_until_following(waiting);
  if (end.error) return report_unasked(globals, *end.error, std::move(end.last.body));
  if (end.last.exit_code) return report_denied(globals, end.last, no_mirrors);
  return show(globals, options, std::move(end.last.body));
}

/// Until a signal ends it; a node that is away is shown as such and asked again.
int watch(const Globals& globals, const Options& options) {
  const bool clears = !globals.json() && ::isatty(STDOUT_FILENO) == 1;
  while (true) {
    if (clears) fmt::print("\x1b[H\x1b[2J");
    const auto code = once(globals, options);
    if (code == exit_usage) return code;  // a wrong option or name stays wrong
    std::this_thread::sleep_for(watch_every);
  }
}

int run(const Globals& globals, Options& options) {
  if (!options.lag_max.empty()) {
    const auto lag = node::parse_duration(options.lag_max);
    if (!lag) return report_unasked(globals, lag.error().with_context("--max-lag"), no_mirrors);
    options.lag = *lag;
  }
  if (options.watch) return watch(globals, options);
  return options.wait.empty() ? once(globals, options) : wait(globals, options);
}

}  // namespace

void add_status_verb(CLI::App& app, Globals& globals) {
  auto options = std::make_shared<Options>();
  auto* verb = app.add_subcommand(
      "status", "What mirrors do: exit 3 when --max-lag is passed or the lag is unknown, 4 when one is Disconnected");
  add_name(*verb, options->name, "One mirror in full; without it a table of all");
  verb->get_option("NAME")->required(false);
  auto* watching = verb->add_flag("--watch", options->watch, "Again each second until you end it");
  auto* waiting = verb->add_option("--wait", options->wait, "Return once they all follow, the node need not run yet")
                      ->check(CLI::IsMember({"following"}))
                      ->excludes(watching);
  add_seconds_option(*verb, "--timeout", options->timeout_s, "With --wait: give up after this long; never by default")
      ->needs(waiting);
  verb->add_option("--max-lag", options->lag_max, "The lag to be content with, such as 5s")->type_name("D");
  add_admin_options(*verb, options->admin);
  verb->footer(
      "Example:\n  crosslink status --config node.toml\n"
      "  crosslink status orders --config node.toml --wait following --timeout 60 --max-lag 5s");
  verb->callback([&globals, options] { globals.run = [&globals, options] { return run(globals, *options); }; });
}

}  // namespace crosslink::cli
