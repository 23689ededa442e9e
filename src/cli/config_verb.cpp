// `crosslink config`: generate prints one, check reads one.
#include <fmt/format.h>

#include <memory>
#include <string>

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

void add_config_verb(const Command& program) {
  const auto verb = program.add("config", "Print or check a node's config");
  verb.footer("Example:\n  crosslink config generate > node.toml");
  const auto generating = verb.add("generate", "Print a commented config with every key");
  generating.footer("Example:\n  crosslink config generate > node.toml");
  generating.run(generate);
  const auto checking = verb.add("check", "Read a config as `crosslink serve` would, and say what is wrong");
  auto file = std::make_shared<std::string>();
  checking.option("--config", *file, "The file").required();
  checking.footer("Example:\n  crosslink config check --config node.toml");
  checking.run([file](const Globals& globals) { return check(globals, *file); });
}

}  // namespace crosslink::cli
