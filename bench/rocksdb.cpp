// `crosslink-bench mirror --engine rocksdb`: databases on disk, bootstraps beside cp and sync of the same files.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <fstream>
#include <optional>

#include "bench/mirror_side.hpp"
#include "cli/report.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t filled_operation_bytes = 1024, group_operations = 64, group_commits = 60'000;
constexpr std::uint64_t keys = 2'000'000;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Pairs {
  std::vector<double> first, second, ratio;
  void add(double one, double other) {
    first.push_back(one);
    second.push_back(other);
    ratio.push_back(one / other);
  }
};

struct Figures {
  Pairs bootstrap_and_copy;  ///< seconds; the second only where both are on one machine
  LagFigures lag;
  RateFigures rate;
  Pairs written;  ///< commits/s with a mirror and without
  Pairs cpu;      ///< of the source's process, us for each commit, with a mirror and without
  std::vector<double> drain_seconds;
};

class RocksdbBench {
 public:
  RocksdbBench(MirrorSide& side, const BenchOptions& options, std::filesystem::path folder)
      : side_(side), options_(options), folder_(std::move(folder)) {}
  Task<Figures> measure();

 private:
  Task<MirrorSide::Many> bootstrap(Figures& figures);
  Task<void> measure_writer(MirrorSide::Many& many, Figures& figures);
  /// Until neither process has anything left to do, compaction above all: what is measured next begins from there, and
  /// what was measured before pays for its own. Errors: the source's; Timeout after two minutes.
  Task<void> rest();
  /// From rest: commits/s, the seconds until `many` have the last, and the source's CPU for each, to the next rest.
  Task<void> write_groups(const MirrorSide::Many& many, double& rate, double& cpu_us, double& drain);
  Result<double> copy_files() const;
  MirrorSide& side_;
  const BenchOptions& options_;
  const std::filesystem::path folder_;
  int mirrors_ = 0;
};

std::uint64_t fill_entries(const BenchOptions& options) {
  return std::max<std::uint64_t>(1, options.bootstrap_bytes / filled_operation_bytes / group_operations);
}

/// `cp` of the source's tables and lists, and `sync`, as an operator would do by hand.
Result<double> RocksdbBench::copy_files() const {
  std::string live;
  std::getline(std::ifstream(folder_ / "source" / "live"), live);
  const auto from = folder_ / "source" / live, to = folder_ / "copied by cp";
  std::vector<std::string> words{"cp"};
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(from, error)) {
    const auto name = file.path().filename().string();
    if (name.ends_with(".sst") || name.starts_with("MANIFEST") || name == "CURRENT" || name.ends_with(".log"))
      words.push_back(file.path().string());
  }
  std::filesystem::create_directory(to, error);
  if (error || words.size() < 3) return MirrorError::configuration("there are no files of the source to copy");
  words.push_back(to.string());
  std::vector<char*> raw;
  raw.reserve(words.size() + 1);
  for (auto& word : words)
    raw.push_back(word.data());
  raw.push_back(nullptr);
  ::sync();
  const auto begin = Clock::now();
  const pid_t process = ::fork();
  if (process == 0) {
    ::execvp("cp", raw.data());
    ::_exit(127);
  }
  int status = 1;
  if (process > 0) ::waitpid(process, &status, 0);
  ::sync();
  const auto took = seconds_since(begin);
  std::filesystem::remove_all(to, error);
  if (status != 0) return MirrorError(ErrorKind::Storage, CausedBy::us, "cp failed");
  return took;
}

Task<MirrorSide::Many> RocksdbBench::bootstrap(Figures& figures) {
  MirrorSide::Many many;
  RocksdbOptions chosen;
  chosen.compression = RocksdbCompression::none;
  chosen.log_window.bytes = chosen.log_window.budget_bytes = 1;  // no mirror follows these
  for (std::uint64_t run = 0; run < options_.runs; ++run) {
    double copied = 0;
    if (options_.connect.empty()) {
      const auto took = copy_files();
      if (!took) co_return took.error();
      copied = *took;
    }
    if (!many.empty()) {
      co_await side_.stop(many);
      many.clear();
      std::error_code error;
      std::filesystem::remove_all(chosen.folder, error);
    }
    ::sync();
    const auto begin = Clock::now();
    chosen.folder = folder_ / fmt::format("mirror {}", ++mirrors_);
    auto opened = RocksdbDatabase::open_mirror(chosen);
    if (!opened) co_return opened.error();
    auto& engine = **opened;
    many.push_back(side_.start(*std::move(opened), 0));
    // Following, and it answers a read; the switch has brought everything to disk.
    auto waiting = side_.until(many, [&engine](Mirror& mirror) {
      if (!is_following(mirror)) return false;
      const auto value = engine.get("000000000000");
      return value && value->has_value();
    });
    const auto reached = co_await std::move(waiting);
    if (!reached) co_return reached.error();
    figures.bootstrap_and_copy.add(seconds_since(begin), copied);
  }
  co_return many;
}

