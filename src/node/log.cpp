#include "node/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>

#include "crosslink/types.hpp"

namespace crosslink::node {
namespace {

spdlog::level::level_enum level_of(Severity severity) {
  switch (severity) {
    case Severity::debug: return spdlog::level::debug;
    case Severity::info: return spdlog::level::info;
    case Severity::warning: return spdlog::level::warn;
    case Severity::error: return spdlog::level::err;
  }
  return spdlog::level::err;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> own = [] {
    auto made = std::make_shared<spdlog::logger>("crosslink", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_formatter(
        std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v", spdlog::pattern_time_type::utc));
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *own;
}

}  // namespace

std::string log_text(std::string_view event, const std::vector<LogField>& fields) {
  std::string text(event);
  for (const auto& [name, value] : fields) {
    const auto escaped = escape(value);
    const bool quoted = escaped.empty() || escaped.find_first_of(" =") != std::string::npos;
    text += ' ';
    text += name;
    text += '=';
    if (quoted) text += '"';
    text += escaped;
    if (quoted) text += '"';
  }
  return text;
}

void log(Severity severity, std::string_view event, const std::vector<LogField>& fields) {
  if (!logger().should_log(level_of(severity))) return;
  logger().log(level_of(severity), spdlog::string_view_t(log_text(event, fields)));
}

void set_log_severity(Severity least) { logger().set_level(level_of(least)); }

}  // namespace crosslink::node
