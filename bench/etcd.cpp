// `crosslink-bench etcd`: a database in one etcd mirrored into another through two nodes, beside `etcdctl make-mirror`
// and a bare loader on the same two servers.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "bench/etcd_server.hpp"
#include "bench/nodes.hpp"
#include "bench/options.hpp"
#include "cli/report.hpp"

namespace crosslink::bench {
namespace {

using boost::json::object;
using Clock = std::chrono::steady_clock;

constexpr const char* source_id = "bench-source";
constexpr const char* mirror_id = "bench-mirror";
constexpr std::size_t value_bytes = 256, large_value_bytes = 4096;
constexpr std::uint64_t single_puts = 200;
constexpr std::size_t load_clients = 32;
constexpr std::chrono::seconds load_time{10}, copy_time{10};
constexpr std::chrono::milliseconds between_puts{20}, patience{60'000};

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

struct Latency {
  double p50_ms = 0, p99_ms = 0;
  std::uint64_t lost = 0;  ///< never seen
  object json() const { return {{"p50_ms", p50_ms}, {"p99_ms", p99_ms}, {"lost", lost}}; }
  std::string text() const {
    return fmt::format("p50 {:.1f} ms, p99 {:.1f} ms{}", p50_ms, p99_ms,
                       lost > 0 ? fmt::format(", {} not within a minute", lost) : "");
  }
};

struct Figures {
  std::string version;
  double bare_per_s = 0, copy_per_s = 0, make_mirror_copy_per_s = 0;
  Latency single, make_mirror_single, loaded;
  double load_per_s = 0, load_alone_per_s = 0, load_drain_s = 0;
  double large_copy_s = 0;
  std::uint64_t source_peak_bytes = 0, mirror_peak_bytes = 0;
};

/// Puts with distinct keys below `prefix` at the source, one after another, until `enough`; each is timed from its
/// answer to when the target's watch shows it below `target_prefix`.
Result<Latency> time_puts(const BenchEtcd& source, const BenchEtcd& target, const std::string& prefix,
                          const std::string& target_prefix, const std::function<bool(std::uint64_t)>& enough) {
  auto arrivals = Arrivals::watch(target, target_prefix);
  if (!arrivals) return arrivals.error();
  std::vector<Clock::time_point> committed;
  while (!enough(committed.size())) {
    if (auto put = source.put(fmt::format("{}{:06}", prefix, committed.size()), "now"); !put) return put.error();
    committed.push_back(Clock::now());
    std::this_thread::sleep_for(between_puts);
  }
  Latency latency;
  std::vector<double> took_ms;
  for (std::size_t i = 0; i < committed.size(); ++i) {
    const auto seen = (*arrivals)->of(fmt::format("{}{:06}", target_prefix, i), patience);
    if (!seen) {
      ++latency.lost;
      continue;
    }
    // Seen before the writer had its answer: no time at all.
    took_ms.push_back(std::max(0.0, std::chrono::duration<double, std::milli>(*seen - committed[i]).count()));
  }
  if (took_ms.empty()) return MirrorError::timeout("no put came to the target within a minute");
  std::ranges::sort(took_ms);
  latency.p50_ms = took_ms[took_ms.size() / 2];
  latency.p99_ms = took_ms[std::min(took_ms.size() - 1, took_ms.size() * 99 / 100)];
  return latency;
}

/// Single puts of 32 clients for ten seconds; per second.
class Load {
 public:
  Load(const BenchEtcd& source, const std::string& prefix) : begin_(Clock::now()) {
    clients_.reserve(load_clients);
    for (std::size_t i = 0; i < load_clients; ++i)
      clients_.emplace_back([this, &source, prefix, i] { work(source, prefix, i); });
  }
  bool over() const { return Clock::now() - begin_ > load_time; }
  Result<double> end() {
    clients_.clear();
    if (failed_) return MirrorError(ErrorKind::Storage, CausedBy::us, "the source did not take a put");
    return static_cast<double>(puts_) / seconds_;
  }

 private:
  void work(const BenchEtcd& source, const std::string& prefix, std::size_t number) {
    std::mt19937_64 random(number);
    const std::string value(value_bytes, 'w');
    while (!over() && !failed_) {
      if (source.put(fmt::format("{}k{:09}", prefix, random() % 100'000), value)) {
        ++puts_;
      } else {
        failed_ = true;
      }
    }
    seconds_ = seconds_since(begin_);
  }
  Clock::time_point begin_;
  std::atomic<std::uint64_t> puts_ = 0;
  std::atomic<bool> failed_ = false;
  std::atomic<double> seconds_ = 1;
  std::vector<std::jthread> clients_;
};

class EtcdBench {
 public:
  EtcdBench(const BenchOptions& options, std::filesystem::path folder)
      : options_(options), folder_(std::move(folder)) {}
  Result<Figures> measure();

 private:
  Result<void> start_etcd();
  Result<void> start_nodes(const std::string& database, const std::string& prefix);
  Result<void> follow(const std::string& database);
  Result<void> measure_bare();
  Result<void> measure_make_mirror();
  Result<void> measure_crosslink();
  Result<void> measure_load();
  Result<void> measure_large();
  const BenchOptions& options_;
  const std::filesystem::path folder_;
  std::optional<BenchEtcd> source_etcd_, target_etcd_;
  std::optional<BenchNode> source_, mirror_;
  Figures figures_;
};

Result<void> EtcdBench::start_etcd() {
  auto first = BenchEtcd::start(folder_, "etcd-source");
  if (!first) return first.error();
  source_etcd_.emplace(*std::move(first));
  auto second = BenchEtcd::start(folder_, "etcd-target");
  if (!second) return second.error();
  target_etcd_.emplace(*std::move(second));
  figures_.version = source_etcd_->version();
  return {};
}

Result<void> EtcdBench::start_nodes(const std::string& database, const std::string& prefix) {
  auto first = BenchNode::start(
      folder_, source_id,
      fmt::format("[[database]]\nname = \"{}\"\nengine = \"etcd\"\nendpoints = [\"{}\"]\nprefix = \"{}\"\n"
                  "allow_mirrors = [\"{}\"]\n",
                  database, source_etcd_->endpoint(), prefix, mirror_id));
  if (!first) return first.error();
  source_.emplace(*std::move(first));
  auto second = BenchNode::start(folder_, mirror_id, "");
  if (!second) return second.error();
  mirror_.emplace(*std::move(second));
  return {};
}

Result<void> EtcdBench::follow(const std::string& database) {
  object etcd;
  etcd["endpoints"] = boost::json::array{boost::json::value(target_etcd_->endpoint())};
  object more{{"into", "etcd"}};
  more["etcd"] = std::move(etcd);
  return make_mirror(*source_, *mirror_, database, std::move(more));
}

Result<void> EtcdBench::measure_bare() {
  const auto took = target_etcd_->load("/bare/", options_.keys, value_bytes);
  if (!took) return took.error();
  figures_.bare_per_s = static_cast<double>(options_.keys) / *took;
  return target_etcd_->erase("/bare/");
}

/// Its rate over ten seconds of its copy, and its puts once it has copied: of a prefix of its own, with few keys.
Result<void> EtcdBench::measure_make_mirror() {
  const auto start = [&](const std::string& prefix) {
    return ChildProcess::start("etcdctl", {"make-mirror", "--endpoints", source_etcd_->endpoint(), "--prefix", prefix,
                                           "--dest-prefix", "/made" + prefix, target_etcd_->endpoint().substr(7)});
  };
  {
    auto process = start("/bench/");
    if (!process) return process.error();
    const auto begin = Clock::now();
    std::this_thread::sleep_for(copy_time);
    const auto copied = target_etcd_->count("/made/");
    if (!copied) return copied.error();
    figures_.make_mirror_copy_per_s = static_cast<double>(*copied) / seconds_since(begin);
    if (*copied == 0) return MirrorError::configuration("etcdctl make-mirror copied nothing (Debian: etcd-client)");
  }
  if (auto erased = target_etcd_->erase("/made/"); !erased) return erased;
  if (auto put = source_etcd_->put("/single/first", "1"); !put) return put;
  auto process = start("/single/");
  if (!process) return process.error();
  const auto deadline = Clock::now() + patience;
  for (;;) {
    const auto copied = target_etcd_->count("/made/single/");
    if (!copied) return copied.error();
    if (*copied > 0) break;
    if (Clock::now() > deadline) return MirrorError::timeout("etcdctl make-mirror copied nothing within a minute");
    std::this_thread::sleep_for(between_puts);
  }
  auto latency = time_puts(*source_etcd_, *target_etcd_, "/single/p", "/made/single/p",
                           [](std::uint64_t count) { return count == single_puts; });
  if (!latency) return latency.error();
  figures_.make_mirror_single = *latency;
  process->stop();
  return target_etcd_->erase("/made/");
}

Result<void> EtcdBench::measure_crosslink() {
  if (auto started = start_nodes("registry", "/bench/"); !started) return started;
  const auto begin = Clock::now();
  if (auto followed = follow("registry"); !followed) return followed;
  const auto took = seconds_since(begin);
  const auto copied = target_etcd_->count("/bench/");
  if (!copied) return copied.error();
  if (*copied != options_.keys)
    return MirrorError(ErrorKind::Storage, CausedBy::us, fmt::format("the mirror has {} keys", *copied));
  figures_.copy_per_s = static_cast<double>(options_.keys) / took;
  auto latency = time_puts(*source_etcd_, *target_etcd_, "/bench/p", "/bench/p",
                           [](std::uint64_t count) { return count == single_puts; });
  if (!latency) return latency.error();
  figures_.single = *latency;
  return {};
}

Result<void> EtcdBench::measure_load() {
  {
    Load load(*source_etcd_, "/bench/load/");
    Result<Latency> latency =
        time_puts(*source_etcd_, *target_etcd_, "/bench/q", "/bench/q", [&load](std::uint64_t) { return load.over(); });
    const auto rate = load.end();
    if (!rate) return rate.error();
    figures_.load_per_s = *rate;
    if (!latency) return latency.error();
    figures_.loaded = *latency;
  }
  const auto drained = drain(*source_, *mirror_, "registry");
  if (!drained) return drained.error();
  figures_.load_drain_s = *drained;
  mirror_.reset();
  source_.reset();
  Load alone(*source_etcd_, "/alone/");
  const auto rate = alone.end();
  if (!rate) return rate.error();
  figures_.load_alone_per_s = *rate;
  return {};
}

/// With nodes that have done nothing else.
Result<void> EtcdBench::measure_large() {
  if (options_.bootstrap_bytes == 0) return {};
  const auto count = options_.bootstrap_bytes / large_value_bytes;
  const auto loaded = source_etcd_->load("/large/", count, large_value_bytes);
  if (!loaded) return loaded.error();
  std::error_code error;
  for (const auto* id : {source_id, mirror_id})
    std::filesystem::remove_all(folder_ / (std::string(id) + ".data"), error);
  if (auto started = start_nodes("large", "/large/"); !started) return started;
  const auto begin = Clock::now();
  if (auto followed = follow("large"); !followed) return followed;
  figures_.large_copy_s = seconds_since(begin);
  figures_.mirror_peak_bytes = mirror_->process.stop().peak_memory_bytes;
  figures_.source_peak_bytes = source_->process.stop().peak_memory_bytes;
  const auto copied = target_etcd_->count("/large/");
  if (!copied) return copied.error();
  if (*copied != count)
    return MirrorError(ErrorKind::Storage, CausedBy::us, fmt::format("the mirror has {} keys of {}", *copied, count));
  return {};
}

Result<Figures> EtcdBench::measure() {
  if (auto done = start_etcd(); !done) return done.error();
  if (auto done = measure_bare(); !done) return done.error();
  if (auto done = source_etcd_->load("/bench/", options_.keys, value_bytes); !done) return done.error();
  if (auto done = measure_make_mirror(); !done) return done.error();
  if (auto done = measure_crosslink(); !done) return done.error();
  if (auto done = measure_load(); !done) return done.error();
  if (auto done = measure_large(); !done) return done.error();
  return figures_;
}

int report(const cli::Globals& globals, const BenchOptions& options, const Figures& all) {
  object fields{{"etcd_version", all.version},
                {"keys", options.keys},
                {"value_bytes", value_bytes},
                {"bare_loader_keys_per_s", all.bare_per_s},
                {"copy_keys_per_s", all.copy_per_s},
                {"copy_to_bare", all.copy_per_s / all.bare_per_s},
                {"make_mirror_copy_keys_per_s", all.make_mirror_copy_per_s},
                {"copy_to_make_mirror", all.copy_per_s / all.make_mirror_copy_per_s},
                {"single_put", all.single.json()},
                {"make_mirror_single_put", all.make_mirror_single.json()},
                {"load_puts_per_s", all.load_per_s},
                {"load_puts_per_s_without_mirror", all.load_alone_per_s},
                {"load_put", all.loaded.json()},
                {"load_drain_seconds", all.load_drain_s},
                {"large_bytes", options.bootstrap_bytes},
                {"large_copy_seconds", all.large_copy_s},
                {"source_node_peak_bytes", all.source_peak_bytes},
                {"mirror_node_peak_bytes", all.mirror_peak_bytes}};
  auto said = fmt::format(
      "etcd {}, {} keys of {} bytes, two servers and two nodes on this machine\n"
      "initial copy: {:.0f} keys/s; a bare loader {:.0f} ({:.2f} of it), etcdctl make-mirror {:.0f} ({:.1f} times)\n"
      "a single put, idle: {}; etcdctl make-mirror: {}\n"
      "{} clients put {:.0f}/s ({:.0f}/s without a mirror): {}; all there {:.3f} s after their end",
      all.version, options.keys, value_bytes, all.copy_per_s, all.bare_per_s, all.copy_per_s / all.bare_per_s,
      all.make_mirror_copy_per_s, all.copy_per_s / all.make_mirror_copy_per_s, all.single.text(),
      all.make_mirror_single.text(), load_clients, all.load_per_s, all.load_alone_per_s, all.loaded.text(),
      all.load_drain_s);
  if (options.bootstrap_bytes > 0) {
    said += fmt::format(
        "\n{:.1f} GB copied in {:.1f} s; peak memory of the source's node {:.0f} MB, of the mirror's {:.0f} MB",
        static_cast<double>(options.bootstrap_bytes) / 1e9, all.large_copy_s,
        static_cast<double>(all.source_peak_bytes) / 1e6, static_cast<double>(all.mirror_peak_bytes) / 1e6);
  }
  return cli::report_good(globals, std::move(fields), said);
}

}  // namespace

int run_bench_etcd(const cli::Globals& globals, const BenchOptions& options) {
  return run_beside_signals(globals, options, {source_id, mirror_id}, [&](const std::filesystem::path& folder) {
    const auto figures = EtcdBench(options, folder).measure();
    return figures ? report(globals, options, *figures) : cli::report_error(globals, figures.error());
  });
}

}  // namespace crosslink::bench