Task<void> RocksdbBench::rest() {
  constexpr auto step = std::chrono::milliseconds(250);
  constexpr std::uint64_t busy_us = 12'500;  // 5 % of a processor: a link's probes are less
  const auto give_up = Clock::now() + std::chrono::minutes(2);
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer timer(executor);
  auto before = co_await side_.order({});
  auto own_before = own_cpu_us();
  while (before) {
    timer.expires_after(step);
    co_await timer.async_wait(boost::asio::use_awaitable);
    auto now = co_await side_.order({});
    if (!now) co_return now.error();
    const auto own = own_cpu_us();
    if (now->cpu_us - before->cpu_us < busy_us && own - own_before < busy_us) co_return Result<void>{};
    if (Clock::now() > give_up) co_return MirrorError::timeout("the databases did not come to rest in two minutes");
    before = std::move(now);
    own_before = own;
  }
  co_return before.error();
}

Task<void> RocksdbBench::write_groups(const MirrorSide::Many& many, double& rate, double& cpu_us, double& drain) {
  auto ended = co_await rest();
  if (!ended) co_return ended.error();
  const auto before = co_await side_.order({});
  if (!before) co_return before.error();
  BenchOrder groups;
  groups.entries = std::min<std::uint64_t>(group_commits, std::max<std::uint64_t>(options_.entries / 16, 1));
  groups.operations = group_operations;
  groups.keys = keys;
  const auto written = co_await side_.order(groups);
  if (!written) co_return written.error();
  const auto end = Clock::now();
  auto waiting = side_.until_applied(many, Lsn{written->last_lsn});
  const auto reached = co_await std::move(waiting);
  if (!reached) co_return reached.error();
  drain = seconds_since(end);
  ended = co_await rest();
  if (!ended) co_return ended.error();
  const auto after = co_await side_.order({});
  if (!after) co_return after.error();
  const auto count = static_cast<double>(groups.entries);
  rate = count / (static_cast<double>(std::max<std::uint64_t>(written->took_us, 1)) / 1e6);
  cpu_us = static_cast<double>(after->cpu_us - before->cpu_us) / count;
  co_return Result<void>{};
}

Task<void> RocksdbBench::measure_writer(MirrorSide::Many& many, Figures& figures) {
  for (std::uint64_t run = 0; run < options_.runs; ++run) {
    double alone = 0;
    double beside = 0;
    double cpu_alone = 0;
    double cpu_beside = 0;
    double drained = 0;
    // Paused, a mirror has its link and takes nothing.
    (void)many.front()->mirror->pause();
    const MirrorSide::Many no_mirrors;
    auto writing = write_groups(no_mirrors, alone, cpu_alone, drained);
    auto ended = co_await std::move(writing);
    if (!ended) co_return ended.error();
    (void)many.front()->mirror->resume();
    const auto now = co_await side_.order({});
    if (!now) co_return now.error();
    auto catching_up = side_.until_applied(many, Lsn{now->last_lsn});
    ended = co_await std::move(catching_up);
    if (!ended) co_return ended.error();
    auto writing_beside = write_groups(many, beside, cpu_beside, drained);
    ended = co_await std::move(writing_beside);
    if (!ended) co_return ended.error();
    figures.written.add(beside, alone);
    figures.cpu.add(cpu_beside, cpu_alone);
    figures.drain_seconds.push_back(drained);
  }
  co_return Result<void>{};
}

