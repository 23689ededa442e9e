// What is said to one mirror of a node: mirror list and delete, pause, resume, resync, limit, promote, verify. `mirror
// create` is in mirror_create.cpp.
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "cli/admin_text.hpp"
#include "cli/admin_verbs.hpp"
#include "cli/human.hpp"
#include "cli/json_fields.hpp"
#include "cli/mirror_wait.hpp"
#include "cli/report.hpp"
#include "cli/status_text.hpp"
#include "cli/verbs.hpp"
#include "crosslink/mirror.hpp"
#include "node/quantity.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

/// Each verb has its own, of which it uses some.
struct Options {
  AdminOptions admin;
  std::string name, bandwidth;
  std::optional<std::string> lag_max, timeout;  ///< an empty one is given, and no duration
  bool yes = false, keep_data = false, promoted = false, dry_run = false, accept_inconsistent = false;
};

std::string path_of(const Options& options, std::string_view what) {
  return fmt::format("/v1/mirrors/{}/{}", options.name, what);
}

int list(const Globals& globals, const Options& options) {
  const boost::json::object none{{"mirrors", boost::json::array{}}};
  auto asked = ask_mirrors(options.admin, {});
  if (!asked) return report_unasked(globals, asked.error(), none);
  if (asked->exit_code) return report_denied(globals, *asked, none);
  const auto said = mirror_list(array_field(asked->body, "mirrors"));
  return report_good(globals, std::move(asked->body), said);
}

int remove(const Globals& globals, const Options& options) {
  const auto what =
      options.keep_data ? fmt::format("delete ends the mirror '{}' and keeps its data, read-only", options.name)
      : options.promoted
          ? fmt::format("delete takes '{}', which may take writes, out of the node", options.name)
          : fmt::format("delete ends the mirror '{}' and removes its data; of one in etcd the keys stay there",
                        options.name);
  if (const auto agreed = demand_yes(options.yes, what); !agreed) return report_unasked(globals, agreed.error());
  const auto path =
      fmt::format("/v1/mirrors/{}?keep_data={}&promoted={}", options.name, options.keep_data, options.promoted);
  return ask_and_report(globals, options.admin, {AdminMethod::remove, path, {}, admin_answer_timeout}, deleted_text);
}

/// Bytes per second; 0 is none. "10MiB" and "10MiB/s" are the same.
Result<std::uint64_t> parse_rate(std::string_view text) {
  if (text == "none") return std::uint64_t{0};
  if (text.ends_with("/s")) text.remove_suffix(2);
  const auto size = node::parse_size(text);
  if (!size || *size == 0) {
    return MirrorError::configuration(
        fmt::format("--bandwidth: '{}' is not a rate such as 10MiB (per second) or none", escape(text)));
  }
  return *size;
}

std::string limit_text(const boost::json::object& mirror) {
  const auto limit = number(mirror, "bandwidth_bytes_per_s").value_or(0);
  const auto name = text(mirror, "name");
  return limit == 0 ? name + "  without limit" : fmt::format("{}  limited to {}/s", name, size_text(limit));
}

int limit(const Globals& globals, const Options& options) {
  const auto rate = parse_rate(options.bandwidth);
  if (!rate) return report_unasked(globals, rate.error());
  return ask_and_report(globals, options.admin,
                        {AdminMethod::post, path_of(options, "limit"), {{"bytes_per_s", *rate}}, admin_answer_timeout},
                        limit_text);
}

int promote(const Globals& globals, const Options& options) {
  boost::json::object body{
      {"require_lag_ms", nullptr}, {"dry_run", options.dry_run}, {"accept_inconsistent", options.accept_inconsistent}};
  auto patience = std::chrono::steady_clock::duration(PromotionOptions().timeout + admin_answer_timeout);
  if (options.lag_max) {
    const auto lag = node::parse_duration(*options.lag_max);
    if (!lag) return report_unasked(globals, lag.error().with_context("--require-lag"));
    body["require_lag_ms"] = lag->count();
  }
  if (options.timeout) {
    const auto timeout = node::parse_duration(*options.timeout);
    if (!timeout) return report_unasked(globals, timeout.error().with_context("--timeout"));
    body["timeout_ms"] = timeout->count();
    patience = *timeout + admin_answer_timeout;  // a step of the engine that is under way
  }
  const auto agreed =
      demand_yes(options.yes || options.dry_run,
                 fmt::format("promote ends the link of '{}' for good and opens it for writes; --dry-run "
                             "shows what would be lost",
                             options.name));
  if (!agreed) return report_unasked(globals, agreed.error());
  return ask_and_report(globals, options.admin,
                        {AdminMethod::post, path_of(options, "promote"), std::move(body), patience}, promote_text);
}

int verify(const Globals& globals, const Options& options) {
  const auto begin = std::chrono::steady_clock::now();
  auto answer = ask_node(options.admin, {AdminMethod::post, path_of(options, "verify"), {}, admin_work_timeout});
  if (!answer) return report_unasked(globals, answer.error());
  if (answer->exit_code) return report_denied(globals, *answer);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  const auto outcome = text(answer->body, "outcome");
  const auto said = verify_text(answer->body, took);
  const auto good = report_good(globals, std::move(answer->body), said);
  return outcome == "equal" ? good : outcome == "different" ? exit_different : exit_failed;
}

