#include "node/admin/promotion_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "node/admin/admin_answers.hpp"
#include "node/admin/body_fields.hpp"
#include "node/admin/reports.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

std::optional<double> milliseconds_of(const std::optional<std::chrono::microseconds>& time) {
  if (!time) return std::nullopt;
  return static_cast<double>(time->count()) / 1e3;
}

/// A source that was heard a moment ago has not written much since; what an older one wrote is not known. Of what the
/// source follows or reads itself the same is true.
constexpr auto heard_now = std::chrono::seconds(1), source_heard_now = std::chrono::seconds(2);

/// What of the source's data is known not to be here, at the moment of these facts. `linked`: when that was asked.
json::object known_loss(const MirrorFacts& facts, bool linked) {
  if (!facts.heard_ago || !facts.source_head) {
    return {{"known", false},
            {"entries_lsn", nullptr},
            {"heard_ms_ago", nullptr},
            {"detail", "the source was not heard since this node started"}};
  }
  const auto ms = *milliseconds_of(facts.heard_ago);
  if (facts.diverged_from_source) {
    return {
        {"known", false},
        {"entries_lsn", nullptr},
        {"heard_ms_ago", nullptr},
        {"detail", fmt::format("the source was last heard {:.0f} ms ago, and has another history, whose LSNs are not "
                               "those of this mirror: {}; what it has and this mirror has not, none of it is here",
                               ms, *facts.diverged_from_source)}};
  }
  // What counts is when the root was heard: a source that hears nothing itself does not know its head.
  const auto& behind = facts.source_behind;
  const bool known = linked && *facts.heard_ago <= heard_now && behind && *behind <= source_heard_now;
  const auto applied = facts.position ? facts.position->applied_lsn.value : 0;
  const auto head = std::max(facts.source_head->value, applied);
  const auto ago = behind ? milliseconds_of(*facts.heard_ago + *behind) : std::nullopt;
  auto detail = fmt::format("the source was {}heard {:.0f} ms ago, at LSN {}; ", known ? "" : "last ", ms, head);
  if (!behind) detail += "it does not know how old its own data is; ";
  if (behind && *behind > source_heard_now) {
    detail += fmt::format("it had itself last heard what it follows or reads {:.0f} ms before that; ",
                          *milliseconds_of(behind));
  }
  detail += head == applied ? std::string("all up to there is here")
                            : fmt::format("LSN {} to {} are not here", applied + 1, head);
  // However short ago: a source that takes writes has taken some since.
  detail += known ? "; what was written since then is not known here"
                  : "; what was written since is not known here: if anything was, it is lost";
  return {
      {"known", known}, {"entries_lsn", head - applied}, {"heard_ms_ago", or_null(ago)}, {"detail", std::move(detail)}};
}

/// In sync mode: may a write that the source answered OK be missing here? Null when this is no mirror in sync mode.
json::value confirmed_loss(const MirrorFacts& facts, bool linked) {
  if (!facts.sync && facts.heard_ago) return nullptr;
  const auto said = [](const char* missing, std::string detail) {
    return json::object{{"missing", missing}, {"detail", std::move(detail)}};
  };
  const auto& promise = facts.sync_promise;
  if (!promise || !promise->standing) {
    return said("unknown",
                "the source did not say since this node started whether it answers writes without this mirror");
  }
  if (facts.diverged_from_source) {
    return said(
        "possible",
        "the source has another history: what it answered OK in that one is not here, whether or not this mirror "
        "counted");
  }
  if (*promise->standing == SyncStanding::not_counted) {
    return said(
        "possible",
        "another mirror counts for this one's name at the source: it answered writes OK that this one may lack");
  }
  if (*promise->standing == SyncStanding::suspended && promise->on_loss == OnSyncLoss::error) {
    return said(
        "possible",
        "this mirror was made to count at the source (count-mirror) and has not caught up since: writes that the "
        "source answered OK before that may be missing here");
  }
  if (*promise->standing == SyncStanding::suspended) {
    return said("possible",
                "the source had let this mirror go (on_sync_loss = async), or this mirror was made to count and has "
                "not caught up since: writes that the source answered OK without it may be missing here");
  }
  const auto ago = facts.heard_ago ? std::chrono::ceil<std::chrono::milliseconds>(*facts.heard_ago).count() : 0;
  const bool all = facts.position && facts.source_head && facts.position->applied_lsn >= *facts.source_head;
  const bool fresh = linked && all && facts.heard_ago && *facts.heard_ago <= promise->timeout / 2;
  if (fresh) return said("none", "every write that the source answered OK by now is here");
  if (promise->on_loss == OnSyncLoss::error && all) {
    return said(
        "none_when_last_heard",
        fmt::format("every write that the source answered OK is here, unless an operator changed its sync mode or who "
                    "counts in it since it was last heard, {} ms ago",
                    ago));
  }
  if (promise->on_loss == OnSyncLoss::error) {
    return said("possible",
                "of what the source had and is not here it may have answered some OK, if who counts in its sync "
                "mode was changed");
  }
  return said("possible",
              fmt::format("the source answers writes OK without this mirror once it has not confirmed them for "
                          "{} ms (on_sync_loss = async): those since it was last heard may be missing here",
                          promise->timeout.count()));
}

