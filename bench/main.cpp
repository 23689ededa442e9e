// `crosslink-bench`: how fast links, mirrors and nodes are, on this machine or between two.
#include <memory>

#include "bench/options.hpp"
#include "cli/command_line.hpp"
#include "cli/report.hpp"

namespace crosslink::bench {
namespace {

using Run = int (*)(const cli::Globals&, const BenchOptions&);

/// A side that has an address needs certificates; without addresses the benchmark makes its own.
int check_and_run(const cli::Globals& globals, const BenchOptions& options, Run mirror, Run source) {
  const bool addressed = !options.listen.empty() || !options.connect.empty();
  if (addressed && options.tls.ca.empty()) {
    return cli::report_error(globals, MirrorError::configuration("--listen and --connect need --ca, --cert and --key"));
  }
  if (addressed) {
    if (auto checked = cli::check_files(options.tls, options.listen.empty() ? std::string() : options.cluster_id);
        !checked) {
      return cli::report_error(globals, checked.error());
    }
  }
  return options.listen.empty() ? mirror(globals, options) : source(globals, options);
}

/// One with two sides, which may be on two machines.
cli::Command add_two_sided(const cli::Command& program, const std::shared_ptr<BenchOptions>& options, const char* name,
                           const char* description, Run run, Run source = run_bench_source) {
  const auto verb = program.add(name, description);
  const auto listen = verb.option("--listen", options->listen, "Be the source at this address").type("HOST:PORT");
  const auto connect =
      verb.option("--connect", options->connect, "Be the mirror of the source at this address").type("HOST:PORT");
  listen.excludes(connect);
  verb.option("--cluster-id", options->cluster_id, "The source's cluster id").type("ID");
  cli::add_tls_options(verb, options->tls, false);
  cli::add_congestion_option(verb, options->congestion);
  verb.run(
      [options, run, source](const cli::Globals& globals) { return check_and_run(globals, *options, run, source); });
  return verb;
}

void add_link_verb(const cli::Command& program) {
  const auto options = std::make_shared<BenchOptions>();
  const auto verb = add_two_sided(program, options, "link",
                                  "Move bytes from a source to a mirror over a CrossClusterLink", run_bench_link);
  verb.number("--bytes", options->bytes, "Bytes to move in all", {.min = 1});
  verb.number("--streams", options->streams, "Streams to move them over at once", {.min = 1, .max = 60});
  verb.number("--rate", options->rate_mbit_per_s,
              "At the source: known line rate in Mbit/s to keep below; 0 is unknown");
  verb.footer(
      "Without addresses: two processes on loopback with certificates of their own.\n"
      "Example:\n  crosslink-bench link --bytes 4000000000 --streams 1 --congestion bbr");
}

void add_handshakes_verb(const cli::Command& program) {
  const auto options = std::make_shared<BenchOptions>();
  const auto verb = add_two_sided(program, options, "handshakes",
                                  "Connect and shake hands, one at a time and in parallel", run_bench_handshakes);
  verb.number("--count", options->count, "Handshakes in each part", {.min = 1, .max = 1'000'000});
  verb.number("--parallel", options->parallel, "How many at once in the parallel part", {.min = 1, .max = 512});
  verb.number("--rate", options->rate_mbit_per_s, "As for link");
  verb.footer("Example:\n  crosslink-bench handshakes --count 1000");
}

void add_mirror_verb(const cli::Command& program) {
  const auto options = std::make_shared<BenchOptions>();
  const auto verb =
      add_two_sided(program, options, "mirror",
                    "Mirror a database: entries per second, lag, CPU and memory of both sides; on disk also bootstraps",
                    run_bench_mirror, run_bench_mirror_source);
  verb.option("--engine", options->engine, "The engine on both sides").among({"memory", "rocksdb"});
  verb.number("--entries", options->entries, "Entries of 128 bytes to move to each mirror",
              {.min = 1, .max = 20'000'000});
  verb.number("--mirrors", options->mirrors, "Mirrors of the one source", {.min = 1, .max = 500});
  verb.number("--rate", options->rate_mbit_per_s, "As for link");
  verb.flag("--zstd", options->zstd, "Let the log be compressed");
  verb.option("--dir", options->dir,
              "Where databases on disk are made, in a folder that is removed at the end; TMPDIR if not given.\n"
              "With --listen: the source's database itself, which stays");
  verb.number("--bootstrap-bytes", options->bootstrap_bytes,
              "rocksdb: size of the database to bootstrap; four times as much is needed on disk", {.min = 1'000'000});
  verb.number("--runs", options->runs, "rocksdb: of what is compared in pairs; medians are shown",
              {.min = 1, .max = 101});
  verb.footer(
      "With --engine rocksdb: bootstraps beside `cp` and `sync` of the same files; catching up; commits of one put at\n"
      "1,000/s; a writer flat out with 64 puts in each commit, without and with a mirror. Nothing is compressed.\n"
      "Example:\n  crosslink-bench mirror --engine memory --entries 2000000\n"
      "  crosslink-bench mirror --engine rocksdb --entries 1000000");
}

void add_node_verb(const cli::Command& program) {
  const auto options = std::make_shared<BenchOptions>();
  const auto verb = program.add("node", "Two nodes on loopback: how fast they serve clients, alone and mirrored");
  verb.number("--requests", options->requests, "Of redis-benchmark, each time", {.min = 10'000});
  verb.number("--runs", options->runs, "Each with new nodes; medians are shown", {.min = 1, .max = 101});
  verb.option("--dir", options->dir,
              "Where databases are made, in a folder that is removed at the end; TMPDIR if not given");
  verb.footer(
      "redis-benchmark -P 64 -c 8 -d 128 -r 2000000: SET without a mirror, SET with one, how long the mirror takes to\n"
      "have it all, GET; and the memory of nodes with one idle mirror between them.\n"
      "Example:\n  crosslink-bench node --runs 3");
  verb.run([options](const cli::Globals& globals) { return run_bench_node(globals, *options); });
}

void add_scale_verb(const cli::Command& program) {
  const auto options = std::make_shared<BenchOptions>();
  const auto verb = program.add("scale", "Two nodes on loopback with many databases, each mirrored: what they cost");
  verb.number("--databases", options->databases, "Of each node", {.min = 1, .max = 1'000});
  verb.number("--idle-seconds", options->idle_seconds, "How long nothing is written while the CPU is measured",
              {.min = 1, .max = 3'600});
  verb.option("--dir", options->dir,
              "Where databases are made, in a folder that is removed at the end; TMPDIR if not given");
  verb.footer(
      "Ten small keys in each database. How soon a node serves, threads, descriptors, memory and disk of it; how soon\n"
      "all mirrors follow, also after kill -9 of either node; what they cost while nothing is written.\n"
      "Example:\n  crosslink-bench scale --databases 1000");
  verb.run([options](const cli::Globals& globals) { return run_bench_scale(globals, *options); });
}

void add_etcd_verb(const cli::Command& program) {
  const auto options = std::make_shared<BenchOptions>();
  const auto verb =
      program.add("etcd", "One etcd mirrored into another by two nodes, beside etcdctl make-mirror and a bare loader");
  verb.number("--keys", options->keys, "Keys of 256 bytes to copy", {.min = 1'000, .max = 5'000'000});
  verb.number("--large-bytes", options->bootstrap_bytes, "Of the copy during which memory is measured; 0: none",
              {.max = 4'000'000'000});
  verb.option("--dir", options->dir,
              "Where the servers keep their data, in a folder that is removed at the end; TMPDIR if not given");
  verb.footer(
      "Two etcd servers and two nodes on loopback; needs etcd and etcdctl. The bare loader writes transactions of "
      "100.\n"
      "Example:\n  crosslink-bench etcd --large-bytes 1000000000");
  verb.run([options](const cli::Globals& globals) { return run_bench_etcd(globals, *options); });
}

}  // namespace
}  // namespace crosslink::bench

int main(int argc, char** argv) {
  using namespace crosslink::bench;
  const crosslink::cli::Program program{
      "crosslink-bench",
      "crosslink-bench measures crosslink on this machine, or a line between two.",
      "Example:\n  crosslink-bench link --bytes 4000000000\n  crosslink-bench handshakes",
      {add_link_verb, add_handshakes_verb, add_mirror_verb, add_node_verb, add_scale_verb, add_etcd_verb},
      {}};
  return crosslink::cli::run_program(program, argc, argv);
}
