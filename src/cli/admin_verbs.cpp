#include "cli/admin_verbs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/json_fields.hpp"
#include "cli/report.hpp"
#include "node/config.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

constexpr std::size_t sentence_bytes_max = 4096;

}  // namespace

int report_unasked(const Globals& globals, const MirrorError& error, boost::json::object fields) {
  if (globals.json()) {
    append_error(fields, error);
    print_json(fields);
  } else {
    fmt::print(stderr, "{}: {}\n", globals.program, error.message());
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
    fmt::print(stderr, "{}: {}\n", globals.program, sentence);
  }
  return answer.exit_code.value_or(exit_failed);
}

int ask_and_report(const Globals& globals, const AdminOptions& options, const AdminRequest& request,
                   const std::function<std::string(const boost::json::object&)>& shown) {
  auto answer = ask_node(options, request);
  if (!answer) return report_unasked(globals, answer.error());
  if (answer->exit_code) return report_denied(globals, *answer);
  const auto said = shown(answer->body);
  return report_good(globals, std::move(answer->body), said);
}

void add_admin_options(const Command& verb, AdminOptions& options) {
  const auto config =
      verb.option("--config", options.config, "The node's config: its address and token are found there").type("FILE");
  verb.option("--admin", options.admin, "The node's admin port, without --config; else CROSSLINK_ADMIN")
      .type("HOST:PORT")
      .excludes(config);
  verb.option("--token-file", options.token_file, "The file admin.token of the node's data_dir").type("FILE");
  verb.option("--ca", options.ca, "PEM file: who signed the node's certificate, when its admin port speaks TLS")
      .type("FILE");
  verb.option("--cluster-id", options.cluster_id, "With TLS: the node's cluster id, demanded of its certificate")
      .type("ID");
}

Option add_name(const Command& verb, std::string& name, const std::string& description) {
  const auto check = [](const std::string& given) {
    if (node::is_database_name(given)) return std::string();
    return fmt::format("'{}' is not a name of 1 to 64 letters, digits, '_', '.' or '-' without a leading dot",
                       escape(given));
  };
  return verb.option("NAME", name, description).required().check(check).type("");
}

Result<void> demand_yes(bool yes, std::string_view what) {
  if (yes) return {};
  return MirrorError::configuration(fmt::format("{}; if that is meant, add --yes", what));
}

}  // namespace crosslink::cli
