#include "node/admin_routes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "link/engine_call.hpp"
#include "node/body_fields.hpp"
#include "node/hosting.hpp"
#include "node/metrics.hpp"
#include "node/mirror_plan.hpp"
#include "node/reports.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

constexpr int exit_refused = 6, exit_lag = 3, exit_usage_code = 2, exit_could_not_tell = 1;
constexpr unsigned not_found = 404, bad_method = 405, conflict = 409, bad_request = 400, unavailable = 503;

AdminResponse object(const json::object& body, unsigned status = 200) { return {status, json::serialize(body) + "\n"}; }

unsigned status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Configuration: return bad_request;
    case ErrorKind::Busy:
    case ErrorKind::Transport:
    case ErrorKind::Timeout:
    case ErrorKind::NotConnected:
    case ErrorKind::Cancelled: return unavailable;
    case ErrorKind::Storage:
    case ErrorKind::OutcomeUnknown: return 500;
    case ErrorKind::ClusterIdMismatch:
    case ErrorKind::ObserverRoleViolation:
    case ErrorKind::ProtocolVersionMismatch:
    case ErrorKind::UnknownDatabase:
    case ErrorKind::NotAuthorized:
    case ErrorKind::TlsRefused:
    case ErrorKind::HandshakeCodec:
    case ErrorKind::ProtocolViolation:
    case ErrorKind::AlreadyConnected:
    case ErrorKind::MirrorPromoted:
    case ErrorKind::SnapshotOffsetRegression:
    case ErrorKind::SnapshotCrcMismatch:
    case ErrorKind::BytesInFlightCapExceeded:
    case ErrorKind::LogWindowExceeded:
    case ErrorKind::SourceBehind:
    case ErrorKind::HistoriesParted:
    case ErrorKind::OriginChanged:
    case ErrorKind::UnsupportedOperation: return conflict;
  }
  return 500;
}

AdminResponse failed(const MirrorError& error, std::optional<int> exit = {}, json::object more = {}) {
  auto body = report_error(error, exit);
  for (auto& [key, value] : more)
    body[key] = std::move(value);
  return object(body, status_of(error.kind()));
}

AdminResponse no_such(std::string_view what) {
  return object(report_error(MirrorError::configuration(fmt::format("there is no {} here", what))), not_found);
}

AdminResponse wrong_method(std::string_view allowed) {
  return object(report_error(MirrorError::configuration(fmt::format("this path takes {}", allowed)), exit_usage_code),
                bad_method);
}

/// The part before the first '/', and the rest.
std::pair<std::string_view, std::string_view> split(std::string_view path) {
  const auto slash = std::min(path.find('/'), path.size());
  return {path.substr(0, slash), path.substr(std::min(slash + 1, path.size()))};
}

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
  // What counts is when the root was heard: a source that hears nothing itself does not know its head.
  const auto& behind = facts.source_behind;
  const bool known = linked && *facts.heard_ago <= heard_now && behind && *behind <= source_heard_now;
  const auto applied = facts.position ? facts.position->applied_lsn.value : 0;
  const auto head = std::max(facts.source_head->value, applied);
  const auto ago = behind ? milliseconds_of(*facts.heard_ago + *behind) : std::nullopt;
  auto detail = fmt::format("the source was {}heard {:.0f} ms ago, at LSN {}; ", known ? "" : "last ",
                            *milliseconds_of(facts.heard_ago), head);
  if (!behind) detail += "it does not know how old its own data is; ";
  if (behind && *behind > source_heard_now) {
    detail += fmt::format("it had itself last heard what it follows or reads {:.0f} ms before that; ",
                          *milliseconds_of(behind));
  }
  detail += head == applied ? std::string("all up to there is here")
                            : fmt::format("LSN {} to {} are not here", applied + 1, head);
  if (!known) detail += "; what was written since is not known here and lost";
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
  if (*promise->standing == SyncStanding::not_counted) {
    return said(
        "possible",
        "another mirror counts for this one's name at the source: it answered writes OK that this one may lack");
  }
  if (*promise->standing == SyncStanding::suspended) {
    return said(
        "possible",
        "the source had let this mirror go (on_sync_loss = async): writes that it answered OK since then may be "
        "missing here");
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

/// What a deleted mirror leaves in the cluster that kept it.
json::object report_left(const std::string& kept_at, const Result<EtcdSurvey>& survey) {
  json::object left{
      {"kept_at", kept_at}, {"keys", nullptr}, {"prefix", nullptr}, {"shown", json::array()}, {"detail", ""}};
  if (!survey) {
    left["detail"] = fmt::format("how many is not known: {}", survey.error().message());
    return left;
  }
  auto there = report_survey(*survey);
  for (const auto* field : {"keys", "prefix", "shown"})
    left[field] = std::move(there[field]);
  return left;
}

}  // namespace

