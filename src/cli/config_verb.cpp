// `crosslink config`: generate prints one, check reads one.
#include <fmt/format.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <utility>

#include "cli/connection_options.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "crosslink/quic/endpoint.hpp"
#include "node/config.hpp"
#include "node/config_check.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

int generate(const Globals& globals) {
  if (globals.json()) return report_good(globals, {{"config", node::example_config()}}, "");
  fmt::print("{}", node::example_config());
  return exit_good;
}

boost::asio::awaitable<int> check_what_it_names(const Globals& globals, const node::NodeConfig& config) {
  auto resolving = quic::resolve(config.mirrors);
  const auto mirrors = co_await std::move(resolving);
  if (!mirrors) co_return report_error(globals, mirrors.error());
  const auto good = node::check_config(config, *mirrors);
  if (!good) co_return report_error(globals, good.error());
  const auto databases = node::check_databases(config);
  co_return databases ? exit_good : report_error(globals, databases.error());
}

int check(const Globals& globals, const std::string& file) {
  const auto config = node::load_config(file);
  if (!config) return report_error(globals, config.error());
  boost::asio::io_context context(1);
  if (const auto code = run_to_end(context, check_what_it_names(globals, *config)); code != exit_good) return code;
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
  const auto checking = verb.add(
      "check",
      "Say what `crosslink serve` would refuse: the config, and the files, rights and addresses that it names");
  auto file = std::make_shared<std::string>();
  checking.option("--config", *file, "The file").required();
  checking.footer("Example:\n  crosslink config check --config node.toml");
  checking.run([file](const Globals& globals) { return check(globals, *file); });
}

}  // namespace crosslink::cli
