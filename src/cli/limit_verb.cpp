#include <fmt/format.h>

#include <memory>

#include "cli/admin_verbs.hpp"
#include "cli/human.hpp"
#include "cli/json_fields.hpp"
#include "cli/verbs.hpp"
#include "node/quantity.hpp"

namespace crosslink::cli {
namespace {

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

}  // namespace

void add_limit_verb(CLI::App& app, Globals& globals) {
  struct Options {
    AdminOptions admin;
    std::string name, bandwidth;
  };
  auto options = std::make_shared<Options>();
  auto* verb = app.add_subcommand("limit", "Limit how fast a mirror is sent its data");
  add_name(*verb, options->name, "The mirror");
  verb->add_option("--bandwidth", options->bandwidth, "Bytes per second, such as 10MiB; none takes the limit away")
      ->required()
      ->type_name("RATE");
  add_admin_options(*verb, options->admin);
  verb->footer("Example:\n  crosslink limit orders --bandwidth 10MiB --config node.toml");
  const auto run = [&globals, options]() -> int {
    const auto rate = parse_rate(options->bandwidth);
    if (!rate) return report_unasked(globals, rate.error());
    const auto path = fmt::format("/v1/mirrors/{}/limit", options->name);
    return ask_and_report(globals, options->admin,
                          {AdminMethod::post, path, {{"bytes_per_s", *rate}}, admin_answer_timeout}, limit_text);
  };
  verb->callback([&globals, run] { globals.run = run; });
}

}  // namespace crosslink::cli