AdminRoutes::AdminRoutes(Hosting& hosting, AdminFacts facts) : hosting_(&hosting), facts_(std::move(facts)) {}

std::optional<AdminResponse> AdminRoutes::answer_stranger(std::string_view method, std::string_view path) const {
  if (path != "/healthz" && path != "/readyz") return std::nullopt;
  if (method != "GET" && method != "HEAD") return wrong_method("GET");
  // Ports listen before this one does. A database that is not open is a matter of those who ask for that one.
  const auto shut = path == "/readyz" ? hosting_->databases().not_open().size() : 0;
  if (shut == 0) return AdminResponse{200, "ok\n", "text/plain"};
  if (hosting_->databases().all().empty()) return AdminResponse{unavailable, "no database is open\n", "text/plain"};
  return AdminResponse{200, fmt::format("ok; databases that are not open: {}\n", shut), "text/plain"};
}

awaitable<AdminResponse> AdminRoutes::answer(const AdminRequest& request) {
  constexpr std::string_view prefix = "/v1/";
  const std::string_view path = request.path;
  if (path == "/metrics") {
    if (request.method != "GET") co_return wrong_method("GET");
    co_return AdminResponse{200,
                            metrics_text(hosting_->databases(), facts_.clients_now(), facts_.certificates()),
                            "text/plain; version=0.0.4"};
  }
  if (!path.starts_with(prefix)) co_return no_such("such path");
  const auto [kind, rest] = split(path.substr(prefix.size()));
  if (kind == "node" && rest.empty()) co_return request.method == "GET" ? node_now() : wrong_method("GET");
  if (kind == "mirrors") {
    auto answering = answer_mirrors(request, rest);
    co_return co_await std::move(answering);
  }
  if (kind == "databases") {
    auto answering = answer_databases(request, rest);
    co_return co_await std::move(answering);
  }
  co_return no_such("such path");
}

AdminResponse AdminRoutes::node_now() const {
  const auto uptime = std::chrono::steady_clock::now() - started_;
  return object({{"cluster_id", facts_.cluster_id},
                 {"version", facts_.version},
                 {"mirrors", facts_.mirrors},
                 {"clients", facts_.clients},
                 {"admin", facts_.admin},
                 {"uptime_s", std::chrono::duration_cast<std::chrono::seconds>(uptime).count()},
                 {"certificates", report_certificates(facts_.certificates())},
                 {"data_dir", hosting_->context().data_dir.string()}});
}

/// Those that could not be opened, if there are any.
json::object AdminRoutes::with_not_open(json::object listed) const {
  json::array all;
  for (const auto& one : hosting_->databases().not_open())
    all.push_back(json::object{{"name", one.name}, {"index", one.index}, {"reason", one.reason.message()}});
  if (!all.empty()) listed["not_open"] = std::move(all);
  return listed;
}

/// What is to be said of databases that take writes; of a mirror its reason says it.
json::array AdminRoutes::source_remarks() const {
  json::array remarks;
  for (const auto& database : hosting_->databases().all()) {
    auto remark = database->mirror() == nullptr ? database->engine().source->remark() : std::string();
    if (!remark.empty()) remarks.push_back(json::object{{"name", database->name()}, {"remark", std::move(remark)}});
  }
  return remarks;
}

/// What somebody has to do something about.
json::array AdminRoutes::certificate_warnings() const {
  json::array all;
  for (const auto& one : facts_.certificates()) {
    if (auto said = certificate_warning_of(one, std::chrono::system_clock::now()); !said.empty())
      all.emplace_back(std::move(said));
  }
  return all;
}

AdminResponse AdminRoutes::not_here(std::string_view what, const std::string& name) const {
  if (const auto found = hosting_->databases().not_open(name))
    return failed(found->reason.with_context("it is not open, and tried again and again"), {}, {{"not_open", true}});
  return no_such(fmt::format("{} '{}'", what, escape(name, 80)));
}

AdminResponse AdminRoutes::no_mirror(const std::string& name) const { return not_here("mirror", name); }

