#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "cli/admin_text.hpp"
#include "cli/admin_verbs.hpp"
#include "cli/json_fields.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"

namespace crosslink::cli {
namespace {

constexpr int exit_different = 5;
constexpr int exit_could_not_tell = 1;

struct Options {
  AdminOptions admin;
  std::string name;
};

int verify(const Globals& globals, const Options& options) {
  const auto begin = std::chrono::steady_clock::now();
  const auto path = fmt::format("/v1/mirrors/{}/verify", options.name);
  auto answer = ask_node(options.admin, {AdminMethod::post, path, {}, admin_work_timeout});
  if (!answer) return report_unasked(globals, answer.error());
  if (answer->exit_code) return report_denied(globals, *answer);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  const auto outcome = text(answer->body, "outcome");
  const auto said = verify_text(answer->body, took);
  const auto good = report_good(globals, std::move(answer->body), said);
  return outcome == "equal" ? good : outcome == "different" ? exit_different : exit_could_not_tell;
}

}  // namespace

void add_verify_verb(CLI::App& app, Globals& globals) {
  auto options = std::make_shared<Options>();
  auto* verb = app.add_subcommand("verify",
                                  "Compare a mirror with its source, at one LSN: exit 0 equal, 5 different, 1 unknown");
  add_name(*verb, options->name, "The mirror");
  add_admin_options(*verb, options->admin);
  verb->footer("Example:\n  crosslink verify orders --config node.toml");
  verb->callback([&globals, options] { globals.run = [&globals, options] { return verify(globals, *options); }; });
}

}  // namespace crosslink::cli
