#include <memory>

#include "cli/bench_options.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"

namespace crosslink::cli {
namespace {

using Run = int (*)(const Globals&, const BenchOptions&);

/// A side that has an address needs certificates; without addresses the benchmark makes its own.
int check_and_run(const Globals& globals, const BenchOptions& options, Run mirror, Run source) {
  const bool addressed = !options.listen.empty() || !options.connect.empty();
  if (addressed && options.tls.ca.empty()) {
    return report_error(globals, MirrorError::configuration("--listen and --connect need --ca, --cert and --key"));
  }
  if (addressed) {
    if (auto checked = check_files(options.tls, options.listen.empty() ? std::string() : options.cluster_id);
        !checked) {
      return report_error(globals, checked.error());
    }
  }
  return options.listen.empty() ? mirror(globals, options) : source(globals, options);
}

CLI::App* add_bench(CLI::App& bench, Globals& globals, const std::shared_ptr<BenchOptions>& options, const char* name,
                    const char* description, Run run, Run source = run_bench_source) {
  auto* verb = bench.add_subcommand(name, description);
  auto* listen = verb->add_option("--listen", options->listen, "Be the source at this address")->type_name("HOST:PORT");
  auto* connect = verb->add_option("--connect", options->connect, "Be the mirror of the source at this address")
                      ->type_name("HOST:PORT");
  listen->excludes(connect);
  verb->add_option("--cluster-id", options->cluster_id, "The source's cluster id")->type_name("ID");
  add_tls_options(*verb, options->tls, false);
  add_congestion_option(*verb, options->congestion);
  verb->callback([&globals, options, run, source] {
    globals.run = [&globals, options, run, source] { return check_and_run(globals, *options, run, source); };
  });
  return verb;
}

}  // namespace

void add_bench_verb(CLI::App& app, Globals& globals) {
  auto* bench = app.add_subcommand("bench", "Measure this machine or a line between two");
  bench->require_subcommand(0, 1);
  bench->footer("Example:\n  crosslink bench link --bytes 4000000000\n  crosslink bench handshakes");
  const auto options = std::make_shared<BenchOptions>();

  auto* link = add_bench(*bench, globals, options, "link",
                         "Move bytes from a source to a mirror over a CrossClusterLink", run_bench_link);
  add_number_option(*link, "--bytes", options->bytes, "Bytes to move in all", {.min = 1});
  add_number_option(*link, "--streams", options->streams, "Streams to move them over at once", {.min = 1, .max = 60});
  add_number_option(*link, "--rate", options->rate_mbit_per_s,
                    "At the source: known line rate in Mbit/s to keep below; 0 is unknown");
  link->footer(
      "Without addresses: two processes on loopback with certificates of their own.\n"
      "Example:\n  crosslink bench link --bytes 4000000000 --streams 1 --congestion bbr");

  auto* handshakes = add_bench(*bench, globals, options, "handshakes",
                               "Connect and shake hands, one at a time and in parallel", run_bench_handshakes);
  add_number_option(*handshakes, "--count", options->count, "Handshakes in each part", {.min = 1, .max = 1'000'000});
  add_number_option(*handshakes, "--parallel", options->parallel, "How many at once in the parallel part",
                    {.min = 1, .max = 512});
  add_number_option(*handshakes, "--rate", options->rate_mbit_per_s, "As for bench link");
  auto* mirror =
      add_bench(*bench, globals, options, "mirror",
                "Mirror a database: entries per second, lag, CPU and memory of both sides; on disk also bootstraps",
                run_bench_mirror, run_bench_mirror_source);
  mirror->add_option("--engine", options->engine, "The engine on both sides")
      ->check(CLI::IsMember({"memory", "rocksdb"}));
  add_number_option(*mirror, "--entries", options->entries, "Entries of 128 bytes to move to each mirror",
                    {.min = 1, .max = 20'000'000});
  add_number_option(*mirror, "--mirrors", options->mirrors, "Mirrors of the one source", {.min = 1, .max = 500});
  add_number_option(*mirror, "--rate", options->rate_mbit_per_s, "As for bench link");
  mirror->add_flag("--zstd", options->zstd, "Let the log be compressed");
  mirror->add_option("--dir", options->dir,
                     "Where databases on disk are made, in a folder that is removed at the end; TMPDIR if not given.\n"
                     "With --listen: the source's database itself, which stays");
  add_number_option(*mirror, "--bootstrap-bytes", options->bootstrap_bytes,
                    "rocksdb: size of the database to bootstrap; four times as much is needed on disk",
                    {.min = 1'000'000});
  add_number_option(*mirror, "--runs", options->runs, "rocksdb: of what is compared in pairs; medians are shown",
                    {.min = 1, .max = 101});
  mirror->footer(
      "With --engine rocksdb: bootstraps beside `cp` and `sync` of the same files; catching up; commits of one put at\n"
      "1,000/s; a writer flat out with 64 puts in each commit, without and with a mirror. Nothing is compressed.\n"
      "Example:\n  crosslink bench mirror --engine memory --entries 2000000\n"
      "  crosslink bench mirror --engine rocksdb --entries 1000000");

  auto* node = bench->add_subcommand("node", "Two nodes on loopback: how fast they serve clients, alone and mirrored");
  add_number_option(*node, "--requests", options->requests, "Of redis-benchmark, each time", {.min = 10'000});
  add_number_option(*node, "--runs", options->runs, "Each with new nodes; medians are shown", {.min = 1, .max = 101});
  node->add_option("--dir", options->dir,
                   "Where databases are made, in a folder that is removed at the end; TMPDIR if "
                   "not given");
  node->footer(
      "redis-benchmark -P 64 -c 8 -d 128 -r 2000000: SET without a mirror, SET with one, how long the mirror takes to\n"
      "have it all, GET; and the memory of nodes with one idle mirror between them.\n"
      "Example:\n  crosslink bench node --runs 3");
  node->callback(
      [&globals, options] { globals.run = [&globals, options] { return run_bench_node(globals, *options); }; });

  auto* etcd = bench->add_subcommand(
      "etcd", "One etcd mirrored into another by two nodes, beside etcdctl make-mirror and a bare loader");
  add_number_option(*etcd, "--keys", options->keys, "Keys of 256 bytes to copy", {.min = 1'000, .max = 5'000'000});
  add_number_option(*etcd, "--large-bytes", options->bootstrap_bytes,
                    "Of the copy during which memory is measured; 0: none", {.max = 4'000'000'000});
  etcd->add_option("--dir", options->dir,
                   "Where the servers keep their data, in a folder that is removed at the end; TMPDIR if not given");
  etcd->footer(
      "Two etcd servers and two nodes on loopback; needs etcd and etcdctl. The bare loader writes transactions of "
      "100.\n"
      "Example:\n  crosslink bench etcd --large-bytes 1000000000");
  etcd->callback(
      [&globals, options] { globals.run = [&globals, options] { return run_bench_etcd(globals, *options); }; });

  handshakes->footer("Example:\n  crosslink bench handshakes --count 1000");
}

}  // namespace crosslink::cli
