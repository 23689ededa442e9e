#include "cli/command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <exception>
#include <system_error>
#include <utility>

#include "cli/report.hpp"
#include "crosslink/version.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

/// Absent when it is not the whole text.
template <class Number>
std::optional<Number> read_whole(std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// CLI11 has not stored the option when a parse fails early, yet the error must come in the format asked for.
bool asks_for_json(const std::vector<std::string_view>& arguments) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const auto one = arguments[i];
    if (one == "-ojson" || one == "-o=json" || one == "--output=json") return true;
    if (one == "json" && (arguments[i - 1] == "-o" || arguments[i - 1] == "--output")) return true;
  }
  return false;
}

void add_global_options(const Command& root, Globals& globals) {
  const auto set_output = [&globals](const std::string& text) {
    globals.output = text == "json" ? OutputFormat::json : OutputFormat::text;
  };
  root.choice("-o,--output", set_output, {"text", "json"}, "text",
              "Results as text or as JSON with stable field names");
  const auto set_level = [&globals](const std::string& text) {
    globals.log_level = text == "error"     ? LogLevel::error
                        : text == "warning" ? LogLevel::warning
                        : text == "debug"   ? LogLevel::debug
                                            : LogLevel::info;
  };
  root.choice("--log-level", set_level, {"error", "warning", "info", "debug"}, "info",
              "How much to say on stderr besides errors");
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

/// What CLI11 says of a parse that failed, and our hint to a word that it does not know.
std::string what_failed(const Program& program, const CLI::App& app, const CLI::ParseError& error) {
  for (const auto& word : app.remaining()) {
    if (const auto hint = program.hints.find(word); hint != program.hints.end())
      return fmt::format("{}; {}", error.what(), hint->second);
  }
  return error.what();
}

int parse_and_run(const Program& program, int argc, char** argv) {
  CLI::App app(program.description, program.name);
  Globals globals;
  globals.program = program.name;
  Command::Work chosen;
  app.fallthrough();             // before the verbs: they inherit it, so that global options may follow them
  app.require_subcommand(0, 1);  // none is reported below: CLI11's own check hides the name of an unknown verb
  app.footer(program.footer);
  const Command root(app, chosen);
  add_global_options(root, globals);
  app.set_version_flag("--version", fmt::format("{} {}", program.name, version_text), "Print the version and exit");
  for (const auto add_verb : program.verbs)
    add_verb(root);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
      return app.exit(error);  // --help, --version
    if (asks_for_json({argv, argv + argc})) globals.output = OutputFormat::json;
    return report_usage(globals, what_failed(program, app, error));
  }
  if (!chosen) return report_usage(globals, verb_missing(app));
  return chosen(globals);
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) { return read_whole<std::uint64_t>(text); }

Option Option::required(bool is_required) const {
  option_->required(is_required);
  return *this;
}

Option Option::type(const std::string& name) const {
  option_->type_name(name);
  return *this;
}

Option Option::among(std::vector<std::string> values) const {
  option_->check(CLI::IsMember(std::move(values)));
  return *this;
}

Option Option::check(const std::function<std::string(const std::string&)>& what_is_wrong) const {
  option_->check(what_is_wrong, "");
  return *this;
}

Option Option::shows_default() const {
  option_->capture_default_str();
  return *this;
}

Option Option::needs(Option other) const {
  option_->needs(other.option_);
  return *this;
}

Option Option::excludes(Option other) const {
  option_->excludes(other.option_);
  return *this;
}

bool Option::given() const { return option_->count() > 0; }

Command Command::add(const std::string& name, const std::string& description) const {
  app_->require_subcommand(0, 1);
  return {*app_->add_subcommand(name, description), *chosen_};
}

void Command::run(Work work) const {
  app_->callback([chosen = chosen_, work = std::move(work)] { *chosen = work; });
}

void Command::footer(const std::string& text) const { app_->footer(text); }

Option Command::option(const std::string& name, std::string& value, const std::string& description) const {
  return Option(*app_->add_option(name, value, description));
}

Option Command::option(const std::string& name, std::optional<std::string>& value,
                       const std::string& description) const {
  return Option(*app_->add_option(name, value, description));
}

Option Command::repeated(const std::string& name, std::vector<std::string>& values,
                         const std::string& description) const {
  return Option(*app_->add_option(name, values, description)->allow_extra_args(false));
}

Option Command::list(const std::string& name, std::vector<std::string>& values, const std::string& description) const {
  return Option(*app_->add_option(name, values, description)->delimiter(','));
}

Option Command::flag(const std::string& name, bool& value, const std::string& description) const {
  return Option(*app_->add_flag(name, value, description));
}

Option Command::number(const std::string& name, std::uint64_t& number, const std::string& description,
                       NumberRange range) const {
  const auto check = [range](const std::string& text) {
    const auto value = parse_number(text);
    if (value && *value >= range.min && *value <= range.max) return std::string();
    return fmt::format("'{}' is not a whole decimal number from {} to {}", text, range.min, range.max);
  };
  const auto store = [&number](const CLI::results_t& results) {
    const auto value = parse_number(results.back());
    if (value) number = *value;
    return value.has_value();
  };
  return Option(*app_->add_option(name, store, description)->check(check, "")->type_name("N"));
}

Option Command::seconds(const std::string& name, std::optional<double>& seconds, const std::string& description) const {
  static constexpr double min = 0.001, max = 1e6;
  // Compared the other way round, "nan" would pass.
  const auto check = [](const std::string& text) {
    const auto value = read_whole<double>(text);
    const bool good = value && *value >= min && *value <= max;
    return good ? std::string() : fmt::format("'{}' is not from {} to {:.0f}", text, min, max);
  };
  const auto store = [&seconds](const CLI::results_t& results) {
    seconds = read_whole<double>(results.back());
    return seconds.has_value();
  };
  return Option(*app_->add_option(name, store, description)->check(check, "")->type_name("S"));
}

Option Command::choice(const std::string& name, const std::function<void(const std::string&)>& chosen,
                       std::vector<std::string> values, const std::string& fallback,
                       const std::string& description) const {
  auto* option = app_->add_option_function<std::string>(name, chosen, description);
  return Option(*option->check(CLI::IsMember(std::move(values)))->default_str(fallback));
}

std::optional<std::chrono::steady_clock::duration> seconds_of(std::optional<double> seconds) {
  if (!seconds) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(*seconds));
}

int run_program(const Program& program, int argc, char** argv) {
  try {
    return parse_and_run(program, argc, argv);
  } catch (const std::exception& error) {  // nothing of ours throws: memory ran out, or this is a bug
    fmt::print(stderr, "{}: unexpected: {}\n", program.name, error.what());
    return exit_failed;
  }
}

}  // namespace crosslink::cli
