#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/connection_options.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "crosslink/source.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

struct Options {
  std::string address, cluster_id;
  TlsOptions tls;
  std::string alpn = quic::alpn_default;
  std::vector<std::string> databases;
  std::optional<std::uint64_t> snapshot_lsn;
  std::uint64_t snapshot_lsn_given = 0, snapshot_bytes = 0, handshakes_max = 0;
};

SourcePolicy policy_of(const Options& options) {
  SourcePolicy policy;
  policy.cluster_id = ClusterId(options.cluster_id);
  policy.authorize = [](std::span<const std::string>, const DatabaseId&) { return true; };
  policy.database_exists = [&options](const DatabaseId& database) {
    return options.databases.empty() || std::ranges::find(options.databases, database.str()) != options.databases.end();
  };
  policy.decide_snapshot = [&options](const MirrorHello& hello) {
    std::optional<SnapshotDecision> latest;
    if (options.snapshot_lsn) latest = SnapshotDecision{Lsn{*options.snapshot_lsn}, options.snapshot_bytes};
    return default_snapshot_decision(hello.last_applied_lsn, latest);
  };
  return policy;
}

boost::json::object json_of(const HandshakeReport& report) {
  boost::json::object object{{"peer", to_text(report.peer)},
                             {"peer_names", boost::json::value_from(report.peer_names)}};
  for (const char* field : {"source_cluster", "database", "last_applied_lsn", "snapshot_lsn"})
    object[field] = nullptr;
  if (report.hello) {
    object["source_cluster"] = report.hello->source_cluster.str();
    object["database"] = report.hello->source_database_id.str();
    object["last_applied_lsn"] = report.hello->last_applied_lsn.value;
  }
  if (report.ack) object["snapshot_lsn"] = report.ack->snapshot_lsn.value;
  object["accepted"] = !report.error;
  object["took_ms"] = static_cast<double>(report.took.count()) / 1000;
  append_error(object, report.error);
  return object;
}

std::string text_of(const HandshakeReport& report) {
  auto text = fmt::format("{} names={}", to_text(report.peer), fmt::join(report.peer_names, ","));
  if (report.hello) {
    text += fmt::format(" database={} last_applied={}", report.hello->source_database_id.str(),
                        report.hello->last_applied_lsn.value);
  }
  text += report.error ? fmt::format(" {}", to_string(report.error->kind())) : " accepted";
  text += fmt::format(" {:.2f} ms", static_cast<double>(report.took.count()) / 1000);
  return report.error ? fmt::format("{}: {}", text, report.error->message()) : text;
}

/// Counts what --max-handshakes limits: handshakes that are over, an accepted mirror's when it has left.
struct Count {
  std::uint64_t ended = 0, max = 0;
  MirrorAcceptor* acceptor = nullptr;
  void one_more() {
    if (++ended == max) acceptor->stop();
  }
};

MirrorAcceptor::Callbacks callbacks_of(const Globals& globals, const std::shared_ptr<Count>& count) {
  MirrorAcceptor::Callbacks callbacks;
  callbacks.on_handshake = [&globals, count](const HandshakeReport& report) {
    if (globals.json()) {
      print_json(json_of(report));
    } else {
      print_line(text_of(report));
    }
    if (report.error) count->one_more();
  };
  callbacks.on_session_end = [&globals, count](const AcceptedMirror& mirror, const Result<void>& end) {
    const auto how = end ? "left" : end.error().message();
    note(globals, LogLevel::debug, fmt::format("{}: {}", to_text(mirror.connection.remote_address()), how));
    count->one_more();
  };
  return callbacks;
}

awaitable<int> serve(const Globals& globals, const Options& options, quic::Listener listener) {
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::signal_set signals(executor, SIGINT, SIGTERM);
  const auto count = std::make_shared<Count>();
  count->max = options.handshakes_max;
  const auto address = to_text(listener.local_address());
  MirrorAcceptor acceptor(std::move(listener), policy_of(options), {}, refuse_all_requests,
                          callbacks_of(globals, count));
  count->acceptor = &acceptor;
  signals.async_wait([&acceptor](boost::system::error_code error, int) {
    if (!error) acceptor.stop();
  });
  if (globals.json()) {
    print_json({{"listening", address}});
  } else {
    print_line(fmt::format("listening {}", address));
  }
  note(globals, LogLevel::warning, "this is a bare source: every mirror with a certificate of this CA is accepted");
  const auto end = co_await acceptor.run();
  if (!end && end.error().kind() != ErrorKind::Cancelled) co_return report_error(globals, end.error());
  co_return exit_good;
}

awaitable<int> listen(const Globals& globals, const Options& options, quic::Endpoint endpoint,
                      quic::HostPort host_port) {
  const auto address = co_await quic::resolve(host_port);
  if (!address) co_return report_error(globals, address.error());
  quic::ServerConfig config;
  config.tls = options.tls.files();
  config.transport.alpn = {options.alpn};
  auto listener = endpoint.listen(*address, config);
  if (!listener) co_return report_error(globals, listener.error());
  co_return co_await serve(globals, options, std::move(*listener));
}

Result<quic::HostPort> check(const Options& options) {
  auto host_port = quic::parse_host_port(options.address);
  if (!host_port) return host_port;
  if (!is_dns_name(options.cluster_id)) {
    return MirrorError::configuration(fmt::format(
        "the cluster id '{}' is not a DNS name: give --cluster-id one such as prod-us", escape(options.cluster_id)));
  }
  if (auto good = check_files(options.tls, options.cluster_id); !good) return good.error();
  return host_port;
}

int run(const Globals& globals, const Options& options) {
  auto host_port = check(options);
  if (!host_port) return report_error(globals, host_port.error());
  boost::asio::io_context context;
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return report_error(globals, endpoint.error());
  return run_to_end(context, listen(globals, options, *endpoint, *host_port));
}

}  // namespace

void add_listen_verb(const Command& program) {
  auto options = std::make_shared<Options>();
  const auto verb = program.add("listen", "Be a bare source, for trying links: shake hands, serve nothing");
  verb.option("--addr", options->address, "Where to listen; port 0 takes a free one").required().type("HOST:PORT");
  verb.option("--cluster-id", options->cluster_id, "Our cluster id; our certificate must have it as DNS name")
      .required()
      .type("ID");
  add_tls_options(verb, options->tls, true);
  add_alpn_option(verb, options->alpn);
  verb.repeated("--database", options->databases, "A database that exists; may be given again; without it all do")
      .type("DB");
  const auto lsn = verb.number("--snapshot-lsn", options->snapshot_lsn_given, "Announce a snapshot at this LSN");
  const auto bytes = verb.number("--snapshot-bytes", options->snapshot_bytes, "Its size to announce");
  lsn.needs(bytes);
  bytes.needs(lsn);
  verb.number("--max-handshakes", options->handshakes_max, "End after so many handshakes; 0, the default, never");
  verb.footer(
      "Example:\n  crosslink listen --addr 127.0.0.1:4433 --cluster-id prod-us \\\n"
      "    --ca certs/ca.pem --cert certs/prod-us.pem --key certs/prod-us.key --database orders");
  verb.run([options, lsn](const Globals& globals) {
    if (lsn.given()) options->snapshot_lsn = options->snapshot_lsn_given;
    return run(globals, *options);
  });
}

}  // namespace crosslink::cli