/// A field of milliseconds. Errors: Configuration.
Result<std::optional<std::chrono::milliseconds>> milliseconds_field(const json::object& body, std::string_view name) {
  const auto* const field = body.if_contains(name);
  if (field == nullptr || field->is_null()) return std::optional<std::chrono::milliseconds>();
  constexpr double most = 1000.0 * 3600 * 24 * 365;
  json::error_code error;
  const auto number = field->to_number<double>(error);
  if (error || !(number >= 0 && number <= most))
    return MirrorError::configuration(fmt::format("{}: must be a number of milliseconds, at most a year", name));
  return std::optional(std::chrono::milliseconds(static_cast<std::int64_t>(number)));
}

}  // namespace

Result<PromotionRequest> read_promotion(const json::object& body) {
  if (auto good = only_fields(body, {"require_lag_ms", "dry_run", "accept_inconsistent", "timeout_ms"}); !good)
    return good.error();
  const auto dry_run = flag_field(body, "dry_run");
  if (!dry_run) return dry_run.error();
  const auto accept = flag_field(body, "accept_inconsistent");
  if (!accept) return accept.error();
  const auto lag = milliseconds_field(body, "require_lag_ms");
  if (!lag) return lag.error();
  const auto timeout = milliseconds_field(body, "timeout_ms");
  if (!timeout) return timeout.error();
  PromotionRequest request{*dry_run, {*accept, *lag}};
  if (*timeout) request.options.timeout = **timeout;
  return request;
}

json::object promotion_report(const std::string& name, const MirrorSpec& spec, const MirrorFacts& facts,
                              const std::optional<std::chrono::microseconds>& lag, bool linked) {
  const auto& position = facts.position;
  return {{"name", name},
          {"lsn", position ? json::value(position->applied_lsn.value) : nullptr},
          {"incarnation", position ? json::value(to_string(position->incarnation)) : nullptr},
          {"origin", position ? json::value(to_string(position->origin)) : nullptr},
          {"consistent", facts.inconsistent.empty()},
          {"inconsistent", facts.inconsistent},
          {"source_cluster", spec.source_cluster},
          {"source_database", spec.source_database},
          {"source_lsn", facts.source_head ? json::value(facts.source_head->value) : nullptr},
          {"lag_ms", or_null(milliseconds_of(lag))},
          {"over_required_lag", false},
          {"leases", or_null(facts.leases)},
          {"lost", known_loss(facts, linked)},
          {"sync", confirmed_loss(facts, linked)}};
}

std::optional<AdminResponse> too_old(const PromotionOptions& options, const MirrorStatus& status) {
  if (!options.lag_max || (status.lag && *status.lag <= *options.lag_max)) return std::nullopt;
  const auto is = status.lag ? fmt::format("the lag is {:.0f} ms", *milliseconds_of(status.lag))
                             : std::string("the lag is not known");
  return failed(MirrorError::configuration(fmt::format("{}, over the {} ms asked for", is, options.lag_max->count())),
                exit_lag);
}

}  // namespace crosslink::node
