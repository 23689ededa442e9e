#include "node/admin/admin_routes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "async/engine_call.hpp"
#include "node/admin/admin_answers.hpp"
#include "node/admin/body_fields.hpp"
#include "node/admin/metrics.hpp"
#include "node/admin/mirror_plan.hpp"
#include "node/admin/promotion_report.hpp"
#include "node/admin/reports.hpp"
#include "node/hosting/database_engine.hpp"
#include "node/hosting/hosting.hpp"
#include "node/log.hpp"
#include "node/text.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

/// What a deleted mirror leaves in the cluster that kept it. `survey`: what stands there.
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

/// What would not be read is an error, never something else.
std::optional<AdminResponse> refuse_unread(const AdminRequest& request) {
  if (!request.query.empty() && request.method != "DELETE")
    return failed(MirrorError::configuration("only a DELETE has a query; the others say it in the body"), exit_usage);
  if (request.has_body && request.method != "POST")
    return failed(MirrorError::configuration("only a POST has a body; a DELETE says it in its query"), exit_usage);
  return std::nullopt;
}

}  // namespace

AdminRoutes::AdminRoutes(Hosting& hosting, AdminFacts facts) : hosting_(&hosting), facts_(std::move(facts)) {}

std::optional<AdminResponse> AdminRoutes::answer_unauthenticated(const AdminRequest& request) const {
  const auto& path = request.path;
  if (path != "/healthz" && path != "/readyz") return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") return wrong_method("GET");
  if (auto refused = refuse_unread(request)) return refused;
  // Ports listen before this one does. A database that is not open is a matter of those who ask for that one.
  const auto shut = path == "/readyz" ? hosting_->databases().not_open().size() : 0;
  if (shut == 0) return AdminResponse{200, "ok\n", "text/plain"};
  if (hosting_->databases().all().empty()) return AdminResponse{503, "no database is open\n", "text/plain"};
  return AdminResponse{200, fmt::format("ok; databases that are not open: {}\n", shut), "text/plain"};
}

