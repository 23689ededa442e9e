#include "node/admin/reports.hpp"

#include <fmt/format.h>

#include <chrono>

#include "node/hosting/sync_gate.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

double milliseconds(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1e3; }

json::value chain_of(const std::vector<std::string>& chain) {
  json::array names;
  for (const auto& name : chain)
    names.emplace_back(escape(name));
  return names;
}

json::value last_error_of(const std::optional<MirrorError>& error) {
  if (!error) return nullptr;
  return json::object{
      {"error", to_string(error->kind())}, {"caused_by", to_string(error->caused_by())}, {"message", error->message()}};
}

json::value last_verify_of(const std::optional<LastVerify>& last) {
  if (!last) return nullptr;
  return json::object{{"outcome", to_string(last->result.outcome)},
                      {"lsn", last->result.lsn.value},
                      {"at", utc_text(last->at)},
                      {"difference_count", last->result.difference_count},
                      {"reason", last->result.reason}};
}

void put_position(json::object& into, const MirrorFacts& facts, const MirrorStatus& status) {
  const auto& position = facts.position;
  into["applied_lsn"] = position ? json::value(position->applied_lsn.value) : nullptr;
  into["durable_lsn"] = position ? json::value(facts.durable.value) : nullptr;
  into["source_lsn"] = facts.source_head ? json::value(facts.source_head->value) : nullptr;
  const bool follows = status.kind != StatusKind::Promoted;
  const bool comparable = position && facts.source_head && follows && !facts.diverged_from_source &&
                          status.kind != StatusKind::Bootstrapping;
  const auto behind = comparable && facts.source_head->value > position->applied_lsn.value
                          ? facts.source_head->value - position->applied_lsn.value
                          : 0;
  into["lag_lsn"] = comparable ? json::value(behind) : nullptr;
  into["lag_ms"] = status.lag && follows ? json::value(milliseconds(*status.lag)) : nullptr;
  into["unverified"] = facts.unverified;
  into["incarnation"] = position ? json::value(to_string(position->incarnation)) : nullptr;
  into["origin"] = position ? json::value(to_string(position->origin)) : nullptr;
}

void put_bootstrap(json::object& into, const MirrorFacts& facts, const MirrorStatus& status,
                   const std::optional<std::uint64_t>& rate) {
  const bool going = status.kind == StatusKind::Bootstrapping;
  into["bytes_done"] = going ? json::value(status.bytes_done) : nullptr;
  into["bytes_total"] = going ? or_null(status.bytes_total) : nullptr;
  into["resumed_at_bytes"] = going && facts.snapshot_resumed_at > 0 ? json::value(facts.snapshot_resumed_at) : nullptr;
  into["eta_ms"] = nullptr;
  if (going && status.bytes_total && rate && *rate > 0 && *status.bytes_total >= status.bytes_done)
    into["eta_ms"] = (*status.bytes_total - status.bytes_done) * 1000 / *rate;
  into["bootstraps"] = facts.bootstraps;
  into["last_bootstrap_bytes"] = facts.bootstraps > 0 ? json::value(facts.last_snapshot_bytes) : nullptr;
  into["rate_bytes_per_s"] = or_null(rate);
}

void put_link(json::object& into, const CrossClusterLink& link, const MirrorFacts& facts) {
  const auto connection = link.connection();
  const auto transport = connection ? std::optional(connection->facts()) : std::nullopt;
  into["connected"] = connection.has_value();
  into["round_trip_us"] = transport ? json::value(transport->round_trip.count()) : nullptr;
  into["packets_sent"] = transport ? json::value(transport->packets_sent) : nullptr;
  into["packets_lost"] = transport ? json::value(transport->packets_lost) : nullptr;
  into["mtu"] = transport ? json::value(transport->mtu) : nullptr;
  const auto retry = link.retry_facts();
  into["attempts"] = retry.attempts;
  into["reconnects"] = retry.reconnects;
  into["next_retry_ms"] = nullptr;
  if (retry.next_attempt) {
    const auto left = *retry.next_attempt - std::chrono::steady_clock::now();
    into["next_retry_ms"] =
        std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(left).count());
  }
  into["throttle_bytes"] = link.throttle.in_flight();
  into["throttle_cap_bytes"] = link.throttle.cap();
  into["window_left_bytes"] = or_null(facts.window_left_bytes);
  into["window_left_ms"] = facts.window_left_time ? json::value(facts.window_left_time->count()) : nullptr;
  into["snapshot_queue"] = or_null(facts.snapshot_queue);
}

void put_spec(json::object& into, const MirrorSpec& spec) {
  into["source_cluster"] = spec.source_cluster;
  into["source_database"] = spec.source_database;
  into["addresses"] = spec.addresses;
  into["congestion"] = to_string(spec.congestion);
  into["bandwidth_bytes_per_s"] = spec.bandwidth_bytes_per_s;
  into["paused"] = spec.paused;
  into["on_source_behind"] = spec.resync_when_source_behind ? "resync" : "halt";
}

json::value identity_of(const std::optional<MirrorIdentity>& mirror) {
  if (!mirror) return nullptr;
  const bool says = mirror->id != MirrorId{};
  return json::object{{"database", says ? json::value(escape(mirror->database)) : nullptr},
                      {"id", says ? json::value(to_string(mirror->id)) : nullptr}};
}

