// `crosslink-bench node`: how fast a node serves clients, alone and with a mirror on the same machine. Two nodes and
// redis-benchmark in front of the one.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <charconv>
#include <vector>

#include "bench/nodes.hpp"
#include "bench/options.hpp"
#include "cli/report.hpp"

namespace crosslink::bench {
namespace {

using boost::json::object;

constexpr const char* source_id = "bench-source";
constexpr const char* mirror_id = "bench-mirror";
constexpr const char* loaded = "loaded";  ///< the database of redis-benchmark
constexpr const char* idle = "idle";      ///< what a mirror that does nothing is measured with

std::string table_of(const char* database) {
  return fmt::format("[[database]]\nname = \"{}\"\nallow_mirrors = [\"{}\"]\n", database, mirror_id);
}

/// All that a process writes until it ends.
awaitable<std::string> read_all(ChildProcess& process) {
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::posix::stream_descriptor output(executor, process.take_output());
  std::string written;
  auto buffer = boost::asio::dynamic_buffer(written);
  constexpr auto as_tuple_of = boost::asio::as_tuple(boost::asio::use_awaitable);
  // What it ends with says nothing: the exit code does.
  static_cast<void>(co_await boost::asio::async_read(output, buffer, as_tuple_of));
  co_return written;
}

/// Requests per second of `"SET","123456.78",...`, which redis-benchmark writes with --csv.
std::optional<double> rate_of(const std::string& output, const std::string& test) {
  const auto line = output.find(fmt::format("\n\"{}", test));
  if (line == std::string::npos) return std::nullopt;
  const auto begin = output.find("\",\"", line);
  if (begin == std::string::npos) return std::nullopt;
  double rate = 0;
  const auto [end, error] = std::from_chars(output.data() + begin + 3, output.data() + output.size(), rate);
  return error == std::errc() && *end == '"' ? std::optional(rate) : std::nullopt;
}

Task<double> redis_benchmark(const BenchNode& node, std::string test, std::uint64_t requests) {
  auto process =
      ChildProcess::start("redis-benchmark", {"-p", node.clients_port, "-t", test, "-P", "64", "-c", "8", "-d", "128",
                                              "-r", "2000000", "-n", std::to_string(requests), "--csv"});
  if (!process) co_return process.error();
  const auto output = co_await read_all(*process);
  const auto end = process->wait();
  if (end.exit_code == ChildProcess::exit_not_found)
    co_return MirrorError::configuration("redis-benchmark is not installed (Debian: redis-tools)");
  std::ranges::transform(test, test.begin(), [](unsigned char one) { return static_cast<char>(std::toupper(one)); });
  const auto rate = rate_of(output, test);
  if (end.exit_code != 0 || !rate) co_return MirrorError::configuration("redis-benchmark failed; its reason is above");
  co_return *rate;
}

struct Figures {
  double set_alone_per_s = 0, set_mirrored_per_s = 0, set_ratio = 0, get_per_s = 0, drain_seconds = 0;
  double set_alone_cpu_us = 0, set_mirrored_cpu_us = 0, mirror_cpu_us = 0;  ///< of a node's process, for each SET
  std::uint64_t idle_source_bytes = 0, idle_mirror_bytes = 0;
  object json() const {
    return {{"set_alone_per_s", set_alone_per_s},
            {"set_mirrored_per_s", set_mirrored_per_s},
            {"set_ratio", set_ratio},
            {"drain_seconds", drain_seconds},
            {"get_per_s", get_per_s},
            {"source_cpu_us_per_set_alone", set_alone_cpu_us},
            {"source_cpu_us_per_set_mirrored", set_mirrored_cpu_us},
            {"mirror_cpu_us_per_set", mirror_cpu_us},
            {"idle_source_node_bytes", idle_source_bytes},
            {"idle_mirror_node_bytes", idle_mirror_bytes}};
  }
};

struct Nodes {
  std::optional<BenchNode> source, mirror;
  Result<void> start(const std::filesystem::path& folder) {
    auto first = BenchNode::start(folder, source_id, table_of(loaded) + table_of(idle));
    if (!first) return first.error();
    source.emplace(std::move(*first));
    auto second = BenchNode::start(folder, mirror_id, "");
    if (!second) return second.error();
    mirror.emplace(std::move(*second));
    return {};
  }
  void stop() {
    mirror.reset();
    source.reset();
  }
};

/// Two nodes that have nothing but one idle mirror between them.
Result<void> measure_idle(const BenchNode& source, const BenchNode& mirror, Figures& figures) {
  if (auto made = make_mirror(source, mirror, idle); !made) return made;
  figures.idle_source_bytes = source.process.resident_bytes();
  figures.idle_mirror_bytes = mirror.process.resident_bytes();
  auto removed = ask_for(
      mirror.admin, {cli::AdminMethod::remove, fmt::format("/v1/mirrors/{}", idle), {}, cli::admin_answer_timeout});
  if (!removed) return removed.error();
  return {};
}

Task<Figures> measure_once(Nodes& nodes, std::uint64_t requests) {
  const auto& [source, mirror] = nodes;
  Figures figures;
  if (auto measured = measure_idle(*source, *mirror, figures); !measured) co_return measured.error();
  const auto per_set = [requests](std::uint64_t before, std::uint64_t after) {
    return static_cast<double>(after - before) / static_cast<double>(requests);
  };
  const auto alone_from = source->process.cpu_us();
  const auto alone = co_await redis_benchmark(*source, "set", requests);
  if (!alone) co_return alone.error();
  figures.set_alone_cpu_us = per_set(alone_from, source->process.cpu_us());
  if (auto made = make_mirror(*source, *mirror, loaded); !made) co_return made.error();
  const auto mirrored_from = source->process.cpu_us(), mirror_from = mirror->process.cpu_us();
  const auto mirrored = co_await redis_benchmark(*source, "set", requests);
  if (!mirrored) co_return mirrored.error();
  const auto drained = drain(*source, *mirror, loaded);
  if (!drained) co_return drained.error();
  figures.set_mirrored_cpu_us = per_set(mirrored_from, source->process.cpu_us());
  figures.mirror_cpu_us = per_set(mirror_from, mirror->process.cpu_us());
  const auto read = co_await redis_benchmark(*source, "get", requests);
  if (!read) co_return read.error();
  figures.set_alone_per_s = *alone;
  figures.set_mirrored_per_s = *mirrored;
  figures.set_ratio = *mirrored / *alone;
  figures.drain_seconds = *drained;
  figures.get_per_s = *read;
  co_return figures;
}

template <class Number>
Number median_of(std::vector<Figures> runs, Number Figures::* field) {
  std::ranges::sort(runs, {}, field);
  return runs[runs.size() / 2].*field;
}

int report(const cli::Globals& globals, const std::vector<Figures>& runs) {
  Figures middle;
  for (const auto field :
       {&Figures::set_alone_per_s, &Figures::set_mirrored_per_s, &Figures::set_ratio, &Figures::drain_seconds,
        &Figures::get_per_s, &Figures::set_alone_cpu_us, &Figures::set_mirrored_cpu_us, &Figures::mirror_cpu_us})
    middle.*field = median_of(runs, field);
  for (const auto field : {&Figures::idle_source_bytes, &Figures::idle_mirror_bytes})
    middle.*field = median_of(runs, field);
  auto fields = middle.json();
  auto& all = fields["runs"].emplace_array();
  for (const auto& one : runs)
    all.push_back(one.json());
  const auto said = fmt::format(
      "SET: {:.0f}/s alone, {:.0f}/s with a mirror, {:.2f} times; the mirror has it all {:.3f} s after its end\n"
      "CPU per SET: {:.2f} us alone, {:.2f} us with a mirror, whose node takes {:.2f} us\n"
      "GET: {:.0f}/s\nresident memory of a node with one idle mirror: {:.0f} MB, of its source's {:.0f} MB",
      middle.set_alone_per_s, middle.set_mirrored_per_s, middle.set_ratio, middle.drain_seconds,
      middle.set_alone_cpu_us, middle.set_mirrored_cpu_us, middle.mirror_cpu_us, middle.get_per_s,
      static_cast<double>(middle.idle_mirror_bytes) / 1e6, static_cast<double>(middle.idle_source_bytes) / 1e6);
  return cli::report_good(globals, std::move(fields), said);
}

awaitable<int> measure(const cli::Globals& globals, const BenchOptions& options, const BenchFolder& folder,
                       Nodes& nodes) {
  co_await boost::asio::this_coro::throw_if_cancelled(false);
  std::vector<Figures> runs;
  for (std::uint64_t i = 0; i < options.runs; ++i) {
    const auto own = folder.path() / fmt::format("run-{}", i);
    std::error_code error;
    std::filesystem::copy(folder.path(), own, std::filesystem::copy_options::none, error);  // the certificates
    if (error) co_return cli::report_error(globals, MirrorError::configuration("cannot write " + own.string()));
    if (auto started = nodes.start(own); !started) co_return cli::report_error(globals, started.error());
    auto figures = co_await measure_once(nodes, options.requests);
    nodes.stop();
    std::filesystem::remove_all(own, error);
    if (!figures) co_return cli::report_error(globals, figures.error());
    runs.push_back(*figures);
  }
  co_return report(globals, runs);
}

}  // namespace

int run_bench_node(const cli::Globals& globals, const BenchOptions& options) {
  boost::asio::io_context context(1);
  BenchSignals signals(context);
  auto folder = BenchFolder::make(options.dir);
  if (!folder) return cli::report_error(globals, folder.error());
  if (auto made = folder->make_certificates({source_id, mirror_id}); !made)
    return cli::report_error(globals, made.error());
  Nodes nodes;
  return signals.run(context, measure(globals, options, *folder, nodes), [&] {
    nodes.stop();
    folder->remove();
  });
}

}  // namespace crosslink::bench