awaitable<AdminResponse> AdminRoutes::answer(const AdminRequest& request) {
  constexpr std::string_view prefix = "/v1/";
  const std::string_view path = request.path;
  if (path == "/metrics") {
    if (request.method != "GET") co_return wrong_method("GET");
    if (auto refused = refuse_unread(request)) co_return *std::move(refused);
    co_return AdminResponse{200,
                            metrics_text(hosting_->databases(), facts_.clients_now(), facts_.certificates(),
                                         facts_.reload(), facts_.tls_refused()),
                            "text/plain; version=0.0.4"};
  }
  if (!path.starts_with(prefix)) co_return no_such("such path");
  if (auto refused = refuse_unread(request)) co_return *std::move(refused);
  const auto [kind, rest] = split_path(path.substr(prefix.size()));
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
  const auto reload = facts_.reload();
  return object_answer({{"cluster_id", facts_.cluster_id},
                        {"version", facts_.version},
                        {"mirrors", facts_.mirrors},
                        {"clients", facts_.clients},
                        {"admin", facts_.admin},
                        {"uptime_s", std::chrono::duration_cast<std::chrono::seconds>(uptime).count()},
                        {"config_loaded_at", utc_text(reload.loaded_at)},
                        {"config_trouble", or_null(reload.trouble)},
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
json::array AdminRoutes::source_details() const {
  json::array details;
  for (const auto& database : hosting_->databases().all()) {
    auto detail = database->takes_writes() ? database->engine().source->detail() : std::string();
    // "remark" until 2026-12.
    if (!detail.empty()) details.push_back({{"name", database->name()}, {"detail", detail}, {"remark", detail}});
  }
  return details;
}

/// What an operator has to act on.
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
  return object_answer(report);
}

// --- mirrors

awaitable<AdminResponse> AdminRoutes::answer_mirrors(const AdminRequest& request, std::string_view rest) {
  if (rest.empty() && request.method == "GET") {
    json::array mirrors;
    for (const auto& database : hosting_->databases().all()) {
      if (database->mirror() != nullptr) mirrors.push_back(report_mirror(*database));
    }
    auto listed = with_not_open({{"mirrors", std::move(mirrors)}});
    if (auto details = source_details(); !details.empty()) {
      listed["remarks"] = details;  // its name until 2026-12
      listed["details"] = std::move(details);
    }
    if (auto warnings = certificate_warnings(); !warnings.empty()) listed["certificate_warnings"] = std::move(warnings);
    co_return object_answer(listed);
  }
  if (rest.empty() && request.method == "POST") {
    auto creating = create_mirror(request);
    co_return co_await std::move(creating);
  }
  if (rest.empty()) co_return wrong_method("GET and POST");
  const auto [name, verb] = split_path(rest);
  auto answering = answer_mirror(request, std::string(name), verb);
  co_return co_await std::move(answering);
}

namespace {

/// "keep_data=true&promoted=true", either or none. Errors: Configuration.
Result<DeleteOptions> read_delete(std::string_view query) {
  const auto said = read_flags(query, {"keep_data", "promoted"});
  if (!said) return said.error();
  DeleteOptions options;
  options.keep_data = said->contains("keep_data");
  options.promoted = said->contains("promoted");
  if (options.keep_data && options.promoted)
    return MirrorError::configuration("promoted is of a delete that does not keep the data");
  return options;
}

}  // namespace

awaitable<AdminResponse> AdminRoutes::answer_mirror(const AdminRequest& request, std::string name,
                                                    std::string_view verb) {
  if (verb.empty() && request.method == "GET") {
    json::object warned;
    if (auto warnings = certificate_warnings(); !warnings.empty()) warned["certificate_warnings"] = std::move(warnings);
    co_return mirror_now(name, std::move(warned));
  }
  if (verb.empty() && request.method == "DELETE") {
    const auto options = read_delete(request.query);
    if (!options) co_return failed(options.error(), exit_usage);
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
    co_return failed(good.error(), exit_usage);
  if (verb == "verify") {
    auto verifying = verify(std::move(name));
    co_return co_await std::move(verifying);
  }
  if (verb == "resync") {
    auto agreeing = agree_to_deletions(name, true);
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
      co_return failed(MirrorError::configuration("bytes_per_s: must be a number, 0 for no limit"), exit_usage);
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
  if (!changed && verb == "resync") {
    // What is not done deletes nothing later either.
    auto withdrawing = agree_to_deletions(name, false);
    const auto withdrawn = co_await std::move(withdrawing);
    if (!withdrawn)
      log(Severity::warning, "an agreement stands", {{"mirror", name}, {"message", withdrawn.error().message()}});
  }
  co_return changed ? mirror_now(name) : failed(changed.error());
}

/// A resync is the word for what the mirror has refused to delete, and named as its reason; for nothing else.
Task<void> AdminRoutes::agree_to_deletions(std::string name, bool agreed) {
  const auto database = hosting_->databases().find(name);
  if (!database || database->mirror() == nullptr || !database->engine().agree_to_deletions) co_return Result<void>{};
  auto agreeing = [database, agreed]() -> Result<void> {
    const auto& engine = database->engine();
    const auto shown = agreed ? engine.shown_deletions() : 0;
    return agreed && shown == 0 ? Result<void>{} : engine.agree_to_deletions(shown);
  };
  auto calling = async::call_engine(hosting_->context().executors.elsewhere, std::move(agreeing));
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
                      {"left", nullptr},
                      {"record_left", nullptr}};
  auto present = hosting_->databases().find(name);
  const auto where = hosting_->place_of(name);
  if (!options.keep_data && present && present->engine().survey) {
    auto asking = [asked = std::move(present)] { return asked->engine().survey(std::nullopt); };
    auto calling = async::call_engine(hosting_->context().executors.elsewhere, std::move(asking));
    const auto survey = co_await std::move(calling);
    report["left"] = report_left(where, survey);
  } else if (!options.keep_data && elsewhere) {
    report["left"] =
        report_left(where, MirrorError(ErrorKind::Busy, CausedBy::us, "the database was not open when it was deleted"));
  }
  // Nothing here may hold on to the database that is closed next.
  present.reset();
  auto deleting = hosting_->delete_mirror(name, options, request.caller);
  const auto deleted = co_await std::move(deleting);
  if (!deleted) co_return failed(deleted.error());
  if (!deleted->set_aside.empty()) {
    report["data"] = "set_aside";
    report["set_aside"] = deleted->set_aside.string();
  }
  if (deleted->record_left) {
    report["record_left"] = json::object{{"kept_at", where},
                                         {"key", "/crosslink/" + name},
                                         {"detail", deleted->record_left->message()},
                                         {"in_use", is_in_use(*deleted->record_left)}};
  }
  co_return object_answer(report);
}

namespace {

/// A database takes no writes of clients from raise() on as long as this stands, unless it is gone by then.
class WriteFence {
 public:
  explicit WriteFence(const DatabasePointer& database) : database_(database) {}
  ~WriteFence() {
    const auto database = raised_ ? database_.lock() : nullptr;
    if (database) database->lift_fence();
  }
  /// Blocks.
  void raise() {
    if (const auto database = database_.lock()) {
      database->fence();
      raised_ = true;
    }
  }
  WriteFence(const WriteFence&) = delete;
  WriteFence& operator=(const WriteFence&) = delete;

 private:
  const std::weak_ptr<HostedDatabase> database_;
  bool raised_ = false;
};

}  // namespace

awaitable<AdminResponse> AdminRoutes::create_mirror(const AdminRequest& request) {
  const auto wanted = read_mirror_request(request.body);
  if (!wanted) co_return failed(wanted.error(), exit_usage);
  const auto self = hosting_->context().cluster_id + "/" + wanted->name;
  if (wanted->spec.source_name() == self)
    co_return failed(MirrorError::configuration("a database cannot mirror itself"), exit_refused);
  auto present = hosting_->databases().find(wanted->name);
  json::object more;
  std::optional<WriteFence> fence;
  const bool taken = present || hosting_->databases().not_open(wanted->name);
  if (wanted->dry_run || (wanted->replace && taken)) {
    auto asking = ask_source(*hosting_, wanted->spec);
    const auto asked = co_await std::move(asking);
    const bool replaces = asked && wanted->yes && !wanted->dry_run;
    const auto where = present ? "kept at " + present->engine().kept_at : std::string("which is not open");
    if (replaces && present) fence.emplace(present);
    auto listing = [replaced = std::move(present), asked, raised = fence ? &*fence : nullptr] {
      // What is answered OK from here on would be in no list.
      if (raised != nullptr) raised->raise();
      return list_replaced(replaced, asked);
    };
    auto calling = async::call_engine(hosting_->context().executors.files, std::move(listing));
    auto listed = co_await std::move(calling);
    more["replaced"] = std::move(listed);
    // Nothing here may hold on to the database that is put aside next.
    if (wanted->dry_run) {
      auto reporting = dry_run(*wanted, asked, std::move(more["replaced"]));
      co_return co_await std::move(reporting);
    }
    // What would be put aside can only be told by a source that answers: without it nothing is.
    if (!asked) co_return failed(asked.error(), {}, std::move(more));
    if (follows(*asked, self)) {
      const MirrorError loop(ErrorKind::UnsupportedOperation, CausedBy::us,
                             fmt::format("the source follows this very database, {}: promote it there first", self));
      co_return failed(loop, exit_refused, std::move(more));
    }
    if (!wanted->yes) {
      const MirrorError refused = MirrorError::configuration(
          fmt::format("this takes the place of '{}', {}: --yes if that is wanted", wanted->name, where));
      co_return failed(refused, exit_refused, std::move(more));
    }
  }
  auto making = make_mirror(request, *wanted, std::move(more));
  co_return co_await std::move(making);
}

awaitable<AdminResponse> AdminRoutes::dry_run(const MirrorRequest& wanted,
                                              const Result<replication::SourceFacts>& asked, json::value replaced) {
  auto asking_target = [this, &wanted, &asked] { return ask_target(*hosting_, wanted, asked ? &*asked : nullptr); };
  auto target_asked = async::call_engine(hosting_->context().executors.elsewhere, std::move(asking_target));
  const auto target = co_await std::move(target_asked);
  auto report = check_mirror(*hosting_, wanted, asked, target);
  report["replaced"] = std::move(replaced);
  co_return object_answer(report);
}

awaitable<AdminResponse> AdminRoutes::make_mirror(const AdminRequest& request, const MirrorRequest& wanted,
                                                  json::object more) {
  auto looking = check_place(*hosting_, wanted);
  const auto place = co_await std::move(looking);
  if (!place) co_return failed(place.error(), {}, std::move(more));
  auto etcd = wanted.etcd;
  std::int64_t agreed = 0;  // where nothing can be shown, nothing is agreed to
  if (*place) {
    if (wanted.yes) agreed = (*place)->revision;
    more["target"] = report_survey(**place);
    const auto present = hosting_->databases().find(wanted.name);
    const auto why = why_agreement(**place, wanted.name, present && present->takes_writes());
    if (why && !wanted.yes) co_return failed(MirrorError::configuration(*why), exit_refused, std::move(more));
    etcd->prefix = (*place)->prefix;  // whatever the source says later
  }
  auto creating =
      hosting_->create_mirror(wanted.name, wanted.spec, std::move(etcd), wanted.replace, agreed, request.caller);
  const auto created = co_await std::move(creating);
  if (!created) co_return failed(created.error(), {}, std::move(more));
  auto* const replaced = more.if_contains("replaced");
  if (replaced != nullptr && replaced->is_object() && !created->empty()) {
    auto& there = replaced->as_object();
    there["set_aside"] = created->string();
    there["set_aside_before"] = json::value_from(hosting_->set_aside_before(wanted.name, created->filename().string()));
  }
  co_return mirror_now(wanted.name, std::move(more));
}

/// Of a mirror that was promoted before: what it was then is not known any more.
static void clear_loss(json::object& report) {
  report["lost"] = nullptr;
  report["sync"] = nullptr;
}

awaitable<AdminResponse> AdminRoutes::promote(const AdminRequest& request, std::string name) {
  const auto database = hosting_->databases().find(name);
  if (!database || database->mirror() == nullptr) co_return no_mirror(name);
  auto& mirror = database->mirror()->mirror();
  const auto spec = database->mirror()->spec();
  const auto wanted = read_promotion(request.body);
  if (!wanted) co_return failed(wanted.error(), exit_usage);
  if (wanted->dry_run && database->engine().check_target) {
    auto asking = [database] { return database->engine().check_target(); };
    auto calling = async::call_engine(hosting_->context().executors.elsewhere, std::move(asking));
    const auto checked = co_await std::move(calling);
    if (!checked) co_return failed(checked.error().with_context("what keeps the mirror"));
  }
  const auto status = mirror.status();
  const auto facts = mirror.facts();
  const auto detail = database->engine().source->detail();
  const bool linked = mirror.link().state() == LinkState::connected;
  const bool again = status.kind == StatusKind::Promoted;
  if (!facts.position && facts.inconsistent.empty() && !again)
    co_return failed(MirrorError::configuration("it has no data yet: its first bootstrap is not done"), exit_refused);
  if (wanted->dry_run) {
    if (facts.position_in_doubt && !again)
      co_return failed(
          MirrorError(ErrorKind::Busy, CausedBy::us, "what keeps the mirror is asked where it stands: ask again"));
    if (auto refused = again ? std::nullopt : too_old(wanted->options, status)) co_return *std::move(refused);
    auto report = promotion_report(name, spec, facts, status.lag, linked);
    report["dry_run"] = true;
    report["promoted"] = again;
    report["again"] = again;
    report["detail"] = again ? std::string() : detail;
    if (again) clear_loss(report);
    co_return object_answer(report);
  }
  auto promoting = hosting_->promote(name, wanted->options, request.caller);
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
  report["detail"] = again ? std::string() : detail;
  report["again"] = again;
  if (again) clear_loss(report);
  report["lsn"] = position.applied_lsn.value;
  report["incarnation"] = to_string(position.incarnation);
  report["origin"] = to_string(position.origin);
  report["consistent"] = facts.inconsistent.empty();
  report["inconsistent"] = facts.inconsistent;
  if (const auto most = wanted->options.lag_max; most && !again && (!promoted->age || *promoted->age > *most)) {
    report["over_required_lag"] = true;
    log(Severity::warning, "the data became older than was asked for while the mirror was opened for writes",
        {{"mirror", name}, {"require_lag_ms", fmt::format("{}", most->count())}});
  }
  co_return object_answer(report);
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
    co_return failed(result.error(), promoted ? std::nullopt : std::optional(exit_failed));
  }
  mirror->note_verify(*result);
  co_return object_answer(report_verify(name, *result));
}

}  // namespace crosslink::node
