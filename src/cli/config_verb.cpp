// `crosslink config`: generate prints one, check reads one.
#include <fmt/format.h>

#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "node/config.hpp"

namespace crosslink::cli {
namespace {

int generate(const Globals& globals) {
  if (globals.json()) return report_good(globals, {{"config", node::example_config()}}, "");
  fmt::print("{}", node::example_config());
  return exit_good;
}

int check(const Globals& globals, const std::string& file) {
  const auto config = node::load_config(file);
  if (!config) return report_error(globals, config.error());
  boost::json::array names;
  for (const auto& database : config->databases)
    names.emplace_back(database.name);
  return report_good(globals, {{"cluster_id", config->cluster_id}, {"databases", std::move(names)}},
                     fmt::format("{} is a config for cluster {}", file, config->cluster_id));
}

}  // namespace

void add_config_verb(CLI::App& app, Globals& globals) {
  auto* verb = app.add_subcommand("config", "Print or check a node's config");
  verb->require_subcommand(0, 1);
  verb->footer("Example:\n  crosslink config generate > node.toml");
  auto* generating = verb->add_subcommand("generate", "Print a commented config with every key");
  generating->footer("Example:\n  crosslink config generate > node.toml");
  generating->callback([&globals] { globals.run = [&globals] { return generate(globals); }; });
  auto* checking = verb->add_subcommand("check", "Read a config as `crosslink serve` would, and say what is wrong");
  auto file = std::make_shared<std::string>();
  checking->add_option("--config", *file, "The file")->required();
  checking->footer("Example:\n  crosslink config check --config node.toml");
  checking->callback([&globals, file] { globals.run = [&globals, file] { return check(globals, *file); }; });
}

}  // namespace crosslink::cli
