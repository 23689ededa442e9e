#include "cli/admin_verbs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "cli/json_fields.hpp"
#include "cli/report.hpp"
#include "cli/status_text.hpp"
#include "node/config.hpp"

namespace crosslink::cli {
namespace {

constexpr std::size_t sentence_bytes_max = 4096;

}  // namespace

int report_unasked(const Globals& globals, const MirrorError& error, boost::json::object fields) {
  if (globals.json()) {
    append_error(fields, error);
    print_json(fields);
  } else {
    fmt::print(stderr, "crosslink: {}\n", error.message());
  }
  return exit_code(error);
}

int report_denied(const Globals& globals, const AdminAnswer& answer, boost::json::object fields) {
  static constexpr std::array<const char*, 3> last{"error", "caused_by", "message"};
  if (globals.json()) {
    for (const auto& [key, value] : answer.body) {
      if (key != "exit_code" && std::ranges::find(last, key) == last.end()) fields[key] = value;
    }
    for (const auto* field : last) {
      const auto* value = answer.body.if_contains(field);
      fields[field] = value == nullptr ? boost::json::value() : *value;
    }
    print_json(fields);
  } else {
    auto sentence = text(answer.body, "message", sentence_bytes_max);
    if (sentence.empty()) sentence = "the node refused, and did not say why";
    fmt::print(stderr, "crosslink: {}\n", sentence);
  }
  return answer.exit_code.value_or(exit_unexpected);
}

int ask_and_report(const Globals& globals, const AdminOptions& options, const AdminRequest& request,
                   const std::function<std::string(const boost::json::object&)>& shown) {
  auto answer = ask_node(options, request);
  if (!answer) return report_unasked(globals, answer.error());
  if (answer->exit_code) return report_denied(globals, *answer);
  const auto said = shown(answer->body);
  return report_good(globals, std::move(answer->body), said);
}

void add_name(CLI::App& verb, std::string& name, std::string_view description) {
  const auto check = [](const std::string& given) {
    if (node::is_database_name(given)) return std::string();
    return fmt::format("'{}' is not a name of 1 to 64 letters, digits, '_', '.' or '-' without a leading dot",
                       escape(given));
  };
  verb.add_option("NAME", name, std::string(description))->required()->check(check, "")->type_name("");
}

Result<void> demand_yes(bool yes, std::string_view what) {
  if (yes) return {};
  return MirrorError::configuration(fmt::format("{}; if that is meant, add --yes", what));
}

void add_mirror_action(CLI::App& app, Globals& globals, const MirrorAction& action) {
  struct Options {
    AdminOptions admin;
    std::string name;
    bool yes = false;
  };
  auto options = std::make_shared<Options>();
  auto* verb = app.add_subcommand(action.verb, action.description);
  add_name(*verb, options->name, "The mirror");
  add_admin_options(*verb, options->admin);
  const bool asks = !action.agreed.empty();
  if (asks) verb->add_flag("--yes", options->yes, "Agree: " + action.agreed);
  verb->footer(fmt::format("Example:\n  crosslink {} orders --config node.toml{}", action.verb, asks ? " --yes" : ""));
  const auto run = [&globals, options, action, asks]() -> int {
    if (const auto agreed = demand_yes(!asks || options->yes, action.agreed); !agreed)
      return report_unasked(globals, agreed.error());
    const auto path = fmt::format("/v1/mirrors/{}/{}", options->name, action.verb);
    return ask_and_report(globals, options->admin, {AdminMethod::post, path, {}, admin_answer_timeout}, status_line);
  };
  verb->callback([&globals, run] { globals.run = run; });
}

}  // namespace crosslink::cli
