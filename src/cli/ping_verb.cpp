#include <fmt/format.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/connection_options.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "crosslink/link.hpp"

namespace crosslink::cli {
namespace {

using std::chrono::steady_clock;

/// Longer than the link's own deadline, so that the link's own sentence comes first.
constexpr double timeout_without_retry_s = 10;

struct Options {
  std::string address, cluster_id, database;
  std::uint64_t last_applied_lsn = 0;
  TlsOptions tls;
  std::string alpn = quic::alpn_default;
  quic::CongestionControl congestion = quic::CongestionControl::bbr;
  bool retry = false;
  std::optional<double> timeout_s;
};

struct Outcome {
  std::optional<MirrorHelloAck> ack;
  std::optional<MirrorError> error;
  std::optional<quic::ConnectionFacts> facts;
  std::string alpn;
  std::vector<std::string> peer_names;
  std::uint64_t attempts = 0;
};

double milliseconds(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1000; }

/// Looks at a link every now and then while it retries, says what it sees, and closes it at the deadline.
class Watch : public std::enable_shared_from_this<Watch> {
 public:
  Watch(boost::asio::any_io_executor executor, CrossClusterLink& link, const Globals& globals,
        std::optional<steady_clock::duration> timeout)
      : timer_(executor), link_(link), globals_(globals) {
    if (timeout) deadline_ = steady_clock::now() + *timeout;
  }
  void start() {
    timer_.expires_after(std::chrono::milliseconds(50));
    timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error && !self->stopped_) self->look();
    });
  }
  void stop() {
    stopped_ = true;
    timer_.cancel();
  }
  bool timed_out() const { return timed_out_; }
  /// Attempts that failed, as far as seen: the link itself forgets them once a handshake stands.
  std::uint64_t failed_attempts() const { return failed_; }
  void attempt_failed(std::uint64_t attempt, const MirrorError& error, std::optional<steady_clock::time_point> next) {
    if (attempt <= failed_) return;
    failed_ = attempt;
    if (globals_.json()) return;
    const std::chrono::duration<double> wait = next ? *next - steady_clock::now() : steady_clock::duration{};
    const auto when =
        next ? fmt::format("the next one comes in {:.1f} s", std::max(wait.count(), 0.0)) : "trying again";
    note(globals_, LogLevel::info, fmt::format("attempt {} failed: {}; {}", attempt, error.message(), when));
  }

 private:
  void look() {
    const auto facts = link_.retry_facts();
    if (facts.last_error && facts.next_attempt) attempt_failed(facts.attempts, *facts.last_error, facts.next_attempt);
    if (deadline_ && steady_clock::now() >= *deadline_) {
      timed_out_ = true;
      link_.close();
      return;
    }
    start();
  }

  boost::asio::steady_timer timer_;
  CrossClusterLink& link_;
  const Globals& globals_;
  std::optional<steady_clock::time_point> deadline_;
  std::uint64_t failed_ = 0;
  bool timed_out_ = false, stopped_ = false;
};

std::optional<steady_clock::duration> timeout_of(const Options& options) {
  if (!options.timeout_s && options.retry) return std::nullopt;
  const std::chrono::duration<double> seconds(options.timeout_s.value_or(timeout_without_retry_s));
  return std::chrono::duration_cast<steady_clock::duration>(seconds);
}

MirrorError timed_out(const Options& options, const std::optional<MirrorError>& last_error) {
  const double seconds = options.timeout_s.value_or(timeout_without_retry_s);
  const auto reason = last_error ? fmt::format("; the last attempt failed: {}", last_error->message()) : "";
  return MirrorError::timeout(fmt::format("no link to '{}' within {} s{}", escape(options.address), seconds, reason));
}

awaitable<Outcome> dial(const Globals& globals, const Options& options, quic::Endpoint endpoint) {
  quic::ClientConfig config;
  config.tls = options.tls.files();
  config.transport.alpn = {options.alpn};
  config.transport.congestion = options.congestion;
  CrossClusterLink link(ClusterId(options.cluster_id), DatabaseId(options.database), options.address,
                        std::move(endpoint), config);
  auto executor = co_await boost::asio::this_coro::executor;
  const auto watch = std::make_shared<Watch>(executor, link, globals, timeout_of(options));
  watch->start();
  const Lsn applied{options.last_applied_lsn};
  auto result = co_await link.connect(applied);
  const bool again = !result && options.retry && rule_of(result.error().kind()).in_reconnect == InReconnect::retry;
  if (again) {
    watch->attempt_failed(1, result.error(), std::nullopt);
    result = co_await link.schedule_reconnect(applied);
  }
  watch->stop();

  Outcome outcome;
  const auto facts = link.retry_facts();
  outcome.attempts = result ? watch->failed_attempts() + 1 : facts.attempts;
  outcome.ack = link.last_ack();
  if (!result) {
    outcome.error = watch->timed_out() ? timed_out(options, facts.last_error) : result.error();
    co_return outcome;
  }
  if (const auto connection = link.connection()) {
    outcome.facts = connection->facts();
    outcome.alpn = connection->alpn();
    outcome.peer_names = connection->peer_names();
  }
  link.close();
  co_return outcome;
}

