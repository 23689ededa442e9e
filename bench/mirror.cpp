// `crosslink-bench mirror`: how fast entries go from a source to its mirrors, and what that costs on each side.
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <optional>

#include "bench/mirror_side.hpp"
#include "cli/report.hpp"
#include "crosslink/memory_engine.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::bench {
namespace {

constexpr std::uint64_t idle_mirrors = 50;

struct Figures {
  LagFigures lag;
  RateFigures rate;
  double idle_session_bytes = 0;
};

MirrorSide::Many start_many(MirrorSide& side, std::uint64_t count) {
  MemoryOptions options;
  options.log_window_bytes = options.log_budget_bytes = 4096;  // no mirror follows these
  MirrorSide::Many many;
  for (std::uint64_t i = 0; i < count; ++i)
    many.push_back(side.start(MemoryDatabase::empty(options), i));
  return many;
}

Task<double> measure_idle(MirrorSide& side) {
  const auto before = co_await side.order({});
  if (!before) co_return before.error();
  auto idle = start_many(side, idle_mirrors);
  auto waiting = side.until(idle, is_following);
  const auto reached = co_await std::move(waiting);
  const auto after = reached ? co_await side.order({}) : reached.error();
  co_await side.stop(idle);
  if (!after) co_return after.error();
  co_return (static_cast<double>(after->resident_bytes) - static_cast<double>(before->resident_bytes)) / idle_mirrors;
}

Task<Figures> measure(MirrorSide& side, const BenchOptions& options) {
  Figures figures;
  const auto connected = co_await side.connect();
  if (!connected) co_return connected.error();
  BenchOrder entry;
  entry.entries = 1;
  const auto first = co_await side.order(entry);
  if (!first) co_return first.error();
  const auto idle = co_await measure_idle(side);
  if (!idle) co_return idle.error();
  figures.idle_session_bytes = *idle;
  auto many = start_many(side, options.mirrors);
  auto waiting = side.until(many, is_following);
  auto ended = co_await std::move(waiting);
  if (ended) {
    const auto lag = co_await side.measure_lag(many, entry);
    if (lag) figures.lag = *lag;
    if (!lag) ended = lag.error();
  }
  if (ended) {
    const auto rate = co_await side.measure_rate(many, entry, options.entries);
    if (rate) figures.rate = *rate;
    if (!rate) ended = rate.error();
  }
  co_await side.stop(many);
  side.close();
  if (!ended) co_return ended.error();
  co_return figures;
}

int print(const cli::Globals& globals, const BenchOptions& options, const Figures& figures,
          std::uint64_t source_peak_bytes) {
  const bool same_machine = options.connect.empty();
  boost::json::object object{{"engine", options.engine},
                             {"mirrors", options.mirrors},
                             {"entries", options.entries},
                             {"entries_per_s", figures.rate.entries_per_s},
                             {"lag_p50_us", nullptr},
                             {"lag_p99_us", nullptr},
                             {"source_cpu_us_per_entry", figures.rate.source_cpu_us},
                             {"mirror_cpu_us_per_entry", figures.rate.mirror_cpu_us},
                             {"idle_session_bytes", figures.idle_session_bytes},
                             {"mirror_peak_memory_bytes", own_peak_memory_bytes()},
                             {"source_peak_memory_bytes", source_peak_bytes}};
  auto text = fmt::format(
      "{} entries of 128 bytes to each of {} mirror(s): {:.0f} entries/s in all\n"
      "CPU per entry and mirror: source {:.2f} us, mirror {:.2f} us\nan idle session costs the source {:.0f} kB",
      options.entries, options.mirrors, figures.rate.entries_per_s, figures.rate.source_cpu_us,
      figures.rate.mirror_cpu_us, figures.idle_session_bytes / 1e3);
  if (same_machine) {  // two machines have two clocks
    object["lag_p50_us"] = figures.lag.p50_us;
    object["lag_p99_us"] = figures.lag.p99_us;
    text += fmt::format("\nfrom commit to applied at {} commits/s: median {} us, 99 % within {} us", paced_per_second,
                        figures.lag.p50_us, figures.lag.p99_us);
  }
  return cli::report_good(globals, std::move(object), text);
}

}  // namespace

int run_bench_mirror(const cli::Globals& globals, const BenchOptions& options) {
  if (options.engine == "rocksdb") return run_bench_rocksdb(globals, options);
  boost::asio::io_context context(1);
  auto source = BenchSource::start(context, options, "mirror");
  if (!source) return cli::report_error(globals, source.error());
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return cli::report_error(globals, endpoint.error());
  quic::ClientConfig config;
  config.tls = source->tls().files();
  config.transport.congestion = options.congestion;
  std::optional<Result<Figures>> figures;
  MirrorSide side(options, source->address(), *endpoint, config, context.get_executor());
  auto work = [](MirrorSide& all, const BenchOptions& chosen,
                 std::optional<Result<Figures>>& result) -> awaitable<int> {
    auto measured = co_await measure(all, chosen);
    result.emplace(std::move(measured));
    co_return exit_good;
  };
  source->run(context, work(side, options, figures));
  const auto source_peak_bytes = source->stop();
  if (!*figures) return cli::report_error(globals, figures->error());
  return print(globals, options, **figures, source_peak_bytes);
}

}  // namespace crosslink::bench
