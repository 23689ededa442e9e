#include "node/admin/mirror_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "async/engine_call.hpp"
#include "base/files.hpp"
#include "base/random_id.hpp"
#include "link/dial.hpp"
#include "node/admin/admin_answers.hpp"
#include "node/admin/body_fields.hpp"
#include "node/admin/reports.hpp"
#include "node/certificate_watch.hpp"
#include "node/hosting/database_engine.hpp"
#include "node/text.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

constexpr std::size_t listed_keys_max = 1000, counted_keys_max = 1'000'000;
constexpr std::size_t read_bytes = 1024 * 1024;

Result<std::string> text_field(const json::object& body, std::string_view field, std::string_view otherwise) {
  const auto* const value = body.if_contains(field);
  if (value == nullptr || value->is_null()) return std::string(otherwise);
  if (!value->is_string()) return wrong_field(field, "must be a text");
  return std::string(value->as_string());
}

/// "into", and what belongs to it.
Result<std::optional<EtcdPlace>> read_target(const json::object& body) {
  const auto into = text_field(body, "into", "rocksdb");
  if (!into) return into.error();
  const auto* const etcd = body.if_contains("etcd");
  const bool said = etcd != nullptr && !etcd->is_null();
  if (*into == "rocksdb" && !said) return std::optional<EtcdPlace>();
  if (*into != "etcd")
    return wrong_field("into", said ? "must be etcd, of which more is said" : "must be rocksdb or etcd");
  if (!said || !etcd->is_object()) return wrong_field("etcd", "must be an object that names the endpoints");
  auto place = read_etcd_place(etcd->get_object());
  if (!place) return place.error();
  if (!place->excludes.empty()) return wrong_field("excludes", "are named at the source");
  if (auto good = check_etcd_place(*place); !good) return good.error();
  if (auto good = check_certificates(certificate_set_of("", place->cluster)); !good) return good.error();
  return std::optional(*std::move(place));
}

struct Lost {
  std::set<std::string> keys;  ///< at most counted_keys_max
  std::uint64_t entries = 0;
  bool ranges = false, cut = false;
};

/// The keys that entries after `after` wrote, up to `head`.
Result<Lost> read_lost(SourceEngine& engine, Lsn after, Lsn head) {
  Lost lost;
  while (after < head) {
    const auto slice = engine.read_log(after, read_bytes);
    if (!slice) return slice.error();
    if (slice->last_lsn == after) break;
    std::span<const std::byte> rest(*slice->entries);
    while (!rest.empty()) {
      const auto entry = read_entry(rest);
      if (!entry) return entry.error();
      ++lost.entries;
      entry->for_each([&lost](const Operation& operation) {
        lost.ranges = lost.ranges || operation.kind == OperationKind::erase_range;
        if (operation.kind == OperationKind::erase_range) return;
        if (lost.keys.size() < counted_keys_max) {
          lost.keys.emplace(operation.key);
        } else {
          lost.cut = lost.cut || !lost.keys.contains(std::string(operation.key));
        }
      });
    }
    after = slice->last_lsn;
  }
  return lost;
}

CatalogEntry entry_of(const MirrorRequest& request) {
  CatalogEntry entry;
  entry.name = request.name;
  entry.kind = DatabaseKind::mirror;
  entry.etcd = request.etcd;
  return entry;
}

json::object check(std::string_view name, bool good, std::string detail) {
  return {{"check", name}, {"ok", good}, {"detail", std::move(detail)}};
}

/// Which check of a dry run an error of asking the source speaks of.
std::string_view check_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::ClusterIdMismatch:
    case ErrorKind::TlsRefused: return "identity";
    case ErrorKind::ProtocolVersionMismatch:
    case ErrorKind::HandshakeCodec:
    case ErrorKind::ProtocolViolation: return "version";
    case ErrorKind::NotAuthorized:
    case ErrorKind::UnknownDatabase: return "database";
    case ErrorKind::Busy:
    case ErrorKind::Transport:
    case ErrorKind::Timeout:
    case ErrorKind::Configuration:
    case ErrorKind::ObserverRoleViolation:
    case ErrorKind::NotConnected:
    case ErrorKind::AlreadyConnected:
    case ErrorKind::Cancelled:
    case ErrorKind::MirrorPromoted:
    case ErrorKind::Storage:
    case ErrorKind::OutcomeUnknown:
    case ErrorKind::SnapshotOffsetRegression:
    case ErrorKind::SnapshotCrcMismatch:
    case ErrorKind::BytesInFlightCapExceeded:
    case ErrorKind::LogWindowExceeded:
    case ErrorKind::SourceBehind:
    case ErrorKind::HistoriesParted:
    case ErrorKind::OriginChanged:
    case ErrorKind::UnsupportedOperation: return "reachable";
  }
  return "reachable";
}

