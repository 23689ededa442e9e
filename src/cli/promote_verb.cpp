#include <fmt/format.h>

#include <memory>

#include "cli/admin_text.hpp"
#include "cli/admin_verbs.hpp"
#include "cli/verbs.hpp"
#include "node/quantity.hpp"

namespace crosslink::cli {
namespace {

struct Options {
  AdminOptions admin;
  std::string name, lag_max;
  bool dry_run = false, accept_inconsistent = false, yes = false;
};

int promote(const Globals& globals, const Options& options) {
  boost::json::object body{
      {"require_lag_ms", nullptr}, {"dry_run", options.dry_run}, {"accept_inconsistent", options.accept_inconsistent}};
  if (!options.lag_max.empty()) {
    const auto lag = node::parse_duration(options.lag_max);
    if (!lag) return report_unasked(globals, lag.error().with_context("--require-lag"));
    body["require_lag_ms"] = lag->count();
  }
  const auto agreed =
      demand_yes(options.yes || options.dry_run,
                 fmt::format("promote ends the link of '{}' for good and opens it for writes; --dry-run "
                             "shows what would be lost",
                             options.name));
  if (!agreed) return report_unasked(globals, agreed.error());
  const auto path = fmt::format("/v1/mirrors/{}/promote", options.name);
  return ask_and_report(globals, options.admin, {AdminMethod::post, path, std::move(body), admin_work_timeout},
                        promote_text);
}

}  // namespace

void add_promote_verb(CLI::App& app, Globals& globals) {
  auto options = std::make_shared<Options>();
  auto* verb =
      app.add_subcommand("promote", "End the link and take writes; shows the LSN and what is known to be lost");
  add_name(*verb, options->name, "The mirror");
  verb->add_option("--require-lag", options->lag_max,
                   "Only when the lag is known and no longer than this, such as 5s; else exit code 3")
      ->type_name("D");
  verb->add_flag("--dry-run", options->dry_run, "Show what would happen, and change nothing");
  verb->add_flag("--accept-inconsistent", options->accept_inconsistent,
                 "Also data that is the source's at no single LSN: during a bootstrap that was begun over old data");
  verb->add_flag("--yes", options->yes, "Agree: the link ends for good");
  add_admin_options(*verb, options->admin);
  verb->footer("Example:\n  crosslink promote orders --config node.toml --require-lag 5s --yes");
  verb->callback([&globals, options] { globals.run = [&globals, options] { return promote(globals, *options); }; });
}

}  // namespace crosslink::cli