AdminResponse AdminRoutes::mirror_now(const std::string& name, json::object more) const {
  const auto database = hosting_->databases().find(name);
  if (!database || database->mirror() == nullptr) return no_mirror(name);
  auto report = report_mirror(*database);
  for (auto& [key, value] : more)
    report[key] = std::move(value);
  return object(report);
}

// --- mirrors

awaitable<AdminResponse> AdminRoutes::answer_mirrors(const AdminRequest& request, std::string_view rest) {
  if (rest.empty() && request.method == "GET") {
    json::array mirrors;
    for (const auto& database : hosting_->databases().all()) {
      if (database->mirror() != nullptr) mirrors.push_back(report_mirror(*database));
    }
    auto listed = with_not_open({{"mirrors", std::move(mirrors)}});
    if (auto remarks = source_remarks(); !remarks.empty()) listed["remarks"] = std::move(remarks);
    if (auto warnings = certificate_warnings(); !warnings.empty()) listed["certificate_warnings"] = std::move(warnings);
    co_return object(listed);
  }
  if (rest.empty() && request.method == "POST") {
    auto creating = create_mirror(request);
    co_return co_await std::move(creating);
  }
  if (rest.empty()) co_return wrong_method("GET and POST");
  const auto [name, verb] = split(rest);
  auto answering = answer_mirror(request, std::string(name), verb);
  co_return co_await std::move(answering);
}

namespace {

/// "keep_data=true&promoted=true", either or none. Errors: Configuration.
Result<DeleteOptions> read_delete(std::string_view query) {
  DeleteOptions options;
  while (!query.empty()) {
    const auto part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    const auto equals = std::min(part.find('='), part.size());
    const auto name = part.substr(0, equals), value = part.substr(std::min(equals + 1, part.size()));
    const bool known = name == "keep_data" || name == "promoted";
    if (!known || (value != "true" && value != "false"))
      return MirrorError::configuration("keep_data and promoted must be true or false; there is nothing else to say");
    (name == "promoted" ? options.promoted : options.keep_data) = value == "true";
  }
  if (options.keep_data && options.promoted)
    return MirrorError::configuration("promoted is of a delete that does not keep the data");
  return options;
}

}  // namespace

awaitable<AdminResponse> AdminRoutes::answer_mirror(const AdminRequest& request, std::string name,
                                                    std::string_view verb) {
  if (verb.empty() && request.method == "GET") co_return mirror_now(name);
  if (verb.empty() && request.method == "DELETE") {
    const auto options = read_delete(request.query);
    if (!options) co_return failed(options.error(), exit_usage_code);
    auto deleting = delete_mirror(request, std::move(name), *options);
    co_return co_await std::move(deleting);
  }
  if (verb.empty()) co_return wrong_method("GET and DELETE");
  if (request.method != "POST") co_return wrong_method("POST");
  if (verb == "promote") {
    auto promoting = promote(request, std::move(name));
    co_return co_await std::move(promoting);
  }
  // The other commands take no more than their name and what is read here.
  if (auto good = only_fields(request.body, {verb == "limit" ? "bytes_per_s" : ""}); !good)
    co_return failed(good.error(), exit_usage_code);
  if (verb == "verify") {
    auto verifying = verify(std::move(name));
    co_return co_await std::move(verifying);
  }
  if (verb == "resync") {
    auto agreeing = agree_to_deletions(name);
    const auto agreed = co_await std::move(agreeing);
    if (!agreed) co_return failed(agreed.error());
  }
  MirrorChange change;
  if (verb == "pause" || verb == "resume") {
    const bool pause = verb == "pause";
    change.plan = [pause](MirrorSpec& spec) {
      spec.paused = pause;
      return Result<void>{};
    };
    change.tell = [pause](Mirror& mirror) { return pause ? mirror.pause() : mirror.resume(); };
  } else if (verb == "resync") {
    change.plan = [](MirrorSpec&) { return Result<void>{}; };
    change.tell = [](Mirror& mirror) { return mirror.resync(); };
  } else if (verb == "limit") {
    const auto* const wanted = request.body.if_contains("bytes_per_s");
    json::error_code error;
    const auto bytes = wanted == nullptr ? 0 : wanted->to_number<std::uint64_t>(error);
    if (wanted == nullptr || error)
      co_return failed(MirrorError::configuration("bytes_per_s: must be a number, 0 for no limit"), exit_usage_code);
    change.plan = [bytes](MirrorSpec& spec) {
      spec.bandwidth_bytes_per_s = bytes;
      return Result<void>{};
    };
    change.tell = [bytes](Mirror& mirror) { return mirror.set_bandwidth(bytes); };
  } else {
    co_return no_such("such command");
  }
  auto changing = hosting_->change_mirror(name, std::move(change), request.caller);
  const auto changed = co_await std::move(changing);
  co_return changed ? mirror_now(name) : failed(changed.error());
}