Task<Figures> RocksdbBench::measure() {
  Figures figures;
  const auto connected = co_await side_.connect();
  if (!connected) co_return connected.error();
  BenchOrder fill;
  fill.entries = fill_entries(options_);
  fill.in_order = fill.purge = 1;
  fill.operations = group_operations;
  fill.operation_bytes = filled_operation_bytes;
  const auto filled = co_await side_.order(fill);
  if (!filled) co_return filled.error();
  auto bootstrapping = bootstrap(figures);
  auto many = co_await std::move(bootstrapping);
  if (!many) co_return many.error();
  BenchOrder entry;
  entry.keys = keys;
  Result<void> ended;
  const auto lag = co_await side_.measure_lag(*many, entry);
  if (lag) {
    figures.lag = *lag;
  } else {
    ended = lag.error();
  }
  if (ended) {
    const auto rate = co_await side_.measure_rate(*many, entry, options_.entries);
    if (rate) figures.rate = *rate;
    if (!rate) ended = rate.error();
  }
  if (ended) {
    auto writing = measure_writer(*many, figures);
    ended = co_await std::move(writing);
  }
  co_await side_.stop(*many);
  side_.close();
  if (!ended) co_return ended.error();
  co_return figures;
}

int print(const cli::Globals& globals, const BenchOptions& options, const Figures& figures,
          std::uint64_t source_peak_bytes) {
  const bool same_machine = options.connect.empty();
  const auto bootstrap = median(figures.bootstrap_and_copy.first);
  boost::json::object object{{"engine", options.engine},
                             {"bootstrap_bytes", fill_entries(options) * group_operations * filled_operation_bytes},
                             {"bootstrap_seconds", bootstrap},
                             {"cp_sync_seconds", nullptr},
                             {"bootstrap_ratio", nullptr},
                             {"entries", options.entries},
                             {"entries_per_s", figures.rate.entries_per_s},
                             {"catch_up_per_s", figures.rate.entries_per_s},
                             {"lag_p50_us", nullptr},
                             {"lag_p99_us", nullptr},
                             {"source_cpu_us_per_entry", figures.rate.source_cpu_us},
                             {"mirror_cpu_us_per_entry", figures.rate.mirror_cpu_us},
                             {"write_alone_per_s", median(figures.written.second)},
                             {"write_mirrored_per_s", median(figures.written.first)},
                             {"write_ratio", median(figures.written.ratio)},
                             {"source_cpu_ratio", median(figures.cpu.ratio)},
                             {"drain_seconds", std::ranges::max(figures.drain_seconds)},
                             {"mirror_peak_memory_bytes", own_peak_memory_bytes()},
                             {"source_peak_memory_bytes", source_peak_bytes}};
  auto text = fmt::format("bootstrap of {:.2f} GB until it answers reads: {:.2f} s",
                          static_cast<double>(options.bootstrap_bytes) / 1e9, bootstrap);
  if (same_machine) {
    object["cp_sync_seconds"] = median(figures.bootstrap_and_copy.second);
    object["bootstrap_ratio"] = median(figures.bootstrap_and_copy.ratio);
    object["lag_p50_us"] = figures.lag.p50_us;
    object["lag_p99_us"] = figures.lag.p99_us;
    text += fmt::format("; cp and sync of the same files: {:.2f} s; {:.2f} times",
                        median(figures.bootstrap_and_copy.second), median(figures.bootstrap_and_copy.ratio));
    text += fmt::format("\nfrom commit to readable at {} commits/s: median {} us, 99 % within {} us", paced_per_second,
                        figures.lag.p50_us, figures.lag.p99_us);
  }
  text += fmt::format(
      "\ncatching up with {} entries of 128 bytes: {:.0f} entries/s; CPU per entry: source {:.2f} us, mirror {:.2f} us"
      "\na writer flat out, {} puts in each commit: {:.0f} commits/s alone, {:.0f} with a mirror, {:.2f} times; "
      "the source's CPU for each commit {:.2f} times; the mirror has it all {:.3f} s after its end",
      options.entries, figures.rate.entries_per_s, figures.rate.source_cpu_us, figures.rate.mirror_cpu_us,
      group_operations, median(figures.written.second), median(figures.written.first), median(figures.written.ratio),
      median(figures.cpu.ratio), std::ranges::max(figures.drain_seconds));
  return cli::report_good(globals, std::move(object), text);
}

}  // namespace

int run_bench_rocksdb(const cli::Globals& globals, const BenchOptions& options) {
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
  RocksdbBench bench(side, options, source->folder());
  auto work = [](RocksdbBench& all, std::optional<Result<Figures>>& result) -> awaitable<int> {
    auto measured = co_await all.measure();
    result.emplace(std::move(measured));
    co_return exit_good;
  };
  source->run(context, work(bench, figures));
  const auto source_peak_bytes = source->stop();
  if (!*figures) return cli::report_error(globals, figures->error());
  return print(globals, options, **figures, source_peak_bytes);
}

}  // namespace crosslink::bench