/// As the bootstrap itself: what it receives is in data_dir, and leaves min_free_bytes there, whatever keeps the mirror.
json::object check_space(const Hosting& hosting, const std::string& name, const MirrorHelloAck& ack) {
  const auto& folder = hosting.context().data_dir;
  const auto kept_free = hosting.min_free_bytes(name);
  const auto needed = ack.snapshot_bytes_total;
  const base::Files disk;
  if (const auto room = base::Space(disk, folder, kept_free).need(needed, "receiving a snapshot"); !room)
    return check("space", false, room.error().message());
  const auto free = disk.free_bytes(folder);
  if (!free) return check("space", false, free.error().message());
  return check("space", true,
               fmt::format("{} bytes are free, {}, and {} stay free (min_free_bytes)", *free,
                           needed == 0 ? std::string("the source does not say how large its snapshot is")
                                       : fmt::format("the data takes about {}", needed),
                           kept_free));
}

/// Under which name, and in whose place.
json::object check_name(const Hosting& hosting, const MirrorRequest& request, std::optional<int>& code) {
  const auto place = hosting.place_for_mirror(request.name, request.spec, request.etcd, request.replace);
  if (!place) {
    code = exit_code(place.error());
    return check("name", false, place.error().message());
  }
  switch (*place) {
    case MirrorPlace::free: return check("name", true, fmt::format("'{}' is free", request.name));
    case MirrorPlace::same:
      return check("name", true, fmt::format("'{}' is this very mirror already: nothing is done", request.name));
    case MirrorPlace::taken: break;
  }
  if (!request.yes) {
    code = exit_refused;
    return check("name", false,
                 fmt::format("this takes the place of '{}', kept at {}: --yes if that is wanted", request.name,
                             hosting.place_of(request.name)));
  }
  return check(
      "name", true,
      fmt::format(
          "'{}' is taken; {}", request.name,
          hosting.is_kept_elsewhere(request.name)
              ? "it ends; its keys stay in that etcd, unless the new mirror is kept over them: nothing is moved aside"
              : "its data is moved aside"));
}

}  // namespace

Result<MirrorRequest> read_mirror_request(const json::object& body) {
  if (auto good = only_fields(body, {"name", "from", "addr", "mode", "congestion", "on_source_behind", "replace", "yes",
                                     "dry_run", "into", "etcd"});
      !good)
    return good.error();
  MirrorRequest request;
  const auto name = text_field(body, "name", "");
  const auto from = text_field(body, "from", "");
  const auto addresses = text_field(body, "addr", "");
  const auto mode = text_field(body, "mode", "async");
  const auto congestion = text_field(body, "congestion", "bbr");
  const auto behind = text_field(body, "on_source_behind", "halt");
  const auto replace = flag_field(body, "replace"), yes = flag_field(body, "yes"),
             dry_run = flag_field(body, "dry_run");
  for (const auto* text : {&name, &from, &addresses, &mode, &congestion, &behind}) {
    if (!*text) return text->error();
  }
  for (const auto* flag : {&replace, &yes, &dry_run}) {
    if (!*flag) return flag->error();
  }
  if (!is_new_database_name(*name))
    return wrong_field("name", "must be 1 to 64 of A-Z a-z 0-9 _ . - and neither begin with a dot nor be a number");
  const auto slash = from->find('/');
  if (slash == std::string::npos || slash + 1 == from->size())
    return wrong_field("from", "must be CLUSTER_ID/DATABASE");
  request.name = *name;
  request.spec.source_cluster = from->substr(0, slash);
  request.spec.source_database = from->substr(slash + 1);
  if (!is_dns_name(request.spec.source_cluster))
    return wrong_field("from", "the cluster id must be a DNS name such as prod-us");
  if (request.spec.source_database.size() > 512) return wrong_field("from", "the database's name is too long");
  if (request.spec.source_database.contains('/')) return wrong_field("from", "no database's name has a '/' in it");
  if (auto good = link::check_source_addresses(link::split_source_addresses(*addresses)); !good)
    return wrong_field("addr", good.error().message());
  if (const auto twice = twice_in(link::split_source_addresses(*addresses), Case::is_ignored))
    return wrong_field("addr", fmt::format("'{}' is there twice", escape(*twice, 200)));
  request.spec.addresses = *addresses;
  if (*mode != "async" && *mode != "sync") return wrong_field("mode", "must be async or sync");
  request.spec.sync = *mode == "sync";
  const auto control = congestion_named(*congestion);
  if (!control) return wrong_field("congestion", "must be bbr or cubic");
  request.spec.congestion = *control;
  if (*behind != "halt" && *behind != "resync") return wrong_field("on_source_behind", "must be halt or resync");
  request.spec.resync_when_source_behind = *behind == "resync";
  if (request.spec.sync && request.spec.resync_when_source_behind)
    return wrong_field("on_source_behind",
                       "a mirror in sync mode must not follow a source that lost what it confirmed");
  auto target = read_target(body);
  if (!target) return target.error();
  request.etcd = *std::move(target);
  request.replace = *replace;
  request.yes = *yes;
  request.dry_run = *dry_run;
  return request;
}