/// What is asked for here deletes what the source no longer has, all of it if that is so.
Task<void> AdminRoutes::agree_to_deletions(std::string name) {
  const auto database = hosting_->databases().find(name);
  if (!database || database->mirror() == nullptr || !database->engine().agree_to_deletions) co_return Result<void>{};
  auto agreeing = [database] { return database->engine().agree_to_deletions(); };
  auto calling = link::call_engine(hosting_->context().executors.elsewhere, std::move(agreeing));
  co_return co_await std::move(calling);
}

awaitable<AdminResponse> AdminRoutes::delete_mirror(const AdminRequest& request, std::string name,
                                                    DeleteOptions options) {
  const bool elsewhere = hosting_->is_kept_elsewhere(name);
  json::object report{{"name", name},
                      {"data", options.keep_data ? "kept"
                               : elsewhere       ? "left"
                                                 : "removed"},
                      {"set_aside", nullptr},
                      {"left", nullptr}};
  auto present = hosting_->databases().find(name);
  if (!options.keep_data && present && present->engine().survey) {
    const auto where = present->engine().kept_at;
    auto asking = [asked = std::move(present)] { return asked->engine().survey(std::nullopt); };
    auto calling = link::call_engine(hosting_->context().executors.elsewhere, std::move(asking));
    const auto survey = co_await std::move(calling);
    report["left"] = report_left(where, survey);
  }
  // Nothing here may hold on to the database that is closed next.
  present.reset();
  auto deleting = hosting_->delete_mirror(name, options, request.caller);
  const auto deleted = co_await std::move(deleting);
  if (!deleted) co_return failed(deleted.error());
  if (!deleted->empty()) {
    report["data"] = "set_aside";
    report["set_aside"] = deleted->string();
  }
  co_return object(report);
}

awaitable<AdminResponse> AdminRoutes::create_mirror(const AdminRequest& request) {
  const auto wish = read_mirror_wish(request.body);
  if (!wish) co_return failed(wish.error(), exit_usage_code);
  const auto self = hosting_->context().cluster_id + "/" + wish->name;
  if (wish->spec.source_name() == self)
    co_return failed(MirrorError::configuration("a database cannot mirror itself"), exit_refused);
  auto present = hosting_->databases().find(wish->name);
  json::object more;
  std::string where;
  if (wish->dry_run || (wish->replace && present)) {
    auto asking = ask_source(*hosting_, wish->spec);
    const auto asked = co_await std::move(asking);
    where = present ? present->engine().kept_at : std::string();
    auto listing = [replaced = std::move(present), asked] {
      return list_replaced(replaced, asked ? std::optional(*asked) : std::nullopt);
    };
    auto calling = link::call_engine(hosting_->context().executors.files, std::move(listing));
    more["replaced"] = co_await std::move(calling);
    // Nothing here may hold on to the database that is put aside next.
    if (wish->dry_run) {
      auto asking_target = [this, &wish, &asked] { return ask_target(*hosting_, *wish, asked ? &*asked : nullptr); };
      auto target_asked = link::call_engine(hosting_->context().executors.elsewhere, std::move(asking_target));
      const auto target = co_await std::move(target_asked);
      auto report = check_mirror(*hosting_, *wish, asked, target);
      report["replaced"] = std::move(more["replaced"]);
      co_return object(report);
    }
    // What would be put aside can only be told by a source that answers: without it nothing is.
    if (!asked) co_return failed(asked.error(), {}, std::move(more));
    if (!wish->yes) {
      const MirrorError refused = MirrorError::configuration(
          fmt::format("this takes the place of '{}', kept at {}: --yes if that is wanted", wish->name, where));
      co_return failed(refused, exit_refused, std::move(more));
    }
  }
  auto looking = check_place(*hosting_, *wish);
  const auto place = co_await std::move(looking);
  if (!place) co_return failed(place.error(), {}, std::move(more));
  auto etcd = wish->etcd;
  if (*place) {
    more["target"] = report_survey(**place);
    const auto why = why_agreement(**place);
    if (why && !wish->yes) co_return failed(MirrorError::configuration(*why), exit_refused, std::move(more));
    etcd->prefix = (*place)->prefix;  // whatever the source says later
  }
  auto creating =
      hosting_->create_mirror(wish->name, wish->spec, std::move(etcd), wish->replace, wish->yes, request.caller);
  const auto created = co_await std::move(creating);
  if (!created) co_return failed(created.error(), {}, std::move(more));
  if (auto* const replaced = more.if_contains("replaced"); replaced != nullptr && replaced->is_object())
    replaced->as_object()["set_aside"] = hosting_->set_aside_folder().string();
  co_return mirror_now(wish->name, std::move(more));
}

