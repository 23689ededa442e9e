#include "cli/mirror_wait.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "cli/human.hpp"
#include "cli/json_fields.hpp"
#include "cli/status_text.hpp"

namespace crosslink::cli {
namespace {

using boost::json::array;
using boost::json::object;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds pause_between{200};
/// The last look of a wait that is over.
constexpr std::chrono::seconds answer_timeout_min{1};

std::optional<ErrorRule> rule_named(std::string_view kind) {
  const auto rules = error_rules();
  const auto found = std::ranges::find(rules, kind, &ErrorRule::name);
  return found == rules.end() ? std::nullopt : std::optional(*found);
}

/// The mirror's last error, when that is one the source refuses with or that needs an operator.
std::optional<MirrorError> refusal_of(const object& mirror) {
  const auto* error = object_field(mirror, "last_error");
  if (error == nullptr) return std::nullopt;
  const auto rule = rule_named(text(*error, "error"));
  if (!rule || rule->raised_by == "local") return std::nullopt;
  if (rule->in_reconnect != InReconnect::hard && rule->in_reconnect != InReconnect::halt) return std::nullopt;
  return MirrorError(rule->kind, CausedBy::peer, text(*error, "message", 4096));
}

/// Nothing listens there, or there is no token yet: a node that starts. Anything else does not mend itself.
bool may_come(const MirrorError& error) {
  return error.kind() == ErrorKind::Transport || error.kind() == ErrorKind::Timeout ||
         (error.kind() == ErrorKind::Storage && error.caused_by() == CausedBy::us);
}

std::string progress_of(const array& mirrors) {
  for (const auto& one : mirrors) {
    const auto* mirror = one.if_object();
    if (mirror != nullptr && text(*mirror, "status") != "Following") return progress_line(*mirror);
  }
  return "no mirror yet";
}

MirrorError timed_out(const WaitOptions& options, const array& mirrors) {
  std::vector<std::string> waiting;
  for (const auto& one : mirrors) {
    const auto* mirror = one.if_object();
    if (mirror == nullptr || text(*mirror, "status") == "Following") continue;
    const auto reason = text(*mirror, "reason", 4096);
    auto line = progress_line(*mirror);
    if (!line.contains(reason)) line += ": " + reason;
    waiting.push_back(std::move(line));
  }
  const auto seconds = std::chrono::duration<double>(*options.timeout).count();
  const auto what =
      waiting.empty() ? std::string("there is no mirror here") : fmt::format("{}", fmt::join(waiting, "; "));
  return MirrorError::timeout(fmt::format("not Following within {:g} s: {}", seconds, what));
}

}  // namespace

Result<AdminAnswer> ask_mirrors(const AdminOptions& options, const std::string& name, steady_clock::duration timeout) {
  AdminRequest request;
  request.timeout = timeout;
  request.path = name.empty() ? std::string("/v1/mirrors") : "/v1/mirrors/" + name;
  auto answer = ask_node(options, request);
  if (!answer || answer->exit_code) return answer;
  if (!name.empty()) {
    auto& mirror = answer->body;
    object body{{"mirrors", array{}}};
    if (auto* const warnings = mirror.if_contains("certificate_warnings")) {
      body["certificate_warnings"] = std::move(*warnings);
      mirror.erase("certificate_warnings");
    }
    body["mirrors"].as_array().push_back(std::move(mirror));
    answer->body = std::move(body);
  }
  const auto* mirrors = answer->body.if_contains("mirrors");
  if (mirrors == nullptr || !mirrors->is_array())
    return MirrorError::protocol_violation("the node's answer has no list of mirrors");
  return answer;
}

std::optional<MirrorError> hopeless(const object& mirror, bool refusals_end) {
  const auto status = text(mirror, "status");
  if (status == "Promoted") {
    return MirrorError(ErrorKind::MirrorPromoted, CausedBy::us,
                       fmt::format("{} is promoted: it never follows again", text(mirror, "name")));
  }
  if (status != "Halted" && !(refusals_end && status == "Disconnected")) return std::nullopt;
  auto why = refusal_of(mirror);
  if (why) return why->with_context(fmt::format("{} is {}", text(mirror, "name"), status));
  if (status != "Halted") return std::nullopt;
  return MirrorError(ErrorKind::NotConnected, CausedBy::us,
                     fmt::format("{} is Halted: {}", text(mirror, "name"), text(mirror, "reason", 4096)));
}

bool all_following(const array& mirrors) {
  return !mirrors.empty() && std::ranges::all_of(mirrors, [](const auto& one) {
    const auto* mirror = one.if_object();
    return mirror != nullptr && text(*mirror, "status") == "Following";
  });
}

WaitEnd wait_until_following(const WaitOptions& options) {
  const auto begin = steady_clock::now();
  LiveLine line(options.shown);
  while (true) {
    auto patience = steady_clock::duration(admin_look_timeout);
    if (options.timeout) {
      const auto left = *options.timeout - (steady_clock::now() - begin);
      patience = std::clamp<steady_clock::duration>(left, answer_timeout_min, admin_look_timeout);
    }
    auto asked = ask_mirrors(options.admin, options.name, patience);
    const bool late = options.timeout && steady_clock::now() - begin >= *options.timeout;
    if (!asked) {
      if (late || !may_come(asked.error())) return {{{{"mirrors", array{}}}, std::nullopt}, asked.error()};
      line.show(asked.error().message());
    } else if (asked->exit_code) {
      if (late || !asked->body.contains("not_open")) return {*std::move(asked), std::nullopt};
      line.show(text(asked->body, "message", 4096));
    } else {
      const auto& mirrors = array_field(asked->body, "mirrors");
      if (all_following(mirrors)) return {*std::move(asked), std::nullopt};
      for (const auto& one : mirrors) {
        const auto* mirror = one.if_object();
        auto why = mirror == nullptr ? std::nullopt : hopeless(*mirror, options.refusals_end);
        if (why) return {*std::move(asked), std::move(why)};
      }
      if (late) {
        auto error = timed_out(options, mirrors);
        return {*std::move(asked), std::move(error)};
      }
      line.show(progress_of(mirrors));
    }
    std::this_thread::sleep_for(pause_between);
  }
}

}  // namespace crosslink::cli
