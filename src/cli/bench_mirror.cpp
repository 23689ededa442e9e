// `crosslink bench mirror`: how fast entries go from a source to its mirrors, and what that costs on each side.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cmath>
#include <mutex>
#include <optional>
#include <vector>

#include "cli/bench_mirror_protocol.hpp"
#include "cli/bench_options.hpp"
#include "cli/bench_protocol.hpp"
#include "cli/report.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "link/task_group.hpp"
#include "link/with_timeout.hpp"

namespace crosslink::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t idle_mirrors = 50;
constexpr std::uint64_t paced_entries = 5'000, paced_per_second = 1'000;

/// An engine in memory that notes when each entry is applied.
class TimedEngine final : public MirrorEngine {
 public:
  EngineTraits traits() const override { return inner_->traits(); }
  MirrorState mirror_state() const override { return inner_->mirror_state(); }
  Result<void> apply(const ApplyGroup& group) override {
    auto applied = inner_->apply(group);
    if (applied && timing) note(group);
    return applied;
  }
  Result<void> step_back(Lsn from) override { return inner_->step_back(from); }
  Result<Lsn> sync() override { return inner_->sync(); }
  Result<void> begin_snapshot(const SnapshotFacts& facts) override { return inner_->begin_snapshot(facts); }
  Result<void> store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) override {
    return inner_->store_chunk(chunk, bytes);
  }
  Result<SnapshotCheck> check_snapshot() override { return inner_->check_snapshot(); }
  Result<void> switch_snapshot() override { return inner_->switch_snapshot(); }
  Result<void> drop_snapshot() override { return inner_->drop_snapshot(); }
  Result<PromotedFrom> promote(const std::string& cluster, const std::string& database) override {
    return inner_->promote(cluster, database);
  }

  std::atomic<bool> timing = false;
  /// Only while no entry is being applied.
  std::vector<std::uint64_t>& times_us() { return times_us_; }

 private:
  void note(const ApplyGroup& group) {
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
    for (auto entries : group.entries) {
      while (!entries.empty()) {
        const auto entry = read_entry(entries);
        if (!entry) return;
        times_us_.push_back(static_cast<std::uint64_t>(now) - entry->commit_time_us());
      }
    }
  }
  static MemoryOptions options() {
    MemoryOptions chosen;
    chosen.log_window_bytes = chosen.log_budget_bytes = 4096;  // nobody follows these mirrors
    return chosen;
  }
  std::unique_ptr<MemoryDatabase> inner_ = MemoryDatabase::empty(options());
  std::vector<std::uint64_t> times_us_;
};

struct Figures {
  double entries_per_s = 0, source_cpu_us = 0, mirror_cpu_us = 0;
  std::uint64_t lag_p50_us = 0, lag_p99_us = 0;
  double idle_session_bytes = 0;
};

/// The mirror's process.
class Bench {
 public:
  Bench(const BenchOptions& options, std::string address, quic::Endpoint endpoint, quic::ClientConfig config,
        boost::asio::any_io_executor executor)
      : options_(options),
        address_(std::move(address)),
        endpoint_(std::move(endpoint)),
        config_(std::move(config)),
        group_(executor),
        control_(ClusterId(options.cluster_id), DatabaseId(bench_control_database), address_, endpoint_, config_) {}

  Task<Figures> measure();

 private:
  struct One {
    TimedEngine engine;
    std::unique_ptr<Mirror> mirror;
  };
  using Many = std::vector<std::unique_ptr<One>>;

  Many start(std::uint64_t count);
  awaitable<void> stop(Many& many);
  Task<void> until(const Many& many, std::function<bool(Mirror&)> condition) const;
  Task<BenchAnswer> order(BenchOrder order);
  Task<void> measure_idle(Figures& figures);
  Task<void> measure_lag(Many& many, Figures& figures);
  Task<void> measure_rate(Many& many, Figures& figures);

  const BenchOptions& options_;
  const std::string address_;
  const quic::Endpoint endpoint_;
  const quic::ClientConfig config_;
  boost::asio::thread_pool engine_threads_{1};
  link::TaskGroup group_;
  CrossClusterLink control_;
};

