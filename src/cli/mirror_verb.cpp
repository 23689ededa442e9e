// `crosslink mirror`: create (mirror_create.cpp), list, delete.
#include <fmt/format.h>

#include <memory>

#include "cli/admin_verbs.hpp"
#include "cli/json_fields.hpp"
#include "cli/mirror_create.hpp"
#include "cli/mirror_wait.hpp"
#include "cli/report.hpp"
#include "cli/status_text.hpp"
#include "cli/verbs.hpp"

namespace crosslink::cli {
namespace {

struct Options {
  AdminOptions admin;
  std::string name;
  bool yes = false, keep_data = false;
};

int list(const Globals& globals, const Options& options) {
  const boost::json::object none{{"mirrors", boost::json::array{}}};
  auto asked = ask_mirrors(options.admin, {});
  if (!asked) return report_unasked(globals, asked.error(), none);
  if (asked->exit_code) return report_denied(globals, *asked, none);
  const auto said = mirror_list(array_field(asked->body, "mirrors"));
  return report_good(globals, std::move(asked->body), said);
}

std::string deleted_text(const boost::json::object& deleted) {
  const bool kept = text(deleted, "data") == "kept";
  return fmt::format("{}  deleted{}", text(deleted, "name"),
                     kept ? "; its data stays as a database that can be read and follows nobody" : ", with its data");
}

int remove(const Globals& globals, const Options& options) {
  const auto what = options.keep_data
                        ? fmt::format("delete ends the mirror '{}' and keeps its data, read-only", options.name)
                        : fmt::format("delete ends the mirror '{}' and removes its data", options.name);
  if (const auto agreed = demand_yes(options.yes, what); !agreed) return report_unasked(globals, agreed.error());
  const auto path = fmt::format("/v1/mirrors/{}?keep_data={}", options.name, options.keep_data);
  return ask_and_report(globals, options.admin, {AdminMethod::remove, path, {}, admin_answer_timeout}, deleted_text);
}

}  // namespace

void add_mirror_verb(CLI::App& app, Globals& globals) {
  auto options = std::make_shared<Options>();
  auto* verb = app.add_subcommand("mirror", "Make, list and delete the mirrors of a node");
  verb->require_subcommand(0, 1);
  verb->footer("Example:\n  crosslink mirror list --config node.toml");
  add_mirror_create_verb(*verb, globals);

  auto* listing = verb->add_subcommand("list", "Every mirror: what it follows, where, and its status");
  add_admin_options(*listing, options->admin);
  listing->footer("Example:\n  crosslink mirror list --config node.toml");
  listing->callback([&globals, options] { globals.run = [&globals, options] { return list(globals, *options); }; });

  auto* deleting = verb->add_subcommand("delete", "End a mirror and remove its data");
  add_name(*deleting, options->name, "The mirror");
  deleting->add_flag("--keep-data", options->keep_data, "Leave the data as a database that can only be read");
  deleting->add_flag("--yes", options->yes, "Agree: the mirror ends");
  add_admin_options(*deleting, options->admin);
  deleting->footer("Example:\n  crosslink mirror delete orders --config node.toml --yes");
  deleting->callback([&globals, options] { globals.run = [&globals, options] { return remove(globals, *options); }; });
}

}  // namespace crosslink::cli