Task<replication::SourceFacts> ask_source(const Hosting& hosting, MirrorSpec spec) {
  quic::ClientConfig client;
  client.tls = hosting.context().tls;
  client.transport.congestion = spec.congestion;
  CrossClusterLink link(ClusterId(spec.source_cluster), DatabaseId(spec.source_database), spec.addresses,
                        hosting.context().endpoint, std::move(client));
  auto asking = replication::probe_source(link, spec.sync);
  auto answer = co_await std::move(asking);
  link.close();
  co_return answer;
}

namespace {

Result<TargetFacts> ask_opened(const DatabaseEngine& opened, const MirrorRequest& request,
                               const replication::SourceFacts* source) {
  if (opened.may_follow && source != nullptr) {
    const auto& newest = source->history.empty() ? source->origin : source->history.newest().incarnation;
    const auto good = opened.may_follow(newest, request.spec.source_cluster, source->ack.snapshot_lsn);
    if (!good) return good.error();
  }
  TargetFacts facts{opened.kept_at, {}};
  if (!opened.survey) return facts;
  auto survey = opened.survey(source != nullptr ? source->key_prefix : std::nullopt);
  if (!survey) return survey.error();
  facts.survey = *std::move(survey);
  return facts;
}

/// A root of this node that the source has its data from, when the mirror would be kept over that root's keys. Other
/// nodes' roots are found by the engine, once what it wrote comes back.
Result<void> check_own_roots(const Hosting& hosting, const MirrorRequest& request,
                             const replication::SourceFacts& source) {
  const auto& target = *request.etcd;
  const auto prefix = target.prefix.value_or(source.key_prefix.value_or(""));
  for (const auto& [name, place] : hosting.etcd_places()) {
    const auto database = hosting.databases().find(name);
    const auto full_name = hosting.context().cluster_id + "/" + name;
    if (!database || database->kind() != DatabaseKind::root || !follows(source, full_name)) continue;
    const auto keys = place.prefix.value_or("");
    const auto& there = place.cluster.endpoints;
    const bool same_etcd =
        std::ranges::find_first_of(target.cluster.endpoints, there) != target.cluster.endpoints.end();
    if (!same_etcd || (!keys.starts_with(prefix) && !prefix.starts_with(keys))) continue;
    return MirrorError(
        ErrorKind::UnsupportedOperation, CausedBy::us,
        fmt::format("the source follows {}, which is kept in that etcd, with keys in common: what the mirror writes "
                    "would come back to it without end; choose another cluster, or a prefix that has no key in common "
                    "with \"{}\"",
                    full_name, escape(keys, 200)));
  }
  return {};
}

}  // namespace

namespace {

/// What was promoted takes writes: a mirror over it undoes them. Only the node that promoted it may say so, by --replace.
Result<void> check_not_promoted(const Hosting& hosting, const MirrorRequest& request, const EtcdSurvey& survey) {
  if (survey.promoted_by.empty()) return {};
  const auto place = hosting.place_for_mirror(request.name, request.spec, request.etcd, request.replace);
  const bool own = survey.promoted_by == hosting.context().node_id;
  if (own && !place) return place.error();
  if (own && *place == MirrorPlace::taken) return {};
  return MirrorError(
      ErrorKind::MirrorPromoted, CausedBy::us,
      fmt::format("node {0} promoted '{1}' in that etcd: clients may write to it. Where that is to end, say `crosslink "
                  "mirror delete {1} --promoted` there, or, when that node is gone, `etcdctl del --prefix "
                  "/crosslink/{1}`; then create it again",
                  escape(survey.promoted_by), request.name));
}

}  // namespace