namespace {

struct PromotionWish {
  bool dry_run = false;
  PromotionOptions options;
};

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

Result<PromotionWish> read_promotion(const json::object& body) {
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
  PromotionWish wish{*dry_run, {*accept, *lag}};
  if (*timeout) wish.options.timeout = **timeout;
  return wish;
}

/// What a promotion would give, or gave.
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
          {"leases", or_null(facts.leases)},
          {"lost", known_loss(facts, linked)},
          {"sync", confirmed_loss(facts, linked)}};
}

/// Of a dry run, which judges what is now as the promotion would judge what is then.
std::optional<AdminResponse> too_old(const PromotionOptions& wish, const MirrorStatus& status) {
  if (!wish.lag_max || (status.lag && *status.lag <= *wish.lag_max)) return std::nullopt;
  const auto is = status.lag ? fmt::format("the lag is {:.0f} ms", *milliseconds_of(status.lag))
                             : std::string("the lag is not known");
  return failed(MirrorError::configuration(fmt::format("{}, over the {} ms asked for", is, wish.lag_max->count())),
                exit_lag);
}

}  // namespace

awaitable<AdminResponse> AdminRoutes::promote(const AdminRequest& request, std::string name) {
  const auto database = hosting_->databases().find(name);
  if (!database || database->mirror() == nullptr) co_return no_mirror(name);
  auto& mirror = database->mirror()->mirror();
  const auto spec = database->mirror()->spec();
  const auto wish = read_promotion(request.body);
  if (!wish) co_return failed(wish.error(), exit_usage_code);
  const auto status = mirror.status();
  const auto facts = mirror.facts();
  const bool linked = mirror.link().state() == LinkState::connected;
  const bool again = status.kind == StatusKind::Promoted;
  if (!facts.position && facts.inconsistent.empty() && !again)
    co_return failed(MirrorError::configuration("it has no data yet: its first bootstrap is not done"), exit_refused);
  if (wish->dry_run) {
    if (auto refused = again ? std::nullopt : too_old(wish->options, status)) co_return *std::move(refused);
    auto report = promotion_report(name, spec, facts, status.lag, linked);
    report["dry_run"] = true;
    report["promoted"] = report["again"] = again;
    if (again) report["lost"] = report["sync"] = nullptr;
    co_return object(report);
  }
  auto promoting = hosting_->promote(name, wish->options, request.caller);
  const auto promoted = co_await std::move(promoting);
  if (!promoted) {
    if (promoted.error().kind() == ErrorKind::Configuration && mirror.promotion_refused_for_age())
      co_return failed(promoted.error(), exit_lag);
    const bool refused = promoted.error().kind() == ErrorKind::Configuration;
    co_return failed(promoted.error(), refused ? std::optional(exit_refused) : std::nullopt);
  }
  // What it said when it was asked for may be of another time: what counts is when it took writes.
  auto report = promotion_report(name, spec, mirror.facts(), promoted->age, linked);
  const auto& position = promoted->from.position;
  report["dry_run"] = false;
  report["promoted"] = true;
  report["again"] = again;
  // What it was then is not known any more.
  if (again) report["lost"] = report["sync"] = nullptr;
  report["lsn"] = position.applied_lsn.value;
  report["incarnation"] = to_string(position.incarnation);
  report["origin"] = to_string(position.origin);
  report["consistent"] = facts.inconsistent.empty();
  report["inconsistent"] = facts.inconsistent;
  co_return object(report);
}

