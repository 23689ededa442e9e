// The command line: a program's commands and their options. CLI11 is behind it, in command_line.cpp alone: each file
// that includes it takes five seconds longer to compile.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/globals.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): their name
class App;
class Option;
}  // namespace CLI

namespace crosslink::cli {

/// What a number may be, both ends included.
struct NumberRange {
  std::uint64_t min = 0;
  std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
};
/// A number without sign, decimal only: CLI11 by itself reads 010 as 8.
std::optional<std::uint64_t> parse_number(std::string_view text);

/// A handle: copies are the same option, and each function returns one.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(&option) {}
  Option required(bool is_required = true) const;
  /// What its value is called in the help.
  Option type(const std::string& name) const;
  Option among(std::vector<std::string> values) const;
  /// `what_is_wrong` returns a sentence; empty: nothing is.
  Option check(const std::function<std::string(const std::string&)>& what_is_wrong) const;
  /// The help shows what its variable has now.
  Option shows_default() const;
  Option needs(Option other) const;
  Option excludes(Option other) const;
  /// After the parse.
  bool given() const;
  friend bool operator==(const Option&, const Option&) = default;

 private:
  CLI::Option* option_;
};

/// A program, or a verb of it; a handle. What its functions are given by reference outlives the parse.
class Command {
 public:
  using Work = std::function<int(const Globals&)>;
  Command(CLI::App& app, Work& chosen) : app_(&app), chosen_(&chosen) {}
  /// A verb below this one; one of them must then follow it.
  Command add(const std::string& name, const std::string& description) const;
  /// What it does once all options are known; returns the exit code.
  void run(Work work) const;
  /// What comes last in its help: "Example:\n  crosslink ...".
  void footer(const std::string& text) const;

  /// A name without dashes stands alone, by its place.
  Option option(const std::string& name, std::string& value, const std::string& description) const;
  Option option(const std::string& name, std::optional<std::string>& value, const std::string& description) const;
  /// May be given again.
  Option repeated(const std::string& name, std::vector<std::string>& values, const std::string& description) const;
  /// Separated by commas.
  Option list(const std::string& name, std::vector<std::string>& values, const std::string& description) const;
  Option flag(const std::string& name, bool& value, const std::string& description) const;
  Option number(const std::string& name, std::uint64_t& number, const std::string& description,
                NumberRange range = {}) const;
  /// A time, from 0.001 to a million.
  Option seconds(const std::string& name, std::optional<double>& seconds, const std::string& description) const;
  /// `fallback` is only shown.
  Option choice(const std::string& name, const std::function<void(const std::string&)>& chosen,
                std::vector<std::string> values, const std::string& fallback, const std::string& description) const;

 private:
  CLI::App* app_;
  Work* chosen_;
};

std::optional<std::chrono::steady_clock::duration> seconds_of(std::optional<double> seconds);

struct Program {
  std::string name, description, footer;
  /// Each adds a verb, with a footer "Example:".
  std::vector<void (*)(const Command&)> verbs;
  /// What is said to who takes the word for a verb.
  std::map<std::string, std::string> hints;
};
/// main(): reads the command line and runs the verb it names. Returns the exit code.
int run_program(const Program& program, int argc, char** argv);

}  // namespace crosslink::cli