Result<TargetFacts> ask_target(const Hosting& hosting, const MirrorRequest& request,
                               const replication::SourceFacts* source) {
  const auto& context = hosting.context();
  EngineRequest engine;
  engine.entry = entry_of(request);
  if (!kept_elsewhere(engine.entry)) return TargetFacts{"RocksDB, in data_dir", {}};
  if (source != nullptr) {
    if (auto good = check_own_roots(hosting, request, *source); !good) return good.error();
  }
  // One of its own for each that asks; what a kill leaves goes at the next start.
  engine.data_dir = context.data_dir / "asked" / to_string(base::random_id<SnapshotId>());
  engine.cluster_id = context.cluster_id;
  engine.node_id = context.node_id;
  engine.stop = context.stop;
  Result<TargetFacts> said = TargetFacts{};
  {
    const auto opened = open_engine(engine);
    said = opened ? ask_opened(*opened, request, source) : opened.error();
  }
  if (auto removed = base::Files().remove_durably(engine.data_dir); !removed) return removed.error();
  if (said && said->survey) {
    if (auto good = check_not_promoted(hosting, request, *said->survey); !good) return good.error();
  }
  return said;
}

std::string survey_text(const EtcdSurvey& survey) {
  const auto quoted = [](const std::vector<std::string>& keys) {
    std::vector<std::string> all;
    all.reserve(keys.size());
    for (const auto& key : keys)
      all.push_back(fmt::format("\"{}\"", escape(key, 200)));
    return joined(all, ", ");
  };
  auto text = survey.keys > 0 ? "such as " + quoted(survey.shown) : std::string();
  if (survey.neighbours.empty()) return text;
  return text + fmt::format("{}the prefix \"{}\" ends in no separator, so {} are below it as well",
                            text.empty() ? "" : "; ", escape(survey.prefix, 200), quoted(survey.neighbours));
}

std::optional<std::string> why_agreement(const EtcdSurvey& survey, const std::string& name, bool promoted) {
  if (survey.keys == 0 || (survey.explained && !promoted)) return std::nullopt;
  if (survey.explained) {
    return fmt::format(
        "'{}' was promoted and takes writes: {} keys stand below \"{}\" in that etcd, also what clients wrote since; "
        "nothing of it is moved aside: those that the source does not have are deleted, the others become what they "
        "are there ({}); --yes if that is wanted",
        name, survey.keys, escape(survey.prefix, 200), survey_text(survey));
  }
  return fmt::format(
      "{} keys stand below \"{}\" in that etcd, and no record says that they are this mirror's: those that "
      "the source does not have are deleted ({}); --yes if that is wanted",
      survey.keys, escape(survey.prefix, 200), survey_text(survey));
}

json::object report_survey(const EtcdSurvey& survey) {
  const auto list = [](const std::vector<std::string>& keys) {
    json::array all;
    for (const auto& key : keys)
      all.emplace_back(escape(key, 4096));
    return all;
  };
  return {{"prefix", escape(survey.prefix, 4096)},
          {"keys", survey.keys},
          {"shown", list(survey.shown)},
          {"neighbours", list(survey.neighbours)},
          {"explained", survey.explained}};
}

namespace {

/// Not for a mirror that could be made all the same, and would wait for its target.
bool is_final(const MirrorError& of_target) {
  return of_target.kind() == ErrorKind::UnsupportedOperation || of_target.kind() == ErrorKind::MirrorPromoted;
}

}  // namespace

Task<std::optional<EtcdSurvey>> check_place(const Hosting& hosting, MirrorRequest request) {
  if (!kept_elsewhere(entry_of(request))) co_return std::optional<EtcdSurvey>();
  auto asking = ask_source(hosting, request.spec);
  const auto asked = co_await std::move(asking);
  auto asking_target = [&] { return ask_target(hosting, request, asked ? &*asked : nullptr); };
  auto calling = async::call_engine(hosting.context().executors.elsewhere, std::move(asking_target));
  const auto target = co_await std::move(calling);
  if (!target && is_final(target.error())) co_return target.error();
  co_return target ? target->survey : std::nullopt;
}

namespace {

json::object check_keys(const EtcdSurvey& survey, const std::optional<std::string>& why, bool yes) {
  if (why) return check("keys", yes, *why);
  const auto about = survey_text(survey);
  auto detail = survey.keys == 0 ? fmt::format("no key is below \"{}\" there", escape(survey.prefix, 200))
                                 : fmt::format("the {} keys there are this mirror's, by its record", survey.keys);
  return check("keys", true, about.empty() ? detail : detail + "; " + about);
}

}  // namespace

