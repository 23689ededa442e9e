// `crosslink db`: list, create, restamp.
#include <fmt/format.h>

#include <boost/algorithm/string/split.hpp>
#include <memory>
#include <vector>

#include "cli/admin_text.hpp"
#include "cli/admin_verbs.hpp"
#include "cli/json_fields.hpp"
#include "cli/verbs.hpp"

namespace crosslink::cli {
namespace {

struct Options {
  AdminOptions admin;
  std::string name;
  std::optional<std::string> allow_mirrors;
  bool yes = false;
};

int list(const Globals& globals, const Options& options) {
  return ask_and_report(globals, options.admin, {AdminMethod::get, "/v1/databases", {}, admin_answer_timeout},
                        [](const auto& body) { return database_table(array_field(body, "databases")); });
}

int create(const Globals& globals, const Options& options) {
  boost::json::object body{{"name", options.name}, {"allow_mirrors", nullptr}};
  if (options.allow_mirrors) {
    std::vector<std::string> names;
    boost::algorithm::split(names, *options.allow_mirrors, [](char one) { return one == ','; });
    boost::json::array allowed;
    for (const auto& name : names) {
      if (options.allow_mirrors->empty()) break;  // --allow-mirrors '' is nobody
      if (!is_dns_name(name)) {
        return report_unasked(globals, MirrorError::configuration(fmt::format(
                                           "--allow-mirrors: '{}' is not the name of a certificate", escape(name))));
      }
      allowed.emplace_back(name);
    }
    body["allow_mirrors"] = std::move(allowed);
  }
  return ask_and_report(globals, options.admin,
                        {AdminMethod::post, "/v1/databases", std::move(body), admin_answer_timeout}, database_line);
}

int restamp(const Globals& globals, const Options& options) {
  const auto agreed =
      demand_yes(options.yes, fmt::format("'{}' gets a new incarnation: mirrors of it will halt or copy it anew, as "
                                          "they were told; it is for a database restored from a backup",
                                          options.name));
  if (!agreed) return report_unasked(globals, agreed.error());
  const auto path = fmt::format("/v1/databases/{}/restamp", options.name);
  return ask_and_report(globals, options.admin, {AdminMethod::post, path, {}, admin_answer_timeout}, database_line);
}

}  // namespace

void add_db_verb(CLI::App& app, Globals& globals) {
  auto options = std::make_shared<Options>();
  auto* verb = app.add_subcommand("db", "The databases of a node");
  verb->require_subcommand(0, 1);
  verb->footer("Example:\n  crosslink db list --config node.toml");

  auto* listing = verb->add_subcommand("list", "Every database: its index for SELECT, its role, who follows it");
  add_admin_options(*listing, options->admin);
  listing->footer("Example:\n  crosslink db list --config node.toml");
  listing->callback([&globals, options] { globals.run = [&globals, options] { return list(globals, *options); }; });

  auto* creating = verb->add_subcommand("create", "Make an empty database that takes writes");
  add_name(*creating, options->name, "The database");
  creating
      ->add_option("--allow-mirrors", options->allow_mirrors,
                   "Certificate names that may mirror it, comma separated; without it any that the CA signed")
      ->type_name("NAMES");
  add_admin_options(*creating, options->admin);
  creating->footer("Example:\n  crosslink db create orders --allow-mirrors eu-standby --config node.toml");
  creating->callback([&globals, options] { globals.run = [&globals, options] { return create(globals, *options); }; });

  auto* stamping = verb->add_subcommand("restamp", "Say that a database is another one now: after restoring a backup");
  add_name(*stamping, options->name, "The database");
  stamping->add_flag("--yes", options->yes, "Agree: its mirrors take it for another database");
  add_admin_options(*stamping, options->admin);
  stamping->footer("Example:\n  crosslink db restamp orders --config node.toml --yes");
  stamping->callback([&globals, options] { globals.run = [&globals, options] { return restamp(globals, *options); }; });
}

}  // namespace crosslink::cli
