#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <cmath>
#include <optional>
#include <vector>

#include "async/task_group.hpp"
#include "bench/options.hpp"
#include "cli/report.hpp"
#include "crosslink/link.hpp"

namespace crosslink::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Work {
  const BenchOptions& options;
  const std::string& address;
  quic::Endpoint endpoint;
  quic::ClientConfig config;
};

struct Part {
  std::vector<double> milliseconds;  ///< QUIC, TLS and the hello of each
  double seconds = 0;
  std::optional<MirrorError> error;

  double quantile(double share) const {
    const auto index = static_cast<std::size_t>(std::lround(share * static_cast<double>(milliseconds.size() - 1)));
    return milliseconds[index];
  }
  boost::json::object json() const {
    return {{"handshakes", milliseconds.size()},
            {"per_second", static_cast<double>(milliseconds.size()) / seconds},
            {"median_ms", quantile(0.5)},
            {"p99_ms", quantile(0.99)}};
  }
  std::string text() const {
    return fmt::format("{} handshakes, {:.0f} per second, median {:.2f} ms, p99 {:.2f} ms", milliseconds.size(),
                       static_cast<double>(milliseconds.size()) / seconds, quantile(0.5), quantile(0.99));
  }
};

/// Takes handshakes off `left` until none is left or one fails.
awaitable<void> shake_hands(const Work& work, std::uint64_t& left, Part& part) {
  while (left > 0 && !part.error) {
    --left;
    CrossClusterLink link(ClusterId(work.options.cluster_id), DatabaseId("bench"), work.address, work.endpoint,
                          work.config);
    const auto begin = Clock::now();
    auto ack = co_await link.connect(Lsn{0});
    if (!ack) {
      part.error = ack.error();
      co_return;
    }
    part.milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    link.close();
  }
}

awaitable<Part> run_part(const Work& work, std::uint64_t at_once) {
  Part part;
  std::uint64_t left = work.options.count;
  auto executor = co_await boost::asio::this_coro::executor;
  async::TaskGroup group(executor);
  const auto begin = Clock::now();
  for (std::uint64_t i = 0; i < at_once; ++i)
    group.spawn(shake_hands(work, left, part));
  co_await group.drain();
  part.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::ranges::sort(part.milliseconds);
  co_return part;
}

awaitable<int> measure(const cli::Globals& globals, const Work& work) {
  co_await boost::asio::this_coro::throw_if_cancelled(false);
  const auto sequential = co_await run_part(work, 1);
  if (sequential.error) co_return cli::report_error(globals, *sequential.error);
  const auto parallel = co_await run_part(work, work.options.parallel);
  if (parallel.error) co_return cli::report_error(globals, *parallel.error);
  boost::json::object object{
      {"sequential", sequential.json()}, {"parallel", parallel.json()}, {"at_once", work.options.parallel}};
  co_return cli::report_good(
      globals, std::move(object),
      fmt::format("one at a time: {}\n{} at once: {}", sequential.text(), work.options.parallel, parallel.text()));
}

}  // namespace

int run_bench_handshakes(const cli::Globals& globals, const BenchOptions& options) {
  boost::asio::io_context context(1);
  auto source = BenchSource::start(context, options, "handshakes");
  if (!source) return cli::report_error(globals, source.error());
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return cli::report_error(globals, endpoint.error());
  quic::ClientConfig config;
  config.tls = source->tls().files();
  config.transport.congestion = options.congestion;
  const Work work{options, source->address(), *endpoint, config};
  return source->run(context, measure(globals, work));
}

}  // namespace crosslink::bench