awaitable<AdminResponse> AdminRoutes::verify(std::string name) {
  const auto database = hosting_->databases().find(name);
  if (!database || database->mirror() == nullptr) co_return no_mirror(name);
  const auto mirror = database->shared_mirror();
  auto verifying = mirror->mirror().verify();
  const auto result = co_await std::move(verifying);
  if (!result) {
    // Whatever came between: it could not be told. Only a promoted mirror has nothing to be compared with for ever.
    const bool promoted = result.error().kind() == ErrorKind::MirrorPromoted;
    co_return failed(result.error(), promoted ? std::nullopt : std::optional(exit_could_not_tell));
  }
  mirror->note_verify(*result);
  co_return object(report_verify(name, *result));
}

// --- databases

namespace {

/// A list of names that may mirror a database. Errors: Configuration.
Result<std::optional<std::vector<std::string>>> read_names(const json::object& body, std::string_view field) {
  const auto* const names = body.if_contains(field);
  if (names == nullptr || names->is_null()) return std::optional<std::vector<std::string>>();
  const auto read = json::try_value_to<std::vector<std::string>>(*names);
  const auto good = [](const std::string& name) { return name == any_mirror || is_dns_name(name); };
  if (!read || !std::ranges::all_of(*read, good))
    return MirrorError::configuration(
        fmt::format("{}: must be a list of certificate names, or of \"*\" for any that the CA signed", field));
  return std::optional(*read);
}

}  // namespace

awaitable<AdminResponse> AdminRoutes::answer_databases(const AdminRequest& request, std::string_view rest) {
  const auto now = [this](const std::string& name) {
    const auto database = hosting_->databases().find(name);
    return database ? object(report_database(*database)) : not_here("database", name);
  };
  if (rest.empty() && request.method == "GET") {
    json::array databases;
    for (const auto& database : hosting_->databases().all())
      databases.push_back(report_database(*database));
    co_return object(with_not_open({{"databases", std::move(databases)}}));
  }
  if (rest.empty() && request.method == "POST") {
    if (auto good = only_fields(request.body, {"name", "allow_mirrors", "anew"}); !good)
      co_return failed(good.error(), exit_usage_code);
    const auto* const name = request.body.if_contains("name");
    if (name == nullptr || !name->is_string())
      co_return failed(MirrorError::configuration("name: must be a text"), exit_usage_code);
    const auto allowed = read_names(request.body, "allow_mirrors");
    if (!allowed) co_return failed(allowed.error(), exit_usage_code);
    const auto anew = flag_field(request.body, "anew");
    if (!anew) co_return failed(anew.error(), exit_usage_code);
    auto creating = hosting_->create_database(std::string(name->as_string()), *allowed, *anew, request.caller);
    const auto created = co_await std::move(creating);
    co_return created ? now(std::string(name->as_string())) : failed(created.error());
  }
  if (rest.empty()) co_return wrong_method("GET and POST");
  const auto [name, verb] = split(rest);
  if (verb.empty()) co_return request.method == "GET" ? now(std::string(name)) : wrong_method("GET");
  if (verb != "restamp" && verb != "count-mirror" && verb != "allow-mirrors") co_return no_such("such command");
  if (request.method != "POST") co_return wrong_method("POST");
  if (verb == "allow-mirrors") {
    if (auto good = only_fields(request.body, {"names"}); !good) co_return failed(good.error(), exit_usage_code);
    auto names = read_names(request.body, "names");
    if (names && !*names) names = MirrorError::configuration("names: must be a list, empty for nobody");
    if (!names) co_return failed(names.error(), exit_usage_code);
    auto allowing = hosting_->allow_mirrors(std::string(name), **std::move(names), request.caller);
    const auto allowed = co_await std::move(allowing);
    co_return allowed ? now(std::string(name)) : failed(allowed.error());
  }
  if (verb == "count-mirror") {
    if (auto good = only_fields(request.body, {"id"}); !good) co_return failed(good.error(), exit_usage_code);
    const auto* const text = request.body.if_contains("id");
    const auto id =
        text != nullptr && text->is_string() ? detail::from_hex(std::string_view(text->as_string())) : std::nullopt;
    if (!id)
      co_return failed(MirrorError::configuration("id: must be 32 hex digits, as the status shows it"),
                       exit_usage_code);
    auto counting = hosting_->count_mirror(std::string(name), {*id});
    const auto counted = co_await std::move(counting);
    co_return counted ? now(std::string(name)) : failed(counted.error());
  }
  auto stamping = hosting_->restamp(std::string(name), request.caller);
  const auto stamped = co_await std::move(stamping);
  co_return stamped ? now(std::string(name)) : failed(stamped.error());
}

}  // namespace crosslink::node