json::value sync_of(const HostedDatabase& database) {
  const auto sync = database.sync_facts();
  if (!sync) return nullptr;
  json::array counted;
  for (const auto& one : sync->mirrors) {
    counted.push_back(json::object{{"name", one.name},
                                   {"counted", identity_of(one.counted)},
                                   {"not_counted", identity_of(one.not_counted)},
                                   {"trouble", one.trouble}});
  }
  return json::object{{"mirrors", json::value_from(database.config().sync_mirrors)},
                      {"counted", std::move(counted)},
                      {"suspended", sync->suspended},
                      {"waiting", sync->waiting},
                      {"unconfirmed", sync->unconfirmed},
                      {"async", sync->async}};
}

json::object report_follower(HostedDatabase& database, const ServedMirrorFacts& one) {
  const auto identity = identity_of(one.mirror);
  return {{"name", escape(one.peer_names.front())},
          {"address", quic::to_text(one.address)},
          {"database", identity.at("database")},
          {"id", identity.at("id")},
          {"sync_standing", or_null(database.sync_standing(one.peer_names, one.mirror))},
          {"applied_lsn", one.applied.value},
          {"durable_lsn", one.durable.value},
          {"certificate_serial", one.certificate_serial},
          {"certificate_not_after", utc_text(one.certificate_not_after)}};
}

}  // namespace

json::array report_certificates(const std::vector<CertificateFacts>& files) {
  json::array all;
  for (const auto& one : files) {
    all.push_back(json::object{{"role", one.role},
                               {"database", one.database.empty() ? json::value() : json::value(one.database)},
                               {"file", one.file.string()},
                               {"not_after", one.not_after ? json::value(utc_text(*one.not_after)) : json::value()},
                               {"trouble", one.trouble}});
  }
  return all;
}

json::object report_mirror(HostedDatabase& database) {
  auto& hosted = *database.mirror();
  const auto& mirror = hosted.mirror();
  const auto status = mirror.status();
  const auto facts = mirror.facts();
  json::object report{
      {"name", database.name()},
      {"status", to_string(status.kind)},
      {"reason", status.reason},
      {"mode", facts.sync ? "sync" : "async"},
      {"id", database.mirror_id() == MirrorId{} ? json::value() : json::value(to_string(database.mirror_id()))},
      {"sync_standing", nullptr}};
  if (facts.sync_promise && facts.sync_promise->standing)
    report["sync_standing"] = to_string(*facts.sync_promise->standing);
  put_position(report, facts, status);
  put_bootstrap(report, facts, status, hosted.rate_bytes_per_s());
  report["last_error"] = last_error_of(facts.last_error);
  report["status_age_ms"] = hosted.status_age().count();
  report["chain"] = chain_of(facts.chain);
  put_spec(report, hosted.spec());
  put_link(report, mirror.link(), facts);
  report["kept_at"] = database.engine().kept_at;
  json::object counts;
  for (const auto& one : database.engine().mirror->counts())
    counts[one.name] = one.value;
  report["counts"] = std::move(counts);
  report["last_verify"] = last_verify_of(hosted.last_verify());
  report["promoted_from"] = nullptr;
  if (facts.promoted_from) {
    report["promoted_from"] = json::object{{"cluster", facts.promoted_from->cluster},
                                           {"database", facts.promoted_from->database},
                                           {"lsn", facts.promoted_from->position.applied_lsn.value}};
  }
  return report;
}

json::object report_database(HostedDatabase& database) {
  const auto state = database.state();
  json::array mirrors;
  for (const auto& one : database.source().mirrors()) {
    mirrors.push_back(report_follower(database, one));
  }
  const auto detail = database.engine().source->detail();
  json::object report{
      {"name", database.name()},
      {"index", database.index()},
      {"kind", to_string(database.kind())},
      {"role", to_string(state.role)},
      {"kept_at", database.engine().kept_at},
      {"detail", detail},
      {"remark", detail},  // its name until 2026-12
      {"head_lsn", state.head.value},
      {"oldest_lsn", state.oldest.value},
      {"incarnation",
       state.history.empty() ? json::value() : json::value(to_string(state.history.newest().incarnation))},
      {"origin", to_string(state.origin)},
      {"log_window_bytes", database.config().log_window.bytes},
      {"allow_mirrors", nullptr},
      {"mirrors", std::move(mirrors)}};
  report["sync"] = sync_of(database);
  if (const auto allowed = database.allow_mirrors()) report["allow_mirrors"] = json::value_from(*allowed);
  return report;
}

json::object report_verify(const std::string& name, const VerifyResult& result) {
  json::array differences;
  for (const auto& one : result.differences)
    differences.push_back(json::object{{"key", escape(one.key, 4096)}, {"kind", to_string(one.kind)}});
  return {{"name", name},
          {"outcome", to_string(result.outcome)},
          {"reason", result.reason},
          {"lsn", result.lsn.value},
          {"keys_compared", result.keys_compared},
          {"difference_count", result.difference_count},
          {"all_counted", result.all_counted},
          {"differences", std::move(differences)}};
}

json::object report_error(const MirrorError& error, std::optional<int> chosen) {
  return {{"error", to_string(error.kind())},
          {"caused_by", to_string(error.caused_by())},
          {"message", error.message()},
          {"exit_code", chosen ? *chosen : exit_code(error)}};
}

}  // namespace crosslink::node
