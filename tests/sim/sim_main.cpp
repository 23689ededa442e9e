// crosslink-sim: runs seeds, replays one, runs the broken variants. Exit 1 on a violation.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>
#include <random>
#include <string>

#include "sim/scenario.hpp"
#include "sim/variants.hpp"

namespace {

using namespace crosslink;

struct Options {
  std::uint64_t seeds = 200, first = 1;
  std::optional<std::uint64_t> seed;
  std::string variant;
  bool list_variants = false, all_variants = false;
};

void add(sim::Tally& to, const sim::Tally& from) {
  to.steps += from.steps;
  to.faults += from.faults;
  to.commits += from.commits;
  to.applied += from.applied;
  to.bootstraps += from.bootstraps;
  to.verifies += from.verifies;
  to.promotions += from.promotions;
  to.halts += from.halts;
  to.confirmed += from.confirmed;
}

void show(std::uint64_t seed, const sim::Outcome& outcome) {
  for (const auto& line : outcome.history)
    fmt::print("{}\n", line);
  fmt::print("seed {}: {}\n", seed, *outcome.violation);
}

/// True when no seed of the range violates anything. Stops at the first that does.
bool run_seeds(const Options& options, bool print, std::uint64_t& found_at, sim::Tally& total, std::uint64_t& runs,
               std::uint64_t& idle) {
  for (std::uint64_t seed = options.first; seed < options.first + options.seeds; ++seed) {
    const auto outcome = sim::run(seed, options.variant, false);
    if (outcome.violation) {
      found_at = seed;
      if (print) show(seed, outcome);
      return false;
    }
    if (!outcome.worked) {
      ++idle;
      continue;
    }
    ++runs;
    add(total, outcome.tally);
  }
  return true;
}

void print_total(const sim::Tally& total, std::uint64_t runs, std::uint64_t idle) {
  fmt::print(
      "{} bootstraps, {} halts, {} promotions, {} verifies, {} commits confirmed by a mirror, {} applied; {} runs did "
      "too "
      "little and do not count\n",
      total.bootstraps, total.halts, total.promotions, total.verifies, total.confirmed, total.applied, idle);
  fmt::print("runs {}, steps {}, faults {}, commits {}\n", runs, total.steps, total.faults, total.commits);
}

int replay(const Options& options) {
  const auto outcome = sim::run(*options.seed, options.variant, true);
  if (outcome.violation) {
    fmt::print("violation: {}\n", *outcome.violation);
    return 1;
  }
  print_total(outcome.tally, 1, outcome.worked ? 0 : 1);
  return 0;
}

int run_all_variants(Options options) {
  bool all_caught = true;
  for (const auto& variant : sim::variants()) {
    options.variant = std::string(variant.name);
    sim::Tally total;
    std::uint64_t found_at = 0, runs = 0, idle = 0;
    const bool survived = run_seeds(options, false, found_at, total, runs, idle);
    if (survived) {
      fmt::print("SURVIVED {} ({}) in {} runs\n", variant.name, variant.what, runs);
      all_caught = false;
    } else {
      fmt::print("caught   {} by seed {}\n", variant.name, found_at);
    }
    std::fflush(stdout);
  }
  return all_caught ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Simulates sources and mirrors with faults and checks after every step what must always hold.\n"
      "Example: crosslink-sim --seeds 2000");
  app.add_option("--seeds", options.seeds, "how many seeds to run")->check(CLI::PositiveNumber);
  app.add_option("--first", options.first, "the first of them");
  app.add_option("--seed", options.seed, "replay this one and print its history");
  app.add_option("--variant", options.variant, "run with this deliberate mistake");
  app.add_flag("--list-variants", options.list_variants, "the deliberate mistakes");
  app.add_flag("--all-variants", options.all_variants, "each must be caught within --seeds; exit 1 if one survives");
  CLI11_PARSE(app, argc, argv);
  if (options.list_variants) {
    for (const auto& variant : sim::variants())
      fmt::print("{:36} {}\n", variant.name, variant.what);
    return 0;
  }
  const bool known = options.variant.empty() || std::ranges::any_of(sim::variants(), [&](const sim::Variant& variant) {
                       return variant.name == options.variant;
                     });
  if (!known) {
    fmt::print(stderr, "there is no variant {}: --list-variants names them\n", options.variant);
    return 2;
  }
  if (options.seed) return replay(options);
  if (options.all_variants) return run_all_variants(options);
  sim::Tally total;
  std::uint64_t found_at = 0, runs = 0, idle = 0;
  const bool good = run_seeds(options, true, found_at, total, runs, idle);
  if (!good)
    fmt::print("replay with: crosslink-sim --seed {}{}{}\n", found_at, options.variant.empty() ? "" : " --variant ",
               options.variant);
  // Runs that do nothing prove nothing.
  const bool too_little = good && idle > options.seeds / 2;
  if (too_little) fmt::print("more than half of the runs did too little\n");
  print_total(total, runs, idle);
  return good && !too_little ? 0 : 1;
}
