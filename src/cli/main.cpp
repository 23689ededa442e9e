#include <fmt/format.h>

#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "cli/report.hpp"
#include "cli/verbs.hpp"

namespace crosslink::cli {
namespace {

/// CLI11 has not stored the option when a parse fails early, yet the error must come in the format asked for.
bool asks_for_json(const std::vector<std::string_view>& arguments) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const auto one = arguments[i];
    if (one == "-ojson" || one == "-o=json" || one == "--output=json") return true;
    if (one == "json" && (arguments[i - 1] == "-o" || arguments[i - 1] == "--output")) return true;
  }
  return false;
}

void add_global_options(CLI::App& app, Globals& globals) {
  const auto set_output = [&globals](const std::string& text) {
    globals.output = text == "json" ? OutputFormat::json : OutputFormat::text;
  };
  app.add_option_function<std::string>("-o,--output", set_output, "Results as text or as JSON with stable field names")
      ->check(CLI::IsMember({"text", "json"}))
      ->default_str("text");
  const auto set_level = [&globals](const std::string& text) {
    globals.log_level = text == "error"     ? LogLevel::error
                        : text == "warning" ? LogLevel::warning
                        : text == "debug"   ? LogLevel::debug
                                            : LogLevel::info;
  };
  app.add_option_function<std::string>("--log-level", set_level, "How much to say on stderr besides errors")
      ->check(CLI::IsMember({"error", "warning", "info", "debug"}))
      ->default_str("info");
  app.set_version_flag("--version", fmt::format("crosslink {}", CROSSLINK_VERSION), "Print the version and exit");
}

int report_usage(const Globals& globals, std::string_view what) {
  const auto usage = MirrorError::configuration(fmt::format("{}; --help after a verb shows its options", what));
  static_cast<void>(report_error(globals, usage));
  return exit_usage;
}

std::string verb_missing(const CLI::App& app) {
  const CLI::App* deepest = &app;
  while (!deepest->get_subcommands().empty())
    deepest = deepest->get_subcommands().front();
  std::vector<std::string> names;
  for (const auto* one : deepest->get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(one->get_name());
  return fmt::format("after {} comes one of: {}", deepest->get_name(), fmt::join(names, ", "));
}

int run(int argc, char** argv) {
  CLI::App app("crosslink mirrors databases of other clusters over QUIC.", "crosslink");
  Globals globals;
  app.fallthrough();             // before the verbs: they inherit it, so that global options may follow them
  app.require_subcommand(0, 1);  // none is reported below: CLI11's own check hides the name of an unknown verb
  app.footer(
      "Global options may stand before or after the verb.\nExample:\n  crosslink certs init --dir certs -o json");
  add_global_options(app, globals);
  add_certs_verb(app, globals);
  add_ping_verb(app, globals);
  add_listen_verb(app, globals);
  add_serve_verb(app, globals);
  add_config_verb(app, globals);
  add_mirror_verb(app, globals);
  add_status_verb(app, globals);
  add_pause_verb(app, globals);
  add_resume_verb(app, globals);
  add_resync_verb(app, globals);
  add_promote_verb(app, globals);
  add_verify_verb(app, globals);
  add_limit_verb(app, globals);
  add_db_verb(app, globals);
  add_bench_verb(app, globals);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
      return app.exit(error);  // --help, --version
    if (asks_for_json({argv, argv + argc})) globals.output = OutputFormat::json;
    return report_usage(globals, error.what());
  }
  if (!globals.run) return report_usage(globals, verb_missing(app));
  return globals.run();
}

}  // namespace
}  // namespace crosslink::cli

int main(int argc, char** argv) {
  try {
    return crosslink::cli::run(argc, argv);
  } catch (const std::exception& error) {  // nothing of ours throws: memory ran out, or this is a bug
    fmt::print(stderr, "crosslink: unexpected: {}\n", error.what());
    return crosslink::cli::exit_unexpected;
  }
}
