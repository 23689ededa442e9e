// A node's log: one line per event on stderr, logfmt, so that people and programs read the same.
//   2026-11-24T02:03:04.567Z INFO mirror accepted database=packages mirror=eu-standby
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace crosslink::node {

enum class Severity : std::uint8_t { debug, info, warning, error };
/// A name of ours, and a value, which may come from anywhere: it is escaped.
using LogField = std::pair<std::string_view, std::string>;

/// Thread safe. `event` is a phrase of ours.
void log(Severity severity, std::string_view event, const std::vector<LogField>& fields = {});
/// What is less than this is left out; info at first.
void set_log_severity(Severity least);
/// As log() prints it, without time and severity.
std::string log_text(std::string_view event, const std::vector<LogField>& fields);

}  // namespace crosslink::node