Bench::Many Bench::start(std::uint64_t count) {
  Many many;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto one = std::make_unique<One>();
    MirrorOptions options;
    options.name = fmt::format("bench-mirror/{}", i);
    options.zstd = options_.zstd;
    auto link = std::make_unique<CrossClusterLink>(ClusterId(options_.cluster_id), DatabaseId(bench_database), address_,
                                                   endpoint_, config_);
    one->mirror = std::make_unique<Mirror>(std::move(link), one->engine, nullptr, engine_threads_.get_executor(),
                                           std::move(options));
    auto running = [](Mirror& mirror) -> awaitable<void> { (void)co_await mirror.run(); };
    group_.spawn(running(*one->mirror));
    many.push_back(std::move(one));
  }
  return many;
}

awaitable<void> Bench::stop(Many& many) {
  for (const auto& one : many)
    one->mirror->stop();
  co_await group_.drain();
}

Task<void> Bench::until(const Many& many, std::function<bool(Mirror&)> condition) const {
  constexpr auto deadline = std::chrono::seconds(600);
  const auto end = Clock::now() + deadline;
  for (const auto& one : many) {
    while (!condition(*one->mirror)) {
      const auto status = one->mirror->status();
      if (status.kind == StatusKind::Halted)
        co_return MirrorError(ErrorKind::ProtocolViolation, CausedBy::us, "a mirror halted: " + status.reason);
      if (Clock::now() > end)
        co_return MirrorError::timeout("the mirrors did not come as far within 600 s: " + status.reason);
      const bool slept = co_await link::sleep_for(std::chrono::milliseconds(1));
      if (!slept) co_return MirrorError::cancelled("the benchmark");
    }
  }
  co_return Result<void>{};
}

Task<BenchAnswer> Bench::order(BenchOrder order) {
  auto stream = co_await control_.open_bidi_stream();
  if (!stream) co_return stream.error();
  std::vector<std::byte> payload;
  put_number(payload, order.entries);
  put_number(payload, order.per_second);
  quic::SendBuffer frame(encode_frame(frame_kind::bench, payload));
  const auto written = co_await stream->send.write(std::move(frame));
  if (!written) co_return written.error();
  stream->send.finish();
  std::array<std::byte, frame_header_bytes + BenchAnswer::payload_bytes> bytes{};
  const auto read = co_await stream->recv.read_exactly(bytes);
  if (!read) co_return read.error();
  const auto numbers = std::span(bytes).subspan<frame_header_bytes>();
  co_return BenchAnswer{take_number(numbers.subspan<0, 8>()), take_number(numbers.subspan<8, 8>()),
                        take_number(numbers.subspan<16, 8>())};
}

Task<void> Bench::measure_idle(Figures& figures) {
  const auto before = co_await order({});
  if (!before) co_return before.error();
  auto idle = start(idle_mirrors);
  auto waiting = until(idle, [](Mirror& mirror) { return mirror.status().kind == StatusKind::Following; });
  const auto reached = co_await std::move(waiting);
  const auto after = reached ? co_await order({}) : reached.error();
  co_await stop(idle);
  if (!after) co_return after.error();
  figures.idle_session_bytes =
      (static_cast<double>(after->resident_bytes) - static_cast<double>(before->resident_bytes)) / idle_mirrors;
  co_return Result<void>{};
}

bool has_applied(const Mirror& mirror, Lsn lsn) {
  const auto position = mirror.facts().position;
  return position && position->applied_lsn >= lsn;
}

Task<void> Bench::measure_lag(Many& many, Figures& figures) {
  many.front()->engine.timing = true;
  const BenchOrder paced{paced_entries, paced_per_second};
  const auto answer = co_await order(paced);
  if (!answer) co_return answer.error();
  const Lsn last{answer->last_lsn};
  auto waiting = until(many, [last](Mirror& mirror) { return has_applied(mirror, last); });
  const auto reached = co_await std::move(waiting);
  if (!reached) co_return reached.error();
  auto& times = many.front()->engine.times_us();
  many.front()->engine.timing = false;
  std::ranges::sort(times);
  if (times.empty()) co_return MirrorError::timeout("no entry came to the mirror while the times were taken");
  figures.lag_p50_us = times[times.size() / 2];
  figures.lag_p99_us = times[times.size() * 99 / 100];
  co_return Result<void>{};
}

