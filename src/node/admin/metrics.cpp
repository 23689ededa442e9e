#include "node/admin/metrics.hpp"

#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "node/descriptors.hpp"
#include "node/hosting/hosted_database.hpp"
#include "node/hosting/sync_gate.hpp"

namespace crosslink::node {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

/// Families by name, in the order of their first sample; one without a sample is not served.
class Page {
 public:
  void gauge(std::string_view name, std::string_view help, const Labels& labels, double value) {
    put(family(name, help, MetricType::Gauge), labels, value);
  }
  void counter(std::string_view name, std::string_view help, const Labels& labels, std::uint64_t value) {
    put(family(name, help, MetricType::Counter), labels, static_cast<double>(value));
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  MetricFamily& family(std::string_view name, std::string_view help, MetricType type) {
    const auto [found, made] = places_.try_emplace(fmt::format("crosslink_{}", name), families_.size());
    if (made) families_.push_back({found->first, std::string(help), type, {}});
    return families_[found->second];
  }
  static void put(MetricFamily& into, const Labels& labels, double value) {
    ClientMetric metric;
    metric.label = labels;
    if (into.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    into.metric.push_back(std::move(metric));
  }
  std::map<std::string, std::size_t> places_;
  std::vector<MetricFamily> families_;
};

template <class Number>
double real(Number number) {
  return static_cast<double>(number);
}

template <class Rep, class Period>
double seconds(std::chrono::duration<Rep, Period> time) {
  return std::chrono::duration<double>(time).count();
}

Labels with(Labels labels, std::string name, std::string_view value) {
  labels.push_back({std::move(name), std::string(value)});
  return labels;
}

void put_status(Page& page, const Labels& labels, const MirrorStatus& status) {
  for (const auto kind : {StatusKind::Bootstrapping, StatusKind::Following, StatusKind::Degraded,
                          StatusKind::Disconnected, StatusKind::Paused, StatusKind::Halted, StatusKind::Promoted}) {
    page.gauge("mirror_status", "1 for the status that the mirror has", with(labels, "status", to_string(kind)),
               status.kind == kind ? 1 : 0);
  }
  if (status.lag && status.kind != StatusKind::Promoted)
    page.gauge("mirror_lag_seconds", "Upper bound of how old the data is; absent: unknown", labels,
               seconds(*status.lag));
  if (status.kind != StatusKind::Bootstrapping) return;
  page.gauge("mirror_bootstrap_done_bytes", "Of the snapshot that is on its way; absent: there is none", labels,
             real(status.bytes_done));
  if (status.bytes_total)
    page.gauge("mirror_bootstrap_size_bytes", "Of the snapshot that is on its way, whole; absent: unknown", labels,
               real(*status.bytes_total));
}

void put_progress(Page& page, const Labels& labels, const MirrorFacts& facts) {
  if (facts.position) {
    page.gauge("mirror_applied_lsn", "Last LSN applied", labels, real(facts.position->applied_lsn.value));
    page.gauge("mirror_durable_lsn", "Last LSN that survives a power cut", labels, real(facts.durable.value));
  }
  page.gauge("mirror_unverified",
             "1 while the source cannot tell whether its log goes on from what is here; a verify that says equal, "
             "and a bootstrap, end it",
             labels, facts.unverified ? 1 : 0);
  if (facts.source_head)
    page.gauge("mirror_source_lsn", "The source's head, as it last said", labels, real(facts.source_head->value));
  page.counter("mirror_received_bytes_total", "Of log and snapshots", labels, facts.received_bytes);
  page.counter("mirror_bootstraps_total", "Snapshots switched in", labels, facts.bootstraps);
  if (facts.window_left_bytes)
    page.gauge("mirror_window_left_bytes",
               "Log that the source may still write before it drops what this mirror needs; absent: not behind", labels,
               real(*facts.window_left_bytes));
  if (facts.window_left_time)
    page.gauge("mirror_window_left_seconds",
               "Until the source drops the log that this mirror needs; absent: not behind", labels,
               seconds(*facts.window_left_time));
}

void put_link(Page& page, const Labels& labels, const CrossClusterLink& link) {
  const auto retry = link.retry_facts();
  page.counter("mirror_reconnects_total", "Links after the first", labels, retry.reconnects);
  if (retry.next_attempt) {
    const auto left = *retry.next_attempt - std::chrono::steady_clock::now();
    page.gauge("mirror_next_retry_seconds", "Seconds until the next connection attempt; absent when none is scheduled",
               labels, std::max(0.0, seconds(left)));
  }
  page.gauge("mirror_throttle_bytes", "Received and neither applied nor stored yet, with 512 bytes for each frame",
             labels, real(link.throttle.in_flight()));
  page.gauge("mirror_throttle_limit_bytes", "At this much reading stops", labels, real(link.throttle.cap()));
  const auto connection = link.connection();
  page.gauge("mirror_connected", "1 while there is a link", labels, connection ? 1 : 0);
  if (!connection) return;
  const auto transport = connection->facts();
  page.gauge("mirror_round_trip_seconds", "Of the link", labels, seconds(transport.round_trip));
  page.gauge("mirror_connection_packets", "Sent by the present connection", labels, real(transport.packets_sent));
  page.gauge("mirror_connection_lost_packets", "Of these", labels, real(transport.packets_lost));
}

void put_verify(Page& page, const Labels& labels, const std::optional<LastVerify>& last) {
  using Outcome = VerifyResult::Outcome;
  if (!last) return;
  for (const auto outcome : {Outcome::equal, Outcome::different, Outcome::unknown})
    page.gauge("mirror_verify_outcome", "1 for how the last verify ended; absent: none since the node's start",
               with(labels, "outcome", to_string(outcome)), last->result.outcome == outcome ? 1 : 0);
  page.gauge("mirror_verify_different_keys", "Found by the last verify", labels, real(last->result.difference_count));
  page.gauge("mirror_verify_age_seconds", "Since the last verify ended; absent: none since the node's start", labels,
             seconds(replication::session_now() - last->ended));
}

void put_mirror(Page& page, const std::string& name, const HostedMirror& hosted) {
  const Labels labels{{"mirror", name}};
  const auto& mirror = hosted.mirror();
  put_status(page, labels, mirror.status());
  put_progress(page, labels, mirror.facts());
  put_link(page, labels, mirror.link());
  page.gauge("mirror_bandwidth_limit_bytes_per_second", "As set by an operator; 0: none", labels,
             real(hosted.spec().bandwidth_bytes_per_s));
  put_verify(page, labels, hosted.last_verify());
}

void put_sync(Page& page, const Labels& labels, const SyncFacts& sync) {
  page.gauge("database_sync_suspended", "1 while a mirror in sync mode is lost and not waited for", labels,
             sync.suspended ? 1 : 0);
  page.gauge("database_sync_waiting", "Connections whose writes wait to be confirmed", labels, real(sync.waiting));
  page.counter("database_sync_unconfirmed_total", "Writes answered NOSYNC", labels, sync.unconfirmed);
  page.counter("database_sync_async_total", "Writes answered OK without being confirmed", labels, sync.async);
}

constexpr std::string_view open_help = "0 while it could not be opened and is tried again";

void put_allowed(Page& page, const Labels& labels, const std::optional<std::vector<std::string>>& names) {
  constexpr std::string_view help = "1 for each certificate name that may mirror it; *: any that the CA signed";
  for (const auto& name : names.value_or(std::vector{std::string(any_mirror)}))
    page.gauge("database_allow_mirrors", help, with(labels, "mirror", name), 1);
}

void put_database(Page& page, HostedDatabase& database) {
  const Labels labels{{"database", database.name()}};
  const auto followers = database.source().mirrors();
  page.gauge("database_open", open_help, labels, 1);
  put_allowed(page, labels, database.allow_mirrors());
  page.gauge("database_head_lsn", "Newest committed LSN", labels, real(database.head().value));
  if (const auto* const local = database.local()) {
    page.gauge("database_writable", "0 while its disk refuses writes", labels, local->writes_refused() ? 0 : 1);
    page.gauge("database_log_bytes", "Of log on disk", labels, real(local->log_bytes()));
    page.gauge("database_log_budget_bytes", "Of log on disk at the very most, as configured", labels,
               real(database.config().log_window.budget_bytes));
  }
  page.gauge("database_mirrors", "Mirrors that follow it now", labels, real(followers.size()));
  for (const auto& one : followers) {
    const auto theirs =
        with(with(labels, "mirror", escape(one.peer_names.front())), "address", quic::to_text(one.address));
    page.gauge("database_mirror_applied_lsn", "What a mirror of it applied", theirs, real(one.applied.value));
    page.gauge("database_mirror_durable_lsn", "What a mirror of it has on disk", theirs, real(one.durable.value));
  }
  page.counter("database_stalled_readers_total",
               "Snapshots and verifies given up because their mirror made no progress", labels,
               database.source().stalled_readers());
  if (const auto sync = database.sync_facts()) put_sync(page, labels, *sync);
}

void put_clients(Page& page, const ClientFacts& clients) {
  page.gauge("clients_connected", "Connections of clients", {}, real(clients.connections));
  page.gauge("clients_connections_max", "Of these at most, as configured", {}, real(clients.connections_max));
  page.gauge("clients_without_password", "Connections that have yet to say the password", {},
             real(clients.without_password));
  page.gauge("clients_buffers_bytes", "What connections hold of commands, transactions, watched keys and answers", {},
             real(clients.buffers_bytes));
  page.gauge("clients_buffers_max_bytes", "Of these at most, as configured", {}, real(clients.buffers_bytes_max));
  page.counter("clients_wrong_passwords_total", "Said by clients", {}, clients.wrong_passwords);
  const auto& refused = clients.refused;
  for (const auto& [limit, times] :
       {std::pair("connections_max", refused.connections_max), std::pair("descriptors", refused.descriptors),
        std::pair("buffers_bytes", refused.buffers_bytes), std::pair("password_deadline", refused.password_deadline),
        std::pair("wrong_passwords", refused.wrong_passwords)})
    page.counter("clients_refused_total", "Connections of clients sent away, by the limit that they met",
                 {{"limit", limit}}, times);
  const auto have = descriptors();
  page.gauge("descriptors_open", "Files and connections of the node", {}, real(open_descriptors()));
  page.gauge("descriptors_max", "Of these at most, as the system says (RLIMIT_NOFILE)", {}, real(have.limit));
  page.gauge("descriptors_reserve", "Of these kept for databases, mirrors and commands: clients do not get them", {},
             real(have.reserve));
}

void put_reload(Page& page, const ReloadFacts& reload) {
  page.gauge("config_last_reload_successful", "0 while the config as it is now was tried and not taken over", {},
             reload.trouble ? 0 : 1);
  page.gauge("config_last_reload_success_timestamp_seconds",
             "When the config was last taken over, in seconds since 1970", {},
             seconds(reload.loaded_at.time_since_epoch()));
}

void put_certificates(Page& page, std::span<const CertificateFacts> certificates) {
  for (const auto& one : certificates) {
    const Labels labels{{"role", one.role}, {"database", one.database}, {"file", escape(one.file.string(), 1024)}};
    if (one.not_after)
      page.gauge("certificate_not_after_seconds", "When the certificate in use ends, in seconds since 1970", labels,
                 seconds(one.not_after->time_since_epoch()));
    page.gauge("certificate_file_refused",
               "1 while what a file, or one that is used with it, holds now cannot be used and the old is in use",
               labels, one.trouble.empty() ? 0 : 1);
  }
}

}  // namespace

std::string metrics_text(const DatabaseList& databases, const ClientFacts& clients,
                         std::span<const CertificateFacts> certificates, const ReloadFacts& reload,
                         std::uint64_t tls_refused) {
  Page page;
  put_clients(page, clients);
  put_reload(page, reload);
  put_certificates(page, certificates);
  page.counter("mirrors_tls_refused_total", "Handshakes of mirrors that TLS refused, over a certificate", {},
               tls_refused);
  for (const auto& one : databases.not_open())
    page.gauge("database_open", open_help, {{"database", one.name}}, 0);
  for (const auto& database : databases.all()) {
    put_database(page, *database);
    const auto* const mirror = database->mirror();
    if (mirror == nullptr) continue;
    put_mirror(page, database->name(), *mirror);
    for (const auto& one : database->engine().mirror->counts())
      page.counter("mirror_engine_total", "What the engine counts, by name, since it was opened",
                   {{"mirror", database->name()}, {"counter", one.name}}, one.value);
  }
  return page.text();
}

}  // namespace crosslink::node
