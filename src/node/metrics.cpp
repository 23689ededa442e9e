#include "node/metrics.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <optional>
#include <utility>
#include <vector>

#include "node/hosted_database.hpp"

namespace crosslink::node {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

MetricFamily family(std::string name, std::string help, MetricType type) {
  MetricFamily made;
  made.name = std::move(name);
  made.help = std::move(help);
  made.type = type;
  return made;
}

void put(MetricFamily& into, const Labels& labels, double value) {
  ClientMetric metric;
  metric.label = labels;
  if (into.type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  into.metric.push_back(std::move(metric));
}

double seconds(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1e6; }

struct MirrorFamilies {
  MetricFamily status = family("crosslink_mirror_status", "1 for the status that the mirror has", MetricType::Gauge);
  MetricFamily lag =
      family("crosslink_mirror_lag_seconds", "Upper bound of how old the data is; absent: unknown", MetricType::Gauge);
  MetricFamily applied = family("crosslink_mirror_applied_lsn", "Last LSN applied", MetricType::Gauge);
  MetricFamily durable =
      family("crosslink_mirror_durable_lsn", "Last LSN that survives a power cut", MetricType::Gauge);
  MetricFamily head = family("crosslink_mirror_source_lsn", "The source's head, as it last said", MetricType::Gauge);
  MetricFamily received = family("crosslink_mirror_received_bytes_total", "Of log and snapshots", MetricType::Counter);
  MetricFamily bootstraps = family("crosslink_mirror_bootstraps_total", "Snapshots switched in", MetricType::Counter);
  MetricFamily reconnects = family("crosslink_mirror_reconnects_total", "Links after the first", MetricType::Counter);
  MetricFamily round_trip = family("crosslink_mirror_round_trip_seconds", "Of the link", MetricType::Gauge);
  MetricFamily lost = family("crosslink_mirror_packets_lost_total", "By the present connection", MetricType::Gauge);
  MetricFamily window =
      family("crosslink_mirror_window_left_bytes",
             "Log that the source may still write before it drops what this mirror needs", MetricType::Gauge);
  MetricFamily counted = family("crosslink_mirror_engine_total", "What the engine counts, by name, since it was opened",
                                MetricType::Counter);
};

void put_mirror(MirrorFamilies& into, HostedDatabase& database) {
  const auto& mirror = database.mirror()->mirror();
  const Labels labels{{"mirror", database.name()}};
  const auto status = mirror.status();
  const auto facts = mirror.facts();
  for (const auto kind : {StatusKind::Bootstrapping, StatusKind::Following, StatusKind::Degraded,
                          StatusKind::Disconnected, StatusKind::Paused, StatusKind::Halted, StatusKind::Promoted}) {
    put(into.status, {{"mirror", database.name()}, {"status", std::string(to_string(kind))}},
        status.kind == kind ? 1 : 0);
  }
  if (status.lag) put(into.lag, labels, seconds(*status.lag));
  if (facts.position) {
    put(into.applied, labels, static_cast<double>(facts.position->applied_lsn.value));
    put(into.durable, labels, static_cast<double>(facts.durable.value));
  }
  if (facts.source_head) put(into.head, labels, static_cast<double>(facts.source_head->value));
  put(into.received, labels, static_cast<double>(facts.received_bytes));
  put(into.bootstraps, labels, static_cast<double>(facts.bootstraps));
  put(into.reconnects, labels, static_cast<double>(mirror.link().retry_facts().reconnects));
  if (const auto connection = mirror.link().connection()) {
    const auto transport = connection->facts();
    put(into.round_trip, labels, seconds(transport.round_trip));
    put(into.lost, labels, static_cast<double>(transport.packets_lost));
  }
  for (const auto& one : database.engine().mirror->counts())
    put(into.counted, {{"mirror", database.name()}, {"counter", one.name}}, static_cast<double>(one.value));
  if (facts.window_left_bytes) put(into.window, labels, static_cast<double>(*facts.window_left_bytes));
}

}  // namespace

std::string metrics_text(std::span<const DatabasePointer> databases) {
  MirrorFamilies mirrors;
  auto head = family("crosslink_database_head_lsn", "Newest committed LSN", MetricType::Gauge);
  auto served = family("crosslink_database_mirrors", "Mirrors that follow it now", MetricType::Gauge);
  auto their_lag = family("crosslink_database_mirror_applied_lsn", "What a mirror of it applied", MetricType::Gauge);
  for (const auto& database : databases) {
    const Labels labels{{"database", database->name()}};
    const auto followers = database->source().mirrors();
    put(head, labels, static_cast<double>(database->state().head.value));
    put(served, labels, static_cast<double>(followers.size()));
    for (const auto& one : followers) {
      put(their_lag,
          {{"database", database->name()},
           {"mirror", escape(one.peer_names.front())},
           {"address", quic::to_text(one.address)}},
          static_cast<double>(one.applied.value));
    }
    if (database->mirror() != nullptr) put_mirror(mirrors, *database);
  }
  std::vector<MetricFamily> all{std::move(head), std::move(served), std::move(their_lag)};
  for (auto* const one : {&mirrors.status, &mirrors.lag, &mirrors.applied, &mirrors.durable, &mirrors.head,
                          &mirrors.received, &mirrors.bootstraps, &mirrors.reconnects, &mirrors.round_trip,
                          &mirrors.lost, &mirrors.window, &mirrors.counted})
    all.push_back(std::move(*one));
  std::erase_if(all, [](const MetricFamily& one) { return one.metric.empty(); });
  return prometheus::TextSerializer().Serialize(all);
}

}  // namespace crosslink::node
