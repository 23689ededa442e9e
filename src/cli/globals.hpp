// What every verb knows: the global options.
#pragma once

#include <cstdint>
#include <string>

namespace crosslink::cli {

enum class OutputFormat : std::uint8_t { text, json };
enum class LogLevel : std::uint8_t { error, warning, info, debug };

struct Globals {
  std::string program = "crosslink";  ///< before each sentence on stderr
  OutputFormat output = OutputFormat::text;
  LogLevel log_level = LogLevel::info;

  bool json() const { return output == OutputFormat::json; }
};

}  // namespace crosslink::cli
