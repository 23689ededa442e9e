// crosslink-sim: runs seeds, replays one, runs the broken variants. Exit 1 on a violation.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>
#include <random>
#include <string>

#include "node/log.hpp"
#include "sim/events.hpp"
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

struct Total {
  sim::Tally tally;
  std::uint64_t runs = 0;  ///< that count
  std::uint64_t idle = 0;  ///< did too little, and prove nothing
};

/// A run that violates something counts, too.
void add(Total& total, const sim::Outcome& outcome) {
  if (!outcome.worked && !outcome.violation) {
    ++total.idle;
    return;
  }
  ++total.runs;
  auto& to = total.tally;
  const auto& from = outcome.tally;
  to.steps += from.steps;
  to.faults += from.faults;
  to.commits += from.commits;
  to.applied += from.applied;
  to.bootstraps += from.bootstraps;
  to.verifies += from.verifies;
  to.promotions += from.promotions;
  to.halts += from.halts;
  to.confirmed += from.confirmed;
  for (const auto& [event, times] : from.events)
    to.events[event] += times;
}

void show(std::uint64_t seed, const sim::Outcome& outcome) {
  for (const auto& line : outcome.history)
    fmt::print("{}\n", line);
  fmt::print("seed {}: {}\n", seed, *outcome.violation);
}

struct Found {
  std::uint64_t seed = 0;
  sim::Outcome outcome;
};

/// The first seed of the range that violates something; none does otherwise.
std::optional<Found> run_seeds(const Options& options, Total& total) {
  for (std::uint64_t seed = options.first; seed < options.first + options.seeds; ++seed) {
    auto outcome = sim::run(seed, options.variant, false);
    add(total, outcome);
    if (outcome.violation) return Found{seed, std::move(outcome)};
  }
  return std::nullopt;
}

void print_total(const Total& total) {
  const auto& all = total.tally;
  for (const auto& [event, times] : all.events)
    fmt::print("{}: {}{}", event, times, event == all.events.rbegin()->first ? "\n" : ", ");
  fmt::print(
      "{} bootstraps, {} halts, {} promotions, {} verifies, {} commits confirmed by a mirror, {} applied; {} runs did "
      "too little and do not count\n",
      all.bootstraps, all.halts, all.promotions, all.verifies, all.confirmed, all.applied, total.idle);
  fmt::print("runs {}, steps {}, faults {}, commits {}\n", total.runs, all.steps, all.faults, all.commits);
}

/// Runs that do nothing prove nothing, nor do faults that never come. False when there were such.
bool proves_something(const Options& options, const Total& total) {
  // Fewer seeds need not see everything.
  constexpr std::uint64_t seeds_that_see_all = 500;
  bool good = true;
  if (total.idle > options.seeds / 10) {
    fmt::print("more than a tenth of the runs did too little\n");
    good = false;
  }
  for (const auto event : sim::event::all) {
    if (options.seeds < seeds_that_see_all || total.tally.events.contains(std::string(event))) continue;
    fmt::print("this never happened: {}\n", event);
    good = false;
  }
  return good;
}

int replay(const Options& options) {
  const auto outcome = sim::run(*options.seed, options.variant, true);
  if (outcome.violation) fmt::print("violation: {}\n", *outcome.violation);
  Total total;
  add(total, outcome);
  print_total(total);
  return outcome.violation ? 1 : 0;
}

/// Caught: a seed violates something with it, for the reason that this mistake has, and nothing without it.
bool is_caught(const sim::Variant& variant, Options options, Total& total) {
  options.variant = std::string(variant.name);
  Total of_variant;
  const auto end = options.first + options.seeds;
  auto found = run_seeds(options, of_variant);
  while (found && !variant.shows_as_well.empty() && found->outcome.violation->contains(variant.shows_as_well)) {
    options.first = found->seed + 1;
    options.seeds = end - options.first;
    found = run_seeds(options, of_variant);
  }
  total.runs += of_variant.runs;
  total.tally.steps += of_variant.tally.steps;
  total.tally.faults += of_variant.tally.faults;
  total.tally.commits += of_variant.tally.commits;
  if (!found) {
    fmt::print("SURVIVED {} ({}) in {} runs\n", variant.name, variant.what, of_variant.runs);
    return false;
  }
  const auto& violation = *found->outcome.violation;
  if (!violation.contains(variant.caught_by)) {
    fmt::print("CAUGHT FOR ANOTHER REASON {} by seed {}: {}\n", variant.name, found->seed, violation);
    return false;
  }
  if (const auto without = sim::run(found->seed, {}, false); without.violation) {
    fmt::print("seed {} fails without {} as well: {}\n", found->seed, variant.name, *without.violation);
    return false;
  }
  fmt::print("caught   {} by seed {}: {}\n", variant.name, found->seed, violation);
  return true;
}

int run_all_variants(const Options& options) {
  bool all_caught = true;
  Total total;
  for (const auto& variant : sim::variants()) {
    all_caught = is_caught(variant, options, total) && all_caught;
    std::fflush(stdout);
  }
  fmt::print("runs {}, steps {}, faults {}, commits {}\n", total.runs, total.tally.steps, total.tally.faults,
             total.tally.commits);
  return all_caught ? 0 : 1;
}

int run_range(const Options& options) {
  Total total;
  const auto found = run_seeds(options, total);
  if (found) {
    show(found->seed, found->outcome);
    fmt::print("replay with: crosslink-sim --seed {}{}{}\n", found->seed, options.variant.empty() ? "" : " --variant ",
               options.variant);
  }
  const bool good = !found && proves_something(options, total);
  print_total(total);
  return good ? 0 : 1;
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
  node::set_log_severity(node::Severity::error);  // what the gate says is part of no history
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
  return run_range(options);
}