/// The last attempt's ack, field by field as the source sent it; all null when none came.
void append_ack(boost::json::object& object, const Outcome& outcome) {
  for (const char* field :
       {"accepted", "error_code", "error_detail", "source_cluster_id", "snapshot_lsn", "snapshot_bytes_total"}) {
    object[field] = nullptr;
  }
  if (!outcome.ack) return;
  object["accepted"] = outcome.ack->accepted;
  object["error_code"] = outcome.ack->error_code;
  object["error_detail"] = outcome.ack->error_detail;
  object["source_cluster_id"] = outcome.ack->source_cluster_id.str();
  object["snapshot_lsn"] = outcome.ack->snapshot_lsn.value;
  object["snapshot_bytes_total"] = outcome.ack->snapshot_bytes_total;
}

void append_facts(boost::json::object& object, const Outcome& outcome) {
  for (const char* field : {"tls_version", "cipher_suite", "alpn", "peer_names", "congestion",
                            "congestion_window_bytes", "mtu", "handshake_ms", "round_trip_ms"}) {
    object[field] = nullptr;
  }
  if (!outcome.facts) return;
  object["tls_version"] = outcome.facts->tls_version;
  object["cipher_suite"] = outcome.facts->cipher_suite;
  object["alpn"] = outcome.alpn;
  object["peer_names"] = boost::json::value_from(outcome.peer_names);
  object["congestion"] = outcome.facts->congestion;
  object["congestion_window_bytes"] = outcome.facts->congestion_window_bytes;
  object["mtu"] = outcome.facts->mtu;
  object["handshake_ms"] = milliseconds(outcome.facts->handshake);
  object["round_trip_ms"] = milliseconds(outcome.facts->round_trip);
}

std::string text_of(const Options& options, const Outcome& outcome) {
  const auto& ack = *outcome.ack;
  const auto snapshot =
      ack.snapshot_lsn == no_snapshot
          ? fmt::format("none, the log follows after LSN {}", options.last_applied_lsn)
          : fmt::format("at LSN {}, about {} bytes", ack.snapshot_lsn.value, ack.snapshot_bytes_total);
  auto text = fmt::format("accepted by {} for database {}\n  snapshot    {}", escape(ack.source_cluster_id.str()),
                          escape(options.database), snapshot);
  if (!outcome.facts) return text;
  const auto& facts = *outcome.facts;
  text += fmt::format("\n  tls         {}, {}, ALPN {}\n  peer names  {}", facts.tls_version, facts.cipher_suite,
                      escape(outcome.alpn), fmt::join(outcome.peer_names, ", "));
  text += fmt::format("\n  congestion  {}, window {} bytes, MTU {}", facts.congestion, facts.congestion_window_bytes,
                      facts.mtu);
  text += fmt::format("\n  times       handshake {:.2f} ms, round trip {:.2f} ms", milliseconds(facts.handshake),
                      milliseconds(facts.round_trip));
  return text;
}

Result<void> check(const Options& options) {
  if (!is_dns_name(options.cluster_id)) {
    return MirrorError::configuration(
        fmt::format("the cluster id '{}' is not a DNS name: give --cluster-id the source's own, such as prod-us",
                    escape(options.cluster_id)));
  }
  return check_files(options.tls);
}

awaitable<int> ping(const Globals& globals, const Options& options, quic::Endpoint endpoint) {
  const auto outcome = co_await dial(globals, options, std::move(endpoint));
  boost::json::object fields;
  append_ack(fields, outcome);
  append_facts(fields, outcome);
  fields["attempts"] = outcome.attempts;
  if (outcome.error) co_return report_error(globals, *outcome.error, std::move(fields));
  co_return report_good(globals, std::move(fields), text_of(options, outcome));
}

int fail_before_dialing(const Globals& globals, const MirrorError& error) {
  boost::json::object fields;
  append_ack(fields, {});
  append_facts(fields, {});
  fields["attempts"] = 0;
  return report_error(globals, error, std::move(fields));
}

int run(const Globals& globals, const Options& options) {
  if (auto good = check(options); !good) return fail_before_dialing(globals, good.error());
  boost::asio::io_context context;
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return fail_before_dialing(globals, endpoint.error());
  return run_to_end(context, ping(globals, options, *endpoint));
}

}  // namespace

void add_ping_verb(const Command& program) {
  auto options = std::make_shared<Options>();
  const auto verb = program.add("ping", "Connect to a source, shake hands and show what it said");
  verb.option("--addr", options->address, "The source; several, comma separated, are tried in turn")
      .required()
      .type("HOST:PORT");
  verb.option("--cluster-id", options->cluster_id, "The source's cluster id, demanded as DNS name of its certificate")
      .required()
      .type("ID");
  verb.option("--database", options->database, "The database to mirror").required().type("DB");
  verb.number("--last-applied-lsn", options->last_applied_lsn, "The position to claim; 0, the default, is none");
  add_tls_options(verb, options->tls, true);
  add_alpn_option(verb, options->alpn);
  add_congestion_option(verb, options->congestion);
  verb.flag("--retry", options->retry, "Go on, with growing pauses, until it works or no retry can help");
  verb.seconds("--timeout", options->timeout_s, "Give up after this long; 10 s by default, with --retry never");
  verb.footer(
      "Example:\n  crosslink ping --addr source.example:4433 --cluster-id prod-us --database orders \\\n"
      "    --ca certs/ca.pem --cert certs/eu-1.pem --key certs/eu-1.key");
  verb.run([options](const Globals& globals) { return run(globals, *options); });
}

}  // namespace crosslink::cli