Task<void> Bench::measure_rate(Many& many, Figures& figures) {
  // What is to be moved waits at the source first, so that what is measured is moving it.
  for (const auto& one : many)
    (void)one->mirror->pause();
  const auto mark = co_await order({1, 0});
  const auto written = mark ? co_await order({options_.entries, 0}) : mark.error();
  if (!written) co_return written.error();
  const auto source_before = written->cpu_us;
  const auto mirror_before = own_cpu_us();
  const auto begin = Clock::now();
  for (const auto& one : many)
    (void)one->mirror->resume();
  const Lsn last{written->last_lsn};
  auto waiting = until(many, [last](Mirror& mirror) { return has_applied(mirror, last); });
  const auto reached = co_await std::move(waiting);
  if (!reached) co_return reached.error();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const auto mirror_after = own_cpu_us();
  const auto after = co_await order({});
  if (!after) co_return after.error();
  const auto moved = static_cast<double>(options_.entries * many.size());
  figures.entries_per_s = moved / seconds;
  figures.source_cpu_us = static_cast<double>(after->cpu_us - source_before) / moved;
  figures.mirror_cpu_us = static_cast<double>(mirror_after - mirror_before) / moved;
  co_return Result<void>{};
}

Task<Figures> Bench::measure() {
  Figures figures;
  const auto connected = co_await control_.connect(Lsn{0});
  if (!connected) co_return connected.error();
  const auto first = co_await order({1, 0});
  if (!first) co_return first.error();
  const auto idle = co_await measure_idle(figures);
  if (!idle) co_return idle.error();
  auto many = start(options_.mirrors);
  auto waiting = until(many, [](Mirror& mirror) { return mirror.status().kind == StatusKind::Following; });
  auto ended = co_await std::move(waiting);
  if (ended) ended = co_await measure_lag(many, figures);
  if (ended) ended = co_await measure_rate(many, figures);
  co_await stop(many);
  control_.close();
  if (!ended) co_return ended.error();
  co_return figures;
}

int print(const Globals& globals, const BenchOptions& options, const Figures& figures,
          std::uint64_t source_peak_bytes) {
  const bool same_machine = options.connect.empty();
  boost::json::object object{{"engine", options.engine},
                             {"mirrors", options.mirrors},
                             {"entries", options.entries},
                             {"entries_per_s", figures.entries_per_s},
                             {"lag_p50_us", nullptr},
                             {"lag_p99_us", nullptr},
                             {"source_cpu_us_per_entry", figures.source_cpu_us},
                             {"mirror_cpu_us_per_entry", figures.mirror_cpu_us},
                             {"idle_session_bytes", figures.idle_session_bytes},
                             {"mirror_peak_memory_bytes", own_peak_memory_bytes()},
                             {"source_peak_memory_bytes", source_peak_bytes}};
  auto text = fmt::format(
      "{} entries of 128 bytes to each of {} mirror(s): {:.0f} entries/s in all\n"
      "CPU per entry and mirror: source {:.2f} us, mirror {:.2f} us\nan idle session costs the source {:.0f} kB",
      options.entries, options.mirrors, figures.entries_per_s, figures.source_cpu_us, figures.mirror_cpu_us,
      figures.idle_session_bytes / 1e3);
  if (same_machine) {  // two machines have two clocks
    object["lag_p50_us"] = figures.lag_p50_us;
    object["lag_p99_us"] = figures.lag_p99_us;
    text += fmt::format("\nfrom commit to applied at {} commits/s: median {} us, 99 % within {} us", paced_per_second,
                        figures.lag_p50_us, figures.lag_p99_us);
  }
  return report_good(globals, std::move(object), text);
}

}  // namespace

int run_bench_mirror(const Globals& globals, const BenchOptions& options) {
  boost::asio::io_context context(1);
  auto source = BenchSource::start(context, options, "mirror");
  if (!source) return report_error(globals, source.error());
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return report_error(globals, endpoint.error());
  quic::ClientConfig config;
  config.tls = source->tls().files();
  config.transport.congestion = options.congestion;
  std::optional<Result<Figures>> figures;
  Bench bench(options, source->address(), *endpoint, config, context.get_executor());
  auto work = [](Bench& all, std::optional<Result<Figures>>& result) -> awaitable<int> {
    auto measured = co_await all.measure();
    result.emplace(std::move(measured));
    co_return exit_good;
  };
  source->run(context, work(bench, figures));
  const auto source_peak_bytes = source->stop();
  if (!*figures) return report_error(globals, figures->error());
  return print(globals, options, **figures, source_peak_bytes);
}

}  // namespace crosslink::cli