bool follows(const replication::SourceFacts& source, const std::string& database) {
  return std::ranges::find(source.chain, database) != source.chain.end();
}

json::object check_mirror(Hosting& hosting, const MirrorRequest& request, const Result<replication::SourceFacts>& asked,
                          const Result<TargetFacts>& target) {
  json::array checks;
  std::optional<int> code;
  checks.push_back(check_name(hosting, request, code));
  const auto present = hosting.databases().find(request.name);
  if (!asked) {
    checks.push_back(check(check_of(asked.error().kind()), false, asked.error().message()));
    code = exit_code(asked.error());
  } else {
    const auto self = hosting.context().cluster_id + "/" + request.name;
    const bool loop = follows(*asked, self);
    checks.push_back(check("reachable", true, "the source answers at " + request.spec.addresses));
    checks.push_back(check("identity", true, "both certificates are accepted; it is " + request.spec.source_cluster));
    checks.push_back(check("version", true, "the session begins; the source runs " + asked->software));
    checks.push_back(check("database", true, request.spec.source_database + " is there and may be mirrored"));
    checks.push_back(check_space(hosting, request.name, asked->ack));
    checks.push_back(
        check("loop", !loop, loop ? "the source follows this very database: promote it there first" : "no loop"));
    if (request.spec.sync)
      checks.push_back(check("sync", asked->sync_named, "the source names this mirror in sync_mirrors"));
    if (loop) code = exit_refused;
  }
  checks.push_back(check("target", target.ok(), target ? target->kept_at : target.error().message()));
  if (!target && !code) code = exit_code(target.error());
  const auto survey = target ? target->survey : std::nullopt;
  if (survey) {
    const auto why = why_agreement(*survey, request.name, present && present->takes_writes());
    checks.push_back(check_keys(*survey, why, request.yes));
    if (why && !request.yes && !code) code = exit_refused;
  }
  const bool good = std::ranges::all_of(checks, [](const auto& one) { return one.at("ok").as_bool(); });
  json::object report{{"dry_run", true}, {"checks", std::move(checks)}, {"ok", good}};
  report["target"] = survey ? json::value(report_survey(*survey)) : nullptr;
  if (!good) report["exit_code"] = code.value_or(exit_failed);
  return report;
}

json::value list_replaced(const DatabasePointer& present, const Result<replication::SourceFacts>& source) {
  if (!present) return nullptr;
  const auto state = present->state();
  json::object report{{"applied_lsn_there", nullptr},
                      {"first_lsn", nullptr},
                      {"last_lsn", state.head.value},
                      {"entries", nullptr},
                      {"keys", nullptr},
                      {"keys_total", nullptr},
                      {"keys_known", false},
                      {"set_aside", nullptr},
                      {"set_aside_before", json::array()},
                      {"detail", ""}};
  if (!source) {
    report["detail"] = fmt::format("what the new source lacks of it is not known: {}", source.error().message());
    return report;
  }
  const auto& from = source->promoted_from;
  if (!from || !state.history.contains(from->position.incarnation)) {
    report["detail"] =
        "the new source was not promoted from this database, as far as it knows: everything here may be missing there";
    return report;
  }
  const auto after = from->position.applied_lsn;
  report["applied_lsn_there"] = after.value;
  report["first_lsn"] = after.value + 1;
  if (state.head <= after) {
    report["entries"] = 0;
    report["keys_total"] = 0;
    report["keys"] = json::array();
    report["keys_known"] = true;
    report["detail"] = "nothing here is missing at the new source";
    return report;
  }
  const auto lost = read_lost(*present->engine().source, after, state.head);
  if (!lost) {
    report["detail"] = fmt::format("LSN {} to {} are missing at the new source; their keys are not known: {}",
                                   after.value + 1, state.head.value, lost.error().message());
    return report;
  }
  json::array keys;
  for (const auto& key : lost->keys) {
    if (keys.size() == listed_keys_max) break;
    keys.emplace_back(escape(key, 4096));
  }
  report["entries"] = lost->entries;
  report["keys"] = std::move(keys);
  report["keys_total"] = lost->keys.size();
  report["keys_known"] = !lost->cut && !lost->ranges;
  report["detail"] = fmt::format("{} entries with {} keys, LSN {} to {}, are missing at the new source{}",
                                 lost->entries, lost->keys.size(), after.value + 1, state.head.value,
                                 lost->ranges ? "; ranges of keys were deleted among them" : "");
  return report;
}

}  // namespace crosslink::node