/// A verb `crosslink VERB NAME` that is one POST /v1/mirrors/NAME/VERB and answers with the mirror.
struct MirrorAction {
  std::string verb, description;
  /// What --yes agrees to; empty: it is not needed.
  std::string agreed;
};

void add_mirror_action(const Command& program, const MirrorAction& action) {
  auto options = std::make_shared<Options>();
  const auto verb = program.add(action.verb, action.description);
  add_name(verb, options->name, "The mirror");
  add_admin_options(verb, options->admin);
  const bool asks = !action.agreed.empty();
  if (asks) verb.flag("--yes", options->yes, "Agree: " + action.agreed);
  verb.footer(fmt::format("Example:\n  crosslink {} orders --config node.toml{}", action.verb, asks ? " --yes" : ""));
  verb.run([options, action, asks](const Globals& globals) {
    if (const auto agreed = demand_yes(!asks || options->yes, action.agreed); !agreed)
      return report_unasked(globals, agreed.error());
    return ask_and_report(globals, options->admin,
                          {AdminMethod::post, path_of(*options, action.verb), {}, admin_answer_timeout}, status_line);
  });
}

}  // namespace

void add_mirror_verb(const Command& program) {
  auto options = std::make_shared<Options>();
  const auto verb = program.add("mirror", "Make, list and delete the mirrors of a node");
  verb.footer("Example:\n  crosslink mirror list --config node.toml");
  add_mirror_create_verb(verb);

  const auto listing = verb.add("list", "Every mirror: what it follows, where, and its status");
  add_admin_options(listing, options->admin);
  listing.footer("Example:\n  crosslink mirror list --config node.toml");
  listing.run([options](const Globals& globals) { return list(globals, *options); });

  const auto deleting = verb.add("delete", "End a mirror and remove its data");
  add_name(deleting, options->name, "The mirror");
  const auto keeping =
      deleting.flag("--keep-data", options->keep_data, "Leave the data as a database that can only be read");
  deleting
      .flag("--promoted", options->promoted,
            "Also when it was promoted and takes writes: its data is moved to set-aside, not removed")
      .excludes(keeping);
  deleting.flag("--yes", options->yes, "Agree: the mirror ends");
  add_admin_options(deleting, options->admin);
  deleting.footer("Example:\n  crosslink mirror delete orders --config node.toml --yes");
  deleting.run([options](const Globals& globals) { return remove(globals, *options); });
}

void add_pause_verb(const Command& program) {
  add_mirror_action(program, {"pause", "Stop following; the data stays and answers reads", ""});
}

void add_resume_verb(const Command& program) {
  add_mirror_action(program, {"resume", "Follow again after `pause`, or after what halted it is mended", ""});
}

void add_resync_verb(const Command& program) {
  add_mirror_action(program,
                    {"resync", "Copy everything anew; the old data answers reads until the new is whole",
                     "the whole database is copied again, and what the source no longer has is gone here, too"});
}

void add_limit_verb(const Command& program) {
  auto options = std::make_shared<Options>();
  const auto verb = program.add("limit", "Limit how fast a mirror is sent its data");
  add_name(verb, options->name, "The mirror");
  verb.option("--bandwidth", options->bandwidth, "Bytes per second, such as 10MiB; none takes the limit away")
      .required()
      .type("RATE");
  add_admin_options(verb, options->admin);
  verb.footer("Example:\n  crosslink limit orders --bandwidth 10MiB --config node.toml");
  verb.run([options](const Globals& globals) { return limit(globals, *options); });
}

void add_promote_verb(const Command& program) {
  auto options = std::make_shared<Options>();
  const auto verb = program.add("promote", "End the link and take writes; shows the LSN and what is known to be lost");
  add_name(verb, options->name, "The mirror");
  verb.option("--require-lag", options->lag_max,
              "Only when the lag is known and no longer than this, such as 5s; else exit code 3")
      .type("D");
  verb.option("--timeout", options->timeout,
              "Give up after this long, 30s by default, or once a step that is under way has failed; it then follows "
              "on; exit code 4")
      .type("D");
  verb.flag("--dry-run", options->dry_run, "Show what would happen, and change nothing");
  verb.flag("--accept-inconsistent", options->accept_inconsistent,
            "Also data that is the source's at no single LSN: during a bootstrap that was begun over old data");
  verb.flag("--yes", options->yes, "Agree: the link ends for good");
  add_admin_options(verb, options->admin);
  verb.footer("Example:\n  crosslink promote orders --config node.toml --require-lag 5s --yes");
  verb.run([options](const Globals& globals) { return promote(globals, *options); });
}

void add_verify_verb(const Command& program) {
  auto options = std::make_shared<Options>();
  const auto verb =
      program.add("verify", "Compare a mirror with its source, at one LSN: exit 0 equal, 5 different, 1 unknown");
  add_name(verb, options->name, "The mirror");
  add_admin_options(verb, options->admin);
  verb.footer("Example:\n  crosslink verify orders --config node.toml");
  verb.run([options](const Globals& globals) { return verify(globals, *options); });
}

}  // namespace crosslink::cli
